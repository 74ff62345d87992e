"""`step=true`: one step of each fit by the run's strategy at the run's size, with the run's networks made narrow.

Legend: B batch, C latent channels, h x w latent size, L tokens, D text width.
"""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ldc.data.batch import LatentBatch
from ldc.data.module import StreamDataModule
from ldc.models import LatentDiffusion, Teacher, part_config
from ldc.objectives.lora import AdaptersOff
from ldc.runtime.doctor.estimates import LanguagePlan, Plan
from ldc.runtime.doctor.findings import FAILED, NOTE, OK, Finding
from ldc.runtime.doctor.networks import FitNetworks, fit_networks
from ldc.training import DistillationModule, adamw
from ldc.training.rehearsal import rehearse

STEP = "step"
_SIDE, _GROUPS, _TOKENS = 8, 4, 3
_ONCE = "deepspeed"  # it keeps its groups for as long as the process lives
log = logging.getLogger(__name__)


def rehearse_fits(cfg: Any, plans: Sequence[Plan]) -> list[Finding]:
    """Returns a finding for each fit: whether its step could be taken as rank 0 of all ranks."""
    found = []
    rehearsed = plans[-1:] if plans and _ONCE in plans[-1].sharding.strategy else plans
    for plan in plans:
        where = f"{plan.name}: {plan.sharding.strategy}, {plan.sharding.ranks} ranks"
        if isinstance(plan, LanguagePlan):
            found.append(Finding(STEP, NOTE, f"{where}: not taken, only steps of diffusion models are"))
            continue
        if plan not in rehearsed:
            found.append(Finding(STEP, NOTE, f"{where}: not taken, one process can rehearse DeepSpeed once"))
            continue
        try:
            _take(plan, fit_networks(cfg, plan.name, narrow_teacher))
        except Exception as error:  # whatever stops the step is what is to be told
            log.debug("The step failed.", exc_info=error)
            text = str(error).strip().splitlines() or [type(error).__name__]
            found.append(Finding(STEP, FAILED, f"{where}: one step of narrow networks failed: {text[0]}"))
        else:
            text = "one step of narrow networks as rank 0, the others pretended, on the CPU"
            found.append(Finding(STEP, OK, f"{where}: {text}"))
    return found


def narrow_teacher(spec: Teacher) -> LatentDiffusion:
    """Returns a teacher with the blocks of this one, a few channels wide, random weights in its U-Net and no more."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel  # noqa: PLC0415 - costs seconds

    config = part_config(spec, "unet")
    widths = config.get("block_out_channels", [320, 640, 1280, 1280])
    config |= {
        "sample_size": _SIDE,
        "block_out_channels": [_GROUPS * (2 if width > widths[0] else 1) for width in widths],
        "norm_num_groups": _GROUPS,
        "attention_head_dim": 2,
        "cross_attention_dim": _GROUPS,
    }
    with torch.random.fork_rng(devices=[]):
        unet: Any = UNet2DConditionModel.from_config(config)
    frozen = unet.eval().requires_grad_(requires_grad=False)
    return LatentDiffusion(frozen, None, None, None, part_config(spec, "scheduler"), spec.guidance)


def _take(plan: Plan, networks: FitNetworks) -> None:
    trainer = plan.config.trainer
    module = DistillationModule(
        networks.objective,
        networks.student,
        AdaptersOff(networks.student) if networks.own_teacher else networks.unet,
        optimizer=partial(adamw, lr=1e-5),
        target_decay=plan.config.target_decay,
        gradient_checkpointing=plan.how.gradient_checkpointing,
        channels_last=trainer["channels_last"],
        teacher_dtype=plan.how.teacher_dtype,
    )
    rehearse(
        module,
        RandomLatents(networks.unet.config.in_channels),
        ranks=plan.sharding.ranks,
        strategy=plan.sharding.strategy,
        shard_teacher=plan.sharding.shard_teacher,
        precision="bf16-mixed" if "mixed" in plan.how.precision else plan.how.precision,  # CPUs have no 16-mixed
        accumulate_grad_batches=min(2, plan.sharding.accumulate),
        gradient_clip_val=plan.config.gradient_clip,
    )


class RandomLatents(StreamDataModule):
    """Batches of two random latents, (2, C, 8, 8), with random texts."""

    def __init__(self, channels: int):
        super().__init__(2, seed=0)
        self.channels = channels

    def loader(self, consumed: int, finished: int, num_batches: int) -> DataLoader:
        return self._sampled(_Noise(self.channels), _collate, consumed, finished, num_batches)


class _Noise(Dataset):
    size = 1000

    def __init__(self, channels: int):
        self.channels = channels

    def __getitem__(self, position: int) -> tuple[int, Tensor]:
        return position, torch.randn(self.channels, _SIDE, _SIDE)


def _collate(items: list[tuple[int, Tensor]]) -> LatentBatch:
    latents = torch.stack([latents for _, latents in items])  # (B, C, h, w)
    text = torch.randn(len(items), _TOKENS, _GROUPS)  # (B, L, D)
    positions = torch.tensor([position for position, _ in items])
    return LatentBatch(latents, text, text[:1], positions, [str(position) for position, _ in items])
