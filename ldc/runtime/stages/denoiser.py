"""The stage that trains a teacher's U-Net, and its text encoder with it, on cached latents and captions."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image

from ldc.data.encoded import Encoded
from ldc.data.module import LatentDataModule
from ldc.diffusion.process import Process
from ldc.evaluation.pictures import grid
from ldc.models import LatentDiffusion
from ldc.models.generate import render
from ldc.objectives.text_denoising import TextConditioned
from ldc.runtime.chain import Context, Result
from ldc.runtime.fitting import Fitting, published, which_weights
from ldc.runtime.parts import (
    SCHEDULER,
    TEXT_ENCODER,
    UNET,
    build,
    load_autoencoder,
    load_scheduler_config,
    load_text_encoder,
    load_tokenizer,
    load_unet,
    save_part,
    scheduler_config,
)
from ldc.runtime.ranks import is_rank_zero
from ldc.runtime.stages.autoencoder import unchanged
from ldc.training import SampleGrids

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Denoiser(Fitting):
    """Trains U-Net and text encoder together; conf/stages/denoiser.yaml says what each setting means."""

    autoencoder: str
    text: str
    encoded: str
    architecture: Mapping[str, Any]
    scheduler: Mapping[str, Any]
    objective: DictConfig
    text_lr_ratio: float
    caption_dropout: float
    guidance: DictConfig
    start: str | None = None
    grids: Mapping[str, Any] = field(default_factory=dict)

    kind = "denoiser"
    trains = True

    def inputs(self) -> list[str]:
        return list(dict.fromkeys([self.encoded, self.text, self.autoencoder, *filter(None, [self.start])]))

    def identity(self) -> list[str]:
        return []

    def check(self, cfg: DictConfig) -> None:
        self.check_settings(cfg)
        with torch.device("meta"):
            build(UNet2DConditionModel, self.architecture)
        scheduler_config(self.scheduler)
        if self.text_lr_ratio < 0:
            raise ValueError(f"text_lr_ratio must not be negative, not {self.text_lr_ratio}.")

    def run(self, context: Context) -> Result:
        torch.manual_seed(self.seed)  # initial weights; what concerns samples has draws of its own
        encoded = Encoded(context.inputs[self.encoded].outputs["encoded"])
        parts = self._parts(context, encoded)
        student = TextConditioned(parts.unet, parts.text_encoder)
        make_objective = instantiate(self.objective, _partial_=True)
        objective = make_objective(
            process=Process.from_config(parts.scheduler_config), tokenizer=parts.tokenizer, seed=self.seed
        )
        module = self.module(objective, student, optimizer=self._optimizer(student), encode=unchanged)
        data = LatentDataModule(
            encoded.folder,
            self.shares.micro_batch_size,
            self.seed,
            caption_dropout=self.caption_dropout,
            num_workers=self.num_workers,
        )
        result = self.fit(context, module, data, self._grids(context, parts))
        if not is_rank_zero():
            return Result()  # rank zero publishes
        with published(result, student.cpu()) as trained:
            save_part(trained.unet, context.folder / UNET)
            trained.text_encoder.save_pretrained(context.folder / TEXT_ENCODER, safe_serialization=True)
        (context.folder / SCHEDULER).write_text(json.dumps(parts.scheduler_config, indent=2))
        return Result(
            samples_seen=result.samples_seen,
            weights=which_weights(result),
            metrics={"steps": result.steps, **result.metrics},
        )

    def _parts(self, context: Context, encoded: Encoded) -> LatentDiffusion:
        """Returns the teacher as training begins: parts of earlier stages, and a new U-Net unless `start` has one."""
        text = context.inputs[self.text].folder
        text_encoder = load_text_encoder(context.inputs[self.start or self.text].folder)
        unet = self._unet(encoded.manifest["latent_shape"], text_encoder.config.hidden_size)
        if self.start is not None:
            begun = context.inputs[self.start].folder
            check_process(load_scheduler_config(begun), scheduler_config(self.scheduler))
            unet.load_state_dict(fitting_weights(load_unet(begun), unet))
        vae = load_autoencoder(context.inputs[self.autoencoder].folder)
        guidance = instantiate(self.guidance, _convert_="all")
        scheduler = scheduler_config(self.scheduler)
        return LatentDiffusion(unet, vae, text_encoder, load_tokenizer(text), scheduler, guidance)

    def _unet(self, latent_shape: Sequence[int], text_width: int) -> Any:
        channels, height, width = latent_shape
        return build(
            UNet2DConditionModel,
            self.architecture,
            in_channels=channels,
            out_channels=channels,
            sample_size=height if height == width else (height, width),
            cross_attention_dim=text_width,
        )

    def _optimizer(self, student: TextConditioned) -> Any:
        """Returns the optimizer's maker, with a smaller rate for the text encoder, which is pretrained."""
        make = instantiate(self.optimizer)
        # Asked for its parameters late: a strategy may put others in their place.
        return lambda _parameters: make(student.parameter_groups(self.optimizer.lr, self.text_lr_ratio))

    def _grids(self, context: Context, parts: LatentDiffusion) -> list[SampleGrids]:
        prompts = list(self.grids["prompts"] or context.cfg.data.get("prompts") or [])[: self.grids["columns"]]
        if not prompts:
            log.warning("No sample grids: no prompts are given.")
            return []

        def draw(student: Any, steps: int) -> Image.Image:
            trained = replace(parts, unet=student.unet, text_encoder=student.text_encoder)
            return grid(render(trained, prompts, steps=steps, seed=self.seed))

        return [SampleGrids(draw, context.folder, self.grids["every"], self.grids["steps"])]


def fitting_weights(found: Any, wanted: Any) -> dict[str, Any]:
    """Returns the weights of the U-Net that training goes on from.

    Raises:
        ValueError: its tensors are not those of the architecture that is asked for.
    """
    weights, expected = found.state_dict(), wanted.state_dict()
    shapes, asked = ({name: tuple(value.shape) for name, value in tensors.items()} for tensors in (weights, expected))
    if shapes != asked:
        different = min(name for name in {**shapes, **asked} if shapes.get(name) != asked.get(name))
        raise ValueError(
            f"architecture must be that of the U-Net to start from, but {different} is {shapes.get(different)} there"
            f" and {asked.get(different)} here."
        )
    return weights


def check_process(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Checks that training goes on with what the U-Net was trained to answer, on its noise.

    Raises:
        ValueError: the two schedulers' configs have another prediction type or noise schedule.
    """
    theirs, ours = Process.from_config(found), Process.from_config(wanted)
    if theirs.prediction_type != ours.prediction_type:
        raise ValueError(
            f"scheduler.prediction_type must be {theirs.prediction_type}, that of the U-Net to start from, "
            f"not {ours.prediction_type}."
        )
    if not torch.equal(theirs.alphas_cumprod, ours.alphas_cumprod):
        raise ValueError("scheduler must have the noise schedule of the U-Net to start from, not another.")
