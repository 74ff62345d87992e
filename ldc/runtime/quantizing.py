"""Quantisation of a language model, for its stage and for `ldc.quantize`: checks, calibration, GPTQ, folder, report."""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from hydra.utils import get_class
from omegaconf import DictConfig

from ldc.models.language import (
    LanguageTeacher,
    check_language_teacher,
    find_language_student,
    language_config,
    load_language_teacher,
    meta_language_model,
)
from ldc.models.language.edited import WEIGHTS_FILE
from ldc.models.language.packed import is_packed
from ldc.pruning.depth import DepthPruning
from ldc.quantization import GptqSettings, calibration_windows, quantise_model, quantised_sizes, save_quantised
from ldc.runtime.calibrating import check_draw
from ldc.runtime.checks import check_device, refuse_mixing, refuse_overwriting
from ldc.runtime.devices import device_of
from ldc.runtime.language_origin import made_of
from ldc.runtime.language_pruning import FACTS as PRUNING
from ldc.runtime.language_publishing import publish_language_student
from ldc.runtime.paths import cache_folder, locate
from ldc.runtime.publishing import clear_records
from ldc.runtime.teachers import language_spec, named_teacher, teacher_identity
from ldc.runtime.texts import calibration_texts, text_source

FACTS = "quantisation.json"
_NOT_STOCK = (
    "student must have a stock config to be quantised, since a quantised folder is read by stock software, but "
    "channels of {} were cut: quantise a depth-pruned student or the teacher."
)
CALIBRATION = ("num_samples", "length", "seed")
log = logging.getLogger(__name__)


def quantize_language_model(cfg: DictConfig) -> dict[str, Any]:
    """Writes the quantised model that conf/quantize.yaml asks for and returns its summary; `dry_run=true` only counts.

    Raises:
        ValueError: the student cannot be quantised so, or the calibration texts are not there.
    """
    spec, settings = _spec(cfg.student), gptq_settings(cfg)
    check_quantisable(spec, settings)
    refuse_overwriting(cfg.out, student=spec.path_or_id)
    refuse_mixing(cfg.out, "model_index.json")
    check_windows(cfg.data, cfg.calibration, spec)
    sizes = quantised_sizes(meta_language_model(spec), settings)
    summary: dict[str, Any] = {**sizes, **made_of(spec)}
    if cfg.dry_run:
        say_quantised_before(summary["parent_quantised"])
        return {**summary, "dry_run": True}
    check_device(cfg.device)
    check_language_teacher(spec)
    name = f"{Path(spec.path_or_id).stem}-{teacher_identity(spec)[-8:]}-{settings.bits}bit"
    folder = Path(cfg.out or Path(cfg.paths.outputs) / "quantize" / name)
    facts = quantize(spec, settings, cfg.data, cfg.calibration, folder, cfg.paths.cache, cfg.device)
    config = {**asdict(settings), "calibration": cfg.calibration, "data": cfg.data}
    publish_language_student(folder, spec, config, "quantised", facts)
    return {"student": str(folder), **summary, **facts}


def gptq_settings(values: Any) -> GptqSettings:
    """Returns the settings of a config, or of a stage's fields, that has GPTQ's among others."""
    return GptqSettings(**{field.name: values.get(field.name) for field in fields(GptqSettings)})


def check_quantisable(spec: LanguageTeacher, settings: GptqSettings) -> None:
    """Checks what a model's config tells; its weights need not be there.

    Raises:
        ValueError: the model is none whose weights can be quantised so.
    """
    if (Path(spec.path_or_id).expanduser() / WEIGHTS_FILE).is_file():
        raise ValueError(_NOT_STOCK.format(spec.path_or_id))
    if spec.weights == "random":
        raise ValueError("weights must be pretrained to be quantised, not random, which come without a tokenizer.")
    if is_packed(language_config(spec)):
        raise ValueError(
            f"student must have plain weights to be quantised, but those of {spec.path_or_id} are quantised."
        )
    quantised_sizes(meta_language_model(spec), settings)


def check_quantisable_stage(cfg: DictConfig, name: str) -> None:
    """Checks the student that a stage will make, by the stages that it comes from.

    Raises:
        ValueError: channels of it will be cut, or it will be quantised already.
    """
    at: str | None = name
    while at in cfg.stages:
        stage = cfg.stages[at]
        if "pruner" in stage and get_class(stage.pruner["_target_"]) is not DepthPruning:
            raise ValueError(_NOT_STOCK.format(f"the student of stage {name!r}"))
        if "bits" in stage:
            raise ValueError(f"student must have plain weights to be quantised, but stage {at!r} quantises them.")
        at = stage.get("student")


def check_windows(data: Any, calibration: Mapping[str, Any], spec: LanguageTeacher) -> None:
    """Checks calibration settings, also against the model's context, and that the texts are there.

    Raises:
        ValueError: a setting is missing, unknown or not allowed, or a window is longer than the model's context.
    """
    check_draw(calibration, CALIBRATION)
    most = language_config(spec).get("max_position_embeddings")
    if most is not None and calibration["length"] > most:
        raise ValueError(f"length must be at most the model's context, {most} tokens, not {calibration['length']}.")
    text_source(data).check()


def quantize(
    spec: LanguageTeacher,
    settings: GptqSettings,
    data: Any,
    calibration: Mapping[str, Any],
    folder: Path,
    cache: str | None,
    device: str,
) -> dict[str, Any]:
    """Quantises the model and writes its folder, with `quantisation.json`; returns what is reported of it.

    Args:
        spec: the model.
        settings: of GPTQ.
        data: a `data` group of text, whose train split calibrates.
        calibration: num_samples, length, seed.
        folder: to write.
        cache: folder for what is fetched; null is the default cache.
        device: where the blocks are quantised.

    Raises:
        ValueError: the model has no tokenizer, or the texts are too short.
    """
    texts = calibration_texts(data, cache)
    found = load_language_teacher(spec, cache_folder(cache))
    if found.tokenizer is None:
        raise ValueError(f"student must have a tokenizer to make calibration tokens, but {spec.path_or_id} has none.")
    windows = calibration_windows(texts, found.tokenizer, **calibration)
    samples, length = windows.ids.shape
    log.info("Calibration: %d windows of %d tokens, fingerprint %s.", samples, length, windows.fingerprint)
    made = made_of(spec)
    say_quantised_before(made["parent_quantised"])
    start = time.monotonic()
    model = found.model.to(device_of(device))
    quantised = quantise_model(model, windows.ids, settings)
    facts = {
        **quantised_sizes(model, settings),
        "error": sum(layer.gptq for layer in quantised.reports),
        "error_of_rounding": sum(layer.round_to_nearest for layer in quantised.reports),
        "quantising_seconds": round(time.monotonic() - start, 1),
        "calibration": windows.fingerprint,
        **made,
    }
    clear_records(folder, PRUNING)  # only now: until here the folder may hold another student, whole
    save_quantised(folder, model, quantised, settings, found.tokenizer, found.folder)
    facts["weight_mb"] = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6
    layers = [layer._asdict() for layer in quantised.reports]
    (folder / FACTS).write_text(json.dumps({**facts, "layers": layers}, indent=2) + "\n")
    log.info(
        "%.2f bits a weight, %.1f MB; squared errors of outputs %.4g, of rounding to nearest %.4g.",
        *(facts[key] for key in ("bits_per_weight", "weight_mb", "error", "error_of_rounding")),
    )
    return facts


def say_quantised_before(before: str | None) -> None:
    """Warns that losses add up, and that the parent's own file may be as small.

    Weights on one coarse grid are not near another: those of SmolLM2-135M, which were Q4_1, are rounded to 4 bits in
    groups of 64 with a relative error of 0.107, normally distributed ones with 0.103.
    """
    if before is not None:
        log.warning(
            "The parent's weights had already been through %s: what this quantisation loses comes on top of what that "
            "one lost, and its size is to be compared with that one's, too.",
            before,
        )


def _spec(name: str) -> LanguageTeacher:
    config = named_teacher(name)
    if config is not None:
        return language_spec(config, "student")
    path = Path(locate(name)).expanduser()
    if not path.is_dir():
        return LanguageTeacher(str(path) if path.is_file() else name)
    return LanguageTeacher(str(find_language_student(path)))
