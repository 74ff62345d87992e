"""What `ldc.evaluate` does with one language model: its settings checked, its figures and samples written."""

import json
import logging
from collections.abc import Mapping
from functools import cache
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from ldc.evaluation.tables import markdown_table
from ldc.profiling import GenerationProtocol, time_generation
from ldc.runtime.checks import check_device, check_texts, check_whole, refuse_settings
from ldc.runtime.comparison import comparison_table, differences, read_measurement
from ldc.runtime.figures_folder import figures_folder
from ldc.runtime.language_evaluation import LanguageQuality, continuations, held_out, size_of, speed_stamp
from ldc.runtime.language_models import FoundLanguageModel
from ldc.runtime.language_report import write_samples
from ldc.runtime.paths import CONF
from ldc.runtime.texts import check_held_out

OF_IMAGES = ("steps", "guidance", "num_images", "seed", "batch_size")
_IMAGES, _TEXTS = "emoji64_mini", "texts"  # data when none is chosen

log = logging.getLogger(__name__)


def evaluate_language(cfg: DictConfig, found: FoundLanguageModel) -> dict[str, Any]:
    """Measures the model and writes metrics.json and samples.txt; returns the summary.

    Raises:
        ValueError: a setting is outside its range or one of images alone, or `compare` has another stamp.
    """
    quality, protocol, data = _checked(cfg)
    other = read_measurement(cfg.compare)
    if cfg.dry_run:
        return {"dry_run": True, "student": cfg.student, "quality": vars(quality) | {"bos": list(quality.bos)}}
    texts, questions = held_out(data, None, cfg.paths.cache), quality.read_questions()
    model = found.load(cfg.device, quality.torch_dtype)
    theirs: dict[str, str] = {} if other is None else other["stamp"].get("ids", {})
    if other is not None and model.tokenizer is not None:
        # Of texts before any pass of the model, of questions after it.
        of_texts = {name: ids for name, ids in theirs.items() if name != "questions"}
        _check_comparable(cfg.compare, quality.texts_read(model, texts), of_texts)
    row = {**size_of(model), **quality.row(model, texts, questions)}
    stamp = row.pop("stamp")
    if other is not None:
        _check_comparable(cfg.compare, stamp["ids"], theirs)
    samples = continuations(model, list(cfg.prompts), cfg.max_new_tokens)
    summary: dict[str, Any] = {"student": cfg.student, "metrics": row, "stamp": stamp}
    if protocol is not None:
        model = found.load(protocol.device, protocol.torch_dtype)
        summary |= {"speeds": _speeds(model, protocol), "speed_stamp": speed_stamp(protocol, by_turns=False)}
    if other is not None:
        summary |= differences(row, other)
    out = figures_folder(cfg.student, cfg.paths.outputs, cfg.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_text(json.dumps(summary, indent=2))
    write_samples({cfg.student: samples}, list(cfg.prompts), out / "samples.txt")
    tables = [markdown_table([row]) if other is None else comparison_table(cfg.student, row, other)]
    tables += [markdown_table(summary["speeds"])] if protocol is not None else []
    log.info("\n%s\nFigures: %s", "\n".join(tables), out)
    return {**summary, "out": str(out)}


def _check_comparable(path: str, ids: Mapping[str, str], theirs: Mapping[str, str]) -> None:
    unlike = [name for name in {**ids, **theirs} if theirs.get(name) != ids.get(name)]
    if unlike:
        others = "none" if unlike[0] not in theirs else "others" if unlike[0] in ids else "some"
        raise ValueError(
            f"compare must be a measurement on the same token ids, and {path!r} has {others} for {unlike[0]!r}."
        )


def _checked(cfg: DictConfig) -> tuple[LanguageQuality, GenerationProtocol | None, Any]:
    refuse_settings(cfg, "evaluate", OF_IMAGES, "a language model")
    if type(cfg.timed) is not bool:
        raise ValueError(f"timed must be true or false, not {cfg.timed!r}.")
    check_texts({"prompts": list(cfg.prompts)}, "prompts")
    check_whole(cfg, "max_new_tokens")
    check_device(cfg.device)
    quality: LanguageQuality = instantiate(cfg.quality)
    quality.check()
    data = _data(_TEXTS) if cfg.data == _data(_IMAGES) else cfg.data
    check_held_out(data, (), "texts")
    if not cfg.timed:
        return quality, None, data
    protocol: GenerationProtocol = instantiate(cfg.protocol)
    protocol.check()
    return quality, protocol, data


@cache
def _data(name: str) -> Any:
    return OmegaConf.load(CONF / "data" / f"{name}.yaml")


def _speeds(model: Any, protocol: GenerationProtocol) -> list[dict[str, Any]]:
    prompts = {"model": protocol.prompt_ids(model.tokenizer)}
    return [
        time_generation({"model": model.model}, prompts, protocol, *cell, progress=True)["model"]
        for cell in protocol.cells()
    ]
