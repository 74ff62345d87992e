"""How a language model is pruned: what is known of a pruner before any weight is read, and the pruning itself."""

import logging
from typing import Any, NamedTuple

import torch
from hydra.utils import get_class, instantiate

from ldc.data.text import Calibration
from ldc.families.llama import BLOCKS, blocks
from ldc.families.llama_table import Row, block_rows, block_table
from ldc.families.llama_width import widths
from ldc.models.language import LanguageTeacher, build_language_student
from ldc.profiling import params
from ldc.pruning import BlockRemoval
from ldc.pruning.depth import BlockScores, DepthPruning, depth_plan
from ldc.pruning.width import Flap, LlmPruner, WandaSp, WidthResult, WidthScores, install
from ldc.runtime.language_origin import packed_bits
from ldc.runtime.stage_settings import StageSettingError
from ldc.surgery import Plan

log = logging.getLogger(__name__)
FACTS = "pruning.json"
_WIDTH = (WandaSp, Flap, LlmPruner)


class Pruned(NamedTuple):
    """A student, the plan that made it, what came of it, and a row a block of the teacher."""

    student: Any
    plan: Plan
    facts: dict[str, Any]
    rows: list[Row]


def is_language_pruner(config: Any) -> bool:
    """Tells whether a `pruner` group's config names one of language models."""
    return get_class(config["_target_"]) in {DepthPruning, *_WIDTH}


def check_language_pruner(config: Any) -> None:
    """Raises ValueError for a `pruner` group's config that names one of U-Nets."""
    if config is None:
        raise ValueError("pruner must be one of language models, such as depth_perplexity, not null.")
    if get_class(config["_target_"]) is BlockRemoval:
        raise ValueError(
            "pruner must be one of language models, not BlockRemoval, which prunes U-Nets: choose "
            "pruner=depth_perplexity, or flap for widths."
        )


def build_pruner(config: Any, scores: Any = None) -> Any:
    """Returns the pruner of a config.

    Args:
        config: of the group `pruner`.
        scores: where the blocks' scores are from; None: the pruner makes its own.

    Raises:
        ValueError: a setting of it is outside its range, it prunes no language models, or it has no use for the scores.
    """
    check_language_pruner(config)
    pruner = instantiate(config)
    if scores is not None and not isinstance(pruner, DepthPruning):
        raise StageSettingError(
            f"scores must be null with {type(pruner).__name__}, which scores channels, not {scores!r}."
        )
    if scores is not None and pruner.iterative:
        raise StageSettingError(
            f"scores must be null with iterative=true, which scores again and again, not {scores!r}."
        )
    return pruner


def needs_calibration(pruner: Any, scores: Any) -> bool:
    """Tells whether the pruner must be given calibration tokens; of magnitudes none are taken."""
    return scores is None and getattr(pruner, "needs_data", True)


def rehearse(pruner: Any, model: Any) -> Pruned | None:
    """Returns a student of a model on the meta device that is as large as the pruner's will be.

    Which blocks, heads and neurons go, the weights decide: here it is the first ones. None for a pruner of whose
    student no more than the number of parameters is known.

    Raises:
        ValueError: the budget cannot be met.
    """
    if isinstance(pruner, DepthPruning):
        number = pruner.check(model)
        return _made(model, depth_plan(len(blocks(model)), range(pruner.protect_first, pruner.protect_first + number)))
    if not isinstance(pruner, WandaSp | LlmPruner):
        pruner.check(model)
        return None
    each = [widths(block) for block in blocks(model)]
    groups = [torch.arange(float(width.groups)) for width in each]
    neurons = [torch.arange(float(width.neurons)) for width in each]
    return _made(model, pruner.plan(model, scores=WidthScores(groups, neurons)))


def prune(pruner: Any, model: Any, calibration: Calibration | None = None, scores: BlockScores | None = None) -> Pruned:
    """Returns the student of a model, which is not changed; what is scored is logged, and the plan as a table.

    Args:
        pruner: as `build_pruner` gives it.
        model: with its weights.
        calibration: tokens, where `needs_calibration`.
        scores: of the blocks, from before.
    """
    number = len(blocks(model))
    if not isinstance(pruner, DepthPruning):
        log.info("Scoring heads and neurons of %d blocks by %s.", number, type(pruner).__name__)
        found = pruner.plan(model, calibration)
    else:
        if scores is None:
            again = ", anew at every removal" if pruner.iterative else ""
            log.info("Scoring %d blocks by %s%s.", number, pruner.criterion.name, again)
        found = pruner.plan(model, calibration, scores, progress=True)
    pruned = _made(model, found)
    pruned.facts.update(_method(pruner), calibration=_fingerprint_of(calibration or scores))
    log.info("%s", block_table(pruned.rows))
    return pruned


def say_dequantised(spec: LanguageTeacher) -> dict[str, str]:
    """Warns where a teacher's weights are quantised in its files, as the student's will not be; returns facts of it.

    They are pruned all the same, as those of a GGUF file are: scores and retraining need plain weights.
    """
    bits = packed_bits(spec)
    if bits is None:
        return {}
    log.warning(
        "The weights of %s are in %d bits: they are dequantised to be pruned, and the student is written in %s; "
        "ldc.quantize packs it again.",
        spec.path_or_id,
        bits,
        spec.dtype,
    )
    return {"dequantised_from": f"{bits} bits"}


def _method(pruner: Any) -> dict[str, Any]:
    """Returns by what the parts that go were chosen, and how much was to go."""
    budget = {"num_removed": pruner.budget.count, "ratio": pruner.budget.ratio, "params": pruner.budget.params}
    chosen = {"budget": {name: value for name, value in budget.items() if value is not None}}
    if not isinstance(pruner, DepthPruning):
        return {"method": type(pruner).__name__, **chosen}
    settings = {name: getattr(pruner, name) for name in ("protect_first", "protect_last", "iterative")}
    return {"criterion": pruner.criterion.name, **settings, **chosen}


def _fingerprint_of(drawn_on: Calibration | BlockScores | None) -> str | None:
    """Returns the calibration tokens' fingerprint, of which magnitudes have none."""
    if drawn_on is None:
        return None
    return (drawn_on.calibration if isinstance(drawn_on, BlockScores) else drawn_on.fingerprint) or None


def _made(model: Any, found: Plan | WidthResult) -> Pruned:
    plan, tensors, counts = (found, {}, {}) if isinstance(found, Plan) else found
    student = build_language_student(model, plan)
    if not next(model.parameters()).is_meta:
        install(student, tensors)
    number, before, after = len(blocks(model)), params(model), params(student)
    kept = plan.kept(BLOCKS, number)
    facts = {
        "params": after,
        "parent_params": before,
        "removed_ratio": 1 - after / before,
        "num_blocks": number,
        "removed_blocks": [index for index in range(number) if index not in kept],
        **{name: counts[name] for name in ("target_params", "bias_params", "heads", "kv_heads", "neurons") if counts},
    }
    return Pruned(student, plan, facts, block_rows(model, student, plan))
