"""The stage that publishes a teacher: its parts in one StableDiffusionPipeline folder, with model card and samples."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from ldc.artifacts import Artifact
from ldc.data.prepare import Prepared, load_prepared
from ldc.evaluation.pictures import comparison
from ldc.models import Guidance, LatentDiffusion, load_teacher, save_student
from ldc.models.generate import render
from ldc.models.latent_diffusion import check_parts
from ldc.models.teachers import Teacher
from ldc.profiling import params
from ldc.runtime.chain import Context, Result
from ldc.runtime.parts import (
    load_autoencoder,
    load_scheduler_config,
    load_text_encoder,
    load_tokenizer,
    load_unet,
)
from ldc.runtime.sources import data_source
from ldc.runtime.stages.parts import Parts
from ldc.runtime.teacher_card import PartFacts, teacher_card
from ldc.surgery import Plan

CARD, SHEET, NOTICE = "README.md", "samples.png", "NOTICE.md"
FIGURES = {
    "held_out/psnr": "PSNR on held-out images in dB",
    "held_out/states": "squared error on held-out texts, where guessing has 1",
    "train/task": "last loss",
}


@dataclass(frozen=True, kw_only=True)
class Publish:
    """Assembles, samples and describes; conf/stages/publish.yaml says what each setting means."""

    autoencoder: str
    text: str
    encoded: str
    denoiser: str
    start: str | None
    guidance: DictConfig
    dtype: str
    steps: int
    num_rows: int
    prompts: Any
    num_held_out_prompts: int
    seed: int

    kind = "student"  # a run's last model: what `student=RUN_FOLDER` finds
    trains = False

    def inputs(self) -> list[str]:
        names = [self.denoiser, self.text, self.autoencoder, self.encoded, *filter(None, [self.start])]
        return list(dict.fromkeys(names))

    def identity(self) -> list[str]:
        return []

    def check(self, cfg: DictConfig) -> None:
        begun = cfg.stages[self.denoiser].get("start")
        if begun != self.start:  # the card would be wrong
            raise ValueError(f"start must be {begun or 'null'} as in stage {self.denoiser!r}, not {self.start!r}.")
        if self.dtype not in {"float16", "float32"}:
            raise ValueError(f"dtype must be float16 or float32, not {self.dtype!r}.")
        if min(self.steps, self.num_rows) < 1:
            raise ValueError(f"steps and num_rows must be at least 1, not {self.steps} and {self.num_rows}.")
        self._guidance()

    def run(self, context: Context) -> Result:
        parts = self._parts(context)
        check_parts(parts, "teacher")
        save_student(context.folder, parts.unet, Plan(()), parts, frozen="copy", consistency=False)
        # What is described and shown is what was written, rounded as it is.
        teacher = load_teacher(Teacher(str(context.folder), guidance=parts.guidance))
        data = load_prepared(context.inputs[self.encoded].outputs["prepared"])
        prompts, num_held_out = self._prompts(context, data)
        seeds = range(self.seed, self.seed + self.num_rows)
        rows = [(f"seed {seed}", render(teacher, prompts, steps=self.steps, seed=seed)) for seed in seeds]
        comparison(rows, prompts).save(context.folder / SHEET)
        card = teacher_card(
            context.cfg.name,
            self._facts(context, teacher),
            held_out={kind: data.counts[kind] for kind in data.held_out},
            guidance=teacher.guidance,
            steps=self.steps,
            prompts=prompts,
            num_held_out_prompts=num_held_out,
            prediction_type=teacher.scheduler_config["prediction_type"],
            notice=self._copy_notice(data, context.folder),
        )
        (context.folder / CARD).write_text(card)
        denoiser = context.inputs[self.denoiser]
        return Result(
            plan_fingerprint=Plan(()).fingerprint,
            samples_seen=denoiser.samples_seen,
            weights=denoiser.weights,
            guidance=teacher.guidance._asdict(),
            metrics={"params": params(teacher.unet)},
            outputs={"student": str(context.folder / "unet")},
        )

    def _guidance(self) -> Guidance:
        return instantiate(self.guidance, _convert_="all")

    def _parts(self, context: Context) -> LatentDiffusion:
        denoiser, text = context.inputs[self.denoiser].folder, context.inputs[self.text].folder
        dtype = getattr(torch, self.dtype)
        return LatentDiffusion(
            load_unet(denoiser, dtype),
            load_autoencoder(context.inputs[self.autoencoder].folder, dtype),
            load_text_encoder(denoiser, dtype),
            load_tokenizer(text),
            load_scheduler_config(denoiser),
            self._guidance(),
        )

    def _prompts(self, context: Context, data: Prepared) -> tuple[list[str], int]:
        """Returns the sheet's prompts, and how many of them, at the end, are captions of held-out samples."""
        given = list(self.prompts or context.cfg.data.get("prompts") or [])
        held_out = [record["caption"] for split in data.held_out for record in data.samples(split).records()]
        chosen = held_out[:: max(1, len(held_out) // max(1, self.num_held_out_prompts))][: self.num_held_out_prompts]
        if not given and not chosen:
            given = [record["caption"] for record in data.samples().records()[:8]]
        return given + chosen, len(chosen)

    def _facts(self, context: Context, teacher: LatentDiffusion) -> list[PartFacts]:
        vae, text, denoiser = (context.inputs[name] for name in (self.autoencoder, self.text, self.denoiser))
        latents = context.inputs[self.encoded]
        images, texts = _trained_on(vae, "images"), _trained_on(text, "texts")
        pairs = f"{latents.metrics['samples']:,} images of {_data_name(latents)}, with captions"
        if self.start is not None:
            pairs += f"; it began {_trained_on(context.inputs[self.start])}"
        return [
            _part("autoencoder", teacher.vae, images, vae),
            _part("text encoder, pretrained", teacher.text_encoder, texts, text),
            _part("U-Net, and text encoder with it", teacher.unet, pairs, denoiser),
        ]

    def _copy_notice(self, data: Prepared, folder: Path) -> str | None:
        source = Path(data.train[0]).parent / NOTICE
        if not source.is_file():
            return None
        shutil.copyfile(source, folder / NOTICE)
        return NOTICE


def _part(name: str, model: Any, trained_on: str, artifact: Artifact) -> PartFacts:
    figures = {label: artifact.metrics[key] for key, label in FIGURES.items() if key in artifact.metrics}
    return PartFacts(name, params(model), trained_on, artifact.samples_seen, figures)


def _trained_on(artifact: Artifact, what: str = "") -> str:
    """Returns what a part learned from; of one that was taken from a published teacher its card tells."""
    if artifact.kind == Parts.kind:
        return f"as in `{Path(artifact.config['teacher']['path_or_id']).name}` ({artifact.parents[0]})"
    return f"{artifact.metrics[what]:,} {what} of {_data_name(artifact)}"


def _data_name(artifact: Artifact) -> str:
    return data_source(OmegaConf.create(artifact.config["data"])).name
