"""A fit with all that a strategy must divide, and what came out of it; the tests of strategies compare such fits."""

import functools

import numpy as np
import torch
from PIL import Image

from ldc.training import DistillationModule, SampleGrids, WeightAverage, adamw, constant_with_warmup, fit, loggers
from ldc.training.csv_log import read
from tests.training.conftest import ToyData, ToyNet, ToyObjective

ACCUMULATE = {"fsdp2": 2, "deepspeed_zero2": 2}
STEPS, HALF = 20, 10
BATCH = 4  # samples of a step, over all ranks


def network(seed):
    torch.manual_seed(seed)
    return ToyNet(5)  # whose parameters no number of ranks divides evenly


def render(student, _steps):
    """A picture of the network's answer to a fixed input, in 200 grey levels a unit."""
    answer = student(torch.linspace(-1, 1, 32).view(1, 2, 4, 4), torch.zeros(1))
    levels = (128 + 200 * answer.flatten()).clamp(0, 255).round().to(torch.uint8)
    return Image.fromarray(levels.view(4, 8).numpy()).convert("RGB")


def train(folder, strategy, ranks, *, bad=None, every=HALF):
    """Returns the module and the result of a fit with a teacher, a target, an average, a warm-up and clipping."""
    module = DistillationModule(
        ToyObjective(("teacher", "target")),
        network(0),
        network(1),
        optimizer=functools.partial(adamw, lr=1e-2),
        schedule=functools.partial(constant_with_warmup, warmup_steps=5),
        target_decay=0.9,
    )
    average = WeightAverage()
    grids = SampleGrids(render, folder, every_n_steps=HALF, sampling_steps=(1,), average=average)
    accumulate = ACCUMULATE.get(strategy, 1) if ranks > 1 else 1
    result = fit(
        module,
        ToyData(STEPS * accumulate, BATCH // ranks // accumulate, bad),
        folder=folder,
        max_steps=STEPS,
        log_every_n_steps=1,
        checkpoint_every_n_steps=every,
        gradient_clip_val=0.5,
        accumulate_grad_batches=accumulate,
        average=average,
        callbacks=[grids],
        loggers=loggers(["csv"], folder, "run"),
        accelerator="cpu",
        devices=ranks,
        strategy=strategy,
        timeout_seconds=60,
        progress=False,
    )
    return module, result


def on_this_rank(module):
    """Returns copies of all that the rank's checkpoint holds."""
    strategy = module.trainer.strategy
    held = strategy.shards() if hasattr(strategy, "shards") else module.state_dict()
    tensors = {name: value.to_local() if hasattr(value, "to_local") else value for name, value in held.items()}
    return {
        name: (value if isinstance(value, torch.Tensor) else value.values).clone() for name, value in tensors.items()
    }


def is_timed(module):
    """Tells whether DeepSpeed times its steps, for which it waits for the device."""
    timer = getattr(module.trainer.strategy.model, "tput_timer", None)
    return timer is not None and timer.initialized  # at its first start


def published(module, result):
    """Returns the published weights on rank zero, None on the other."""
    if not module.trainer.is_global_zero:
        return None
    if result.student is not None:
        return result.student.state_dict()
    with result.average.applied(module.bare_student) as student:
        return {name: value.clone() for name, value in student.state_dict().items()}


def pictures(folder):
    """Returns the grids by name, (H, W, 3)."""
    return {path.name: np.asarray(Image.open(path), dtype=int) for path in (folder / "samples").glob("step-*.png")}


def losses(folder):
    return torch.tensor([[float(value) for value in row.values()] for row in read(folder / "metrics.csv")])
