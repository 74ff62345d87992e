"""What `ldc.prune` does with a language model: counts on the meta device, or a student in a folder."""

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ldc.families.llama import blocks, stock_config
from ldc.families.llama_table import block_table
from ldc.models.language import (
    LanguageModel,
    check_language_teacher,
    initialised_from_teacher,
    load_language_teacher,
    load_language_tokenizer,
    meta_language_model,
    save_language_student,
)
from ldc.profiling import params, tensors
from ldc.pruning.depth import BlockScores, DepthPruning
from ldc.runtime.calibrating import calibration_set, check_calibration_set
from ldc.runtime.checks import check_device, refuse_mixing, refuse_overwriting
from ldc.runtime.language_origin import made_of
from ldc.runtime.language_pruning import (
    FACTS,
    Pruned,
    build_pruner,
    needs_calibration,
    prune,
    rehearse,
    say_dequantised,
)
from ldc.runtime.language_publishing import publish_language_student
from ldc.runtime.paths import cache_folder
from ldc.runtime.publishing import clear_records
from ldc.runtime.quantizing import FACTS as QUANTISATION
from ldc.runtime.teachers import language_spec

log = logging.getLogger(__name__)


def prune_language_model(cfg: DictConfig) -> dict[str, Any]:
    """Writes the student that conf/prune.yaml asks for and returns its summary; `dry_run=true` only counts.

    Raises:
        ValueError: teacher, pruner, scores or calibration texts are not there, or do not belong together, or the
            student would be written over one of them.
    """
    spec = language_spec(cfg.teacher)
    refuse_overwriting(cfg.out, teacher=spec.path_or_id, scores=cfg.scores)
    refuse_mixing(cfg.out, "model_index.json")
    pruner = build_pruner(cfg.pruner, cfg.scores)
    scores = None if cfg.scores is None else BlockScores.load(cfg.scores, pruner.criterion.name)
    if cfg.dry_run:
        model = meta_language_model(spec)
        say_dequantised(spec)
        return {"dry_run": True, **_count(pruner, model)}
    check_device(cfg.device)
    check_language_teacher(spec)
    if needs_calibration(pruner, cfg.scores):
        check_calibration_set(cfg.data, cfg.calibration)
    pruner.check(meta_language_model(spec))  # a budget that the model does not allow is refused here
    cache, calibration = cache_folder(cfg.paths.cache), None
    if needs_calibration(pruner, cfg.scores):  # texts that do not do are refused before the weights are read
        tokenizer = load_language_tokenizer(spec, cache)
        calibration = calibration_set(cfg.data, tokenizer, cfg.calibration, cfg.paths.cache)
    made = made_of(spec) | say_dequantised(spec)
    teacher = load_language_teacher(spec, cache)
    pruned = prune(pruner, teacher.model.to(cfg.device), calibration, scores)
    copied = initialised_from_teacher(pruned.student, teacher.model, pruned.plan)
    folder, facts = Path(cfg.out or Path(cfg.paths.outputs) / "prune" / _name(spec, pruned)), made | pruned.facts
    _save(cfg, folder, spec, teacher, pruned, facts)
    return {"student": str(folder), **_summary(pruned), **facts, "initialised_from_teacher": copied}


def _save(
    cfg: DictConfig, folder: Path, spec: Any, teacher: LanguageModel, pruned: Pruned, facts: dict[str, Any]
) -> None:
    clear_records(folder, QUANTISATION)
    config = teacher.model.config
    save_language_student(folder, pruned.student, pruned.plan, teacher.tokenizer, config, {FACTS: facts})
    settings = {name: cfg[name] for name in ("pruner", "scores", "calibration", "data")}
    publish_language_student(folder, spec, settings, "pruned", facts, pruned.plan.fingerprint)


def _count(pruner: Any, model: Any) -> dict[str, Any]:
    """Returns what is known of the student without weights; what they decide is named under "undecided"."""
    pruned = rehearse(pruner, model)
    if pruned is None:  # FLAP and others that compare channels of all blocks
        before, after, number = params(model), pruner.check(model), 0
        summary = {"params": after, "parent_params": before, "removed_ratio": 1 - after / before}
        summary |= {"num_blocks": len(blocks(model)), "undecided": "how wide each block stays"}
    else:
        summary = {**_summary(pruned), **pruned.facts, "undecided": "which heads and neurons go"}
        del summary["plan"]
        number = len(summary["removed_blocks"])
        if isinstance(pruner, DepthPruning):
            del summary["removed_blocks"], summary["blocks"]
            summary |= {"num_removed_blocks": number, "undecided": "which blocks go"}
        else:
            log.info("%s", block_table(pruned.rows))
    log.info(
        "%s of %s parameters stay, %.2f %% go%s; without weights it is not known %s.",
        f"{summary['params']:,}",
        f"{summary['parent_params']:,}",
        100 * summary["removed_ratio"],
        f" with {number} of {summary['num_blocks']} blocks" if number else "",
        summary["undecided"],
    )
    return summary


def _summary(pruned: Pruned) -> dict[str, Any]:
    stock = stock_config(pruned.student) is not None
    # The channels of a width plan are many thousands: those stand in its file alone.
    plan = pruned.plan.to_json() if stock else pruned.plan.fingerprint
    return {"tensors": tensors(pruned.student), "stock": stock, "plan": plan, "blocks": pruned.rows}


def _name(spec: Any, pruned: Pruned) -> str:
    """Returns a folder's name: plans of two teachers may be the same."""
    return f"{Path(spec.path_or_id).stem}-{pruned.plan.fingerprint}"
