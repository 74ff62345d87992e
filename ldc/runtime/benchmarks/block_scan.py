"""The perplexity scan over all blocks, three ways: prefixes computed once, whole passes, and a model rebuilt per block.

The third is the official script's way (Kim et al. 2024): for every block a smaller model is made with random weights,
all others' weights are copied into it, and it is run.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ldc.data.text import Calibration
from ldc.families.llama import block_params, blocks
from ldc.models.language import check_language_teacher, load_language_teacher, meta_language_model
from ldc.profiling import params, spread
from ldc.pruning.depth import Perplexity, depth_plan, score_blocks
from ldc.pruning.language_loss import next_token_loss
from ldc.runtime.checks import check_number, check_whole
from ldc.runtime.devices import device_of
from ldc.runtime.paths import cache_folder
from ldc.runtime.teachers import language_spec
from ldc.surgery import key_map

log = logging.getLogger(__name__)
CACHED, IN_PLACE, REBUILT = "cached prefixes", "skipped in place", "rebuilt per block"
_AGREEMENT = 1e-5  # relative


@dataclass(frozen=True, kw_only=True)
class BlockScan:
    """conf/benchmark/block_scan.yaml says what each setting means."""

    teacher: Any
    samples: int
    length: int
    batch_size: int
    repeats: int
    rebuild: bool
    target: float
    seed: int
    loader: Mapping[str, Any] = field(default_factory=dict)

    name = "block_scan"

    def check(self, *, dry_run: bool) -> None:
        """Raises ValueError for settings that cannot be, and for a teacher that is not there."""
        check_whole(vars(self), "samples", "batch_size", "repeats")
        check_whole(vars(self), "length", least=2)
        check_number(vars(self), "target", above=0)
        if not dry_run:  # counts need the config alone
            check_language_teacher(language_spec(self.teacher))

    def describe(self) -> dict[str, Any]:
        """Returns sizes, and how many times faster cached prefixes can be by the MACs that they spare."""
        model = meta_language_model(language_spec(self.teacher))
        number, block = len(blocks(model)), block_params(model)[0]
        head = (number + 1) * model.lm_head.weight.numel()
        whole, spared = number * number * block, number * (number - 1) // 2 * block
        return {
            "params": params(model),
            "num_blocks": number,
            "tokens": self.samples * self.length,
            "bound": (head + whole) / (head + whole - spared),
        }

    def run(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - nothing is kept but the figures
        """Returns the description, and a row for each way; the ways take turns.

        Raises:
            ValueError: the ways' scores differ.
        """
        model = load_language_teacher(language_spec(self.teacher), cache_folder(self.loader["cache"])).model
        model = model.to(device_of(self.loader["device"]))
        vocabulary = model.get_input_embeddings().num_embeddings
        draws = torch.Generator().manual_seed(self.seed)
        ids = torch.randint(0, vocabulary, (self.samples, self.length), generator=draws)
        ways = self._ways(model, ids)
        walls, works = ({name: [] for name in ways} for _ in range(2))
        scores: dict[str, tuple[float, ...]] = {}
        for _ in range(self.repeats):
            for name, scan in ways.items():
                log.info("Scanning %d blocks: %s.", len(blocks(model)), name)
                wall, work = time.perf_counter(), time.process_time()
                scores[name] = scan()
                works[name].append(time.process_time() - work)
                walls[name].append(time.perf_counter() - wall)
        differences = _differences(scores)
        rows = [_row(name, walls, works, differences[name]) for name in ways]
        reached = rows[0]["times_faster"]
        return {**self.describe(), "rows": rows, "target": self.target, "met": reached >= self.target}

    def _ways(self, model: Any, ids: Tensor) -> dict[str, Callable[[], tuple[float, ...]]]:
        tokens = Calibration(ids, "random")

        def scan(*, reuse_prefix: bool) -> tuple[float, ...]:
            return score_blocks(model, tokens, Perplexity(self.batch_size, reuse_prefix)).scores

        ways: dict[str, Callable[[], tuple[float, ...]]] = {
            CACHED: lambda: scan(reuse_prefix=True),
            IN_PLACE: lambda: scan(reuse_prefix=False),
        }
        if self.rebuild:
            batches = ids.to(model.device).split(self.batch_size)
            ways[REBUILT] = lambda: tuple(_rebuilt_scores(model, batches))
        return ways


@torch.no_grad()
def _rebuilt_scores(model: Any, batches: tuple[Tensor, ...]) -> Iterator[float]:
    """Yields each block's perplexity; like the script, it asks for all of the model's tensors at every one it copies.

    The whole model's own, which the other ways measure as well, is left out in its favour.
    """
    for place in range(len(blocks(model))):
        smaller = _rebuilt(model, place)
        losses = [next_token_loss(smaller(input_ids=ids, use_cache=False).logits, ids, "sum").item() for ids in batches]
        yield math.exp(sum(losses) / sum(ids.shape[0] * (ids.shape[1] - 1) for ids in batches))


def _rebuilt(model: Any, removed: int) -> Any:
    number = len(blocks(model))
    config = type(model.config).from_dict(model.config.to_dict())
    config.num_hidden_layers = number - 1
    if getattr(config, "layer_types", None):
        config.layer_types = [kind for place, kind in enumerate(model.config.layer_types) if place != removed]
    smaller = type(model)(config).to(model.device, model.dtype).eval()
    for ours, theirs in key_map(model, depth_plan(number, [removed])).items():
        smaller.state_dict()[ours].copy_(model.state_dict()[theirs])
    return smaller


def _differences(scores: Mapping[str, tuple[float, ...]]) -> dict[str, float]:
    """Returns each way's largest relative difference from whole passes.

    Raises:
        ValueError: one is more than rounding.
    """
    found = {}
    for name, own in scores.items():
        found[name] = max(abs(a / b - 1) for a, b in zip(own, scores[IN_PLACE], strict=True))
        if found[name] > _AGREEMENT:
            raise ValueError(f"scores by {name} must be those of whole passes, but they differ by {found[name]:.2g}.")
    return found


def _row(name: str, walls: dict[str, list[float]], works: dict[str, list[float]], difference: float) -> dict[str, Any]:
    wall, work = spread(walls[name]), spread(works[name])
    return {
        "way": name,
        "seconds": wall.median,
        "low": wall.low,
        "high": wall.high,
        "cpu_seconds": work.median,  # of the process: other processes on the machine do not count
        "times_faster": spread(walls[IN_PLACE]).median / wall.median,
        "times_less_cpu": spread(works[IN_PLACE]).median / work.median,
        "largest_difference": difference,
    }
