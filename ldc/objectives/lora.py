"""LoRA students (LCM-LoRA, Luo et al. 2023b; pruned language models) and the teacher that such a student contains.

The adapters sit in the student's own modules; with the adapters off the student *is* its teacher, so distillation from
itself keeps one copy of the weights.
"""

from collections.abc import Sequence
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from ldc.objectives.base import innermost

LCM_LORA_TARGETS = (
    "to_q",
    "to_k",
    "to_v",
    "to_out.0",
    "proj_in",
    "proj_out",
    "ff.net.0.proj",
    "ff.net.2",
    "conv1",
    "conv2",
    "conv_shortcut",
    "downsamplers.0.conv",
    "upsamplers.0.conv",
    "time_emb_proj",
)
"""The modules that diffusers' LCM-LoRA trainers adapt."""


LANGUAGE_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The projections of each block that Shortened LLaMA's LoRA retraining adapts."""


def add_lora(
    network: Any, rank: int = 64, alpha: int = 64, targets: Sequence[str] = LCM_LORA_TARGETS, dropout: float = 0.0
) -> Any:
    """Freezes a network and adds trainable adapters W + (alpha / rank) B A in place; at first B = 0.

    The network is returned. A diffusers U-Net stays a diffusers model: `unet.save_lora_adapter` and the pipelines' LoRA
    functions know it. Each of `targets` is the end of a dotted module name; `dropout` is the share of an adapter's
    inputs that training leaves out.

    Raises:
        ValueError: The rank is not positive, the dropout is no share, or no module is called so.
    """
    if rank < 1:
        raise ValueError(f"LoRA rank must be at least 1, not {rank}.")
    if not 0 <= dropout < 1:
        raise ValueError(f"LoRA dropout must be in [0, 1), not {dropout}.")
    check_targets(network, targets)
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(targets))
    network.requires_grad_(False)
    if hasattr(network, "fuse_lora"):  # diffusers
        network.add_adapter(config)
    else:
        inject_adapter_in_model(config, network)
    return network


def check_targets(network: nn.Module, targets: Sequence[str]) -> None:
    """Raises ValueError where a target is the end of no module's name; it may be on the meta device."""
    names = [f".{name}" for name, _ in network.named_modules()]
    unknown = [target for target in targets if not any(name.endswith(f".{target}") for name in names)]
    if unknown or not targets:
        found = ", ".join(unknown) or "none"
        raise ValueError(f"LoRA targets must name modules of {type(network).__name__}, not {found}.")


class AdaptersOff(nn.Module):
    """Plays the teacher of a LoRA student: its forward is the student's with the adapters off.

    The student is no submodule, so freezing, moving or saving this "teacher" touches nothing; taps reach through
    `get_submodule`.
    """

    def __init__(self, student: nn.Module):
        super().__init__()
        self._student = (student,)  # the tuple keeps it unregistered
        self._layers = [module for module in student.modules() if isinstance(module, BaseTunerLayer)]
        if not self._layers:
            raise ValueError("teacher=self needs a student with LoRA adapters, not one without.")

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        return next(self._student[0].parameters()).dtype

    @torch.compiler.disable(recursive=False)  # the switch is no graph; the student inside may be compiled
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self._switch(on=False)
        try:
            return self._student[0](*args, **kwargs)
        finally:
            self._switch(on=True)

    def get_submodule(self, target: str) -> nn.Module:
        return innermost(self._student[0]).get_submodule(target)

    def _switch(self, *, on: bool) -> None:
        for layer in self._layers:
            layer.enable_adapters(on)
