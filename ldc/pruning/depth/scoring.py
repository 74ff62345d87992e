"""Scores all blocks of a model by one criterion."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor
from tqdm import tqdm

from ldc.data.text import Calibration
from ldc.families.llama import blocks, check_causal
from ldc.pruning.calibration_ids import check_ids
from ldc.pruning.depth import sharing
from ldc.pruning.depth.criteria import build_criterion
from ldc.pruning.depth.criterion import Criterion, Scored
from ldc.pruning.depth.scores import BlockScores


def score_blocks(
    model: Any,
    calibration: Calibration | None,
    criterion: str | Criterion,
    *,
    over_ranks: bool = False,
    progress: bool = False,
    **settings: Any,
) -> BlockScores:
    """Returns what a criterion gives each block; the model is left as it was.

    Args:
        model: a causal language model with its weights.
        calibration: tokens; magnitude needs none.
        criterion: magnitude, taylor or perplexity, or one that is built.
        over_ranks: shares the blocks out where torch.distributed is initialised: all ranks must call this with the same
            model and tokens, and all get all scores.
        progress: a bar on stderr, with the time that is left.
        settings: of a criterion that is given by name.

    Raises:
        ValueError: the model is not of the family, the tokens are empty, too short or another tokenizer's, or a setting
            is out of its range.
    """
    chosen = build_criterion(criterion, settings) if isinstance(criterion, str) else criterion
    check_causal(model)
    ids = check_calibration(model, calibration, chosen)
    fingerprint = calibration.fingerprint if calibration is not None and chosen.needs_data else ""
    places, shared = range(len(blocks(model))), over_ranks and sharing.is_shared()
    own = score_places(model, ids, chosen, sharing.share(places) if shared else places, progress=progress)
    found = sharing.gather(own, fingerprint) if shared else own
    scores = tuple(found.scores[place] for place in places)
    return BlockScores(chosen.name, scores, found.base, fingerprint, asdict(chosen))  # pyrefly: ignore  a dataclass


def score_places(
    model: Any,
    ids: Tensor | None,
    criterion: Criterion,
    places: Sequence[int],
    removed: Collection[int] = (),
    *,
    progress: bool = False,
    title: str | None = None,
) -> Scored:
    """Returns the scores of some blocks of a model from which others are taken for gone; `title` is of the bar."""
    total, title = criterion.work(model, ids, places), title or criterion.name
    with tqdm(total=total, desc=title, disable=not progress, mininterval=1.0, unit="part") as bar:
        return criterion.score(model, ids, places, removed, bar.update)


def check_calibration(model: Any, calibration: Calibration | None, criterion: Criterion) -> Tensor | None:
    """Returns the tokens on the model's device, or None where the criterion needs none.

    Raises:
        ValueError: they are missing, empty, too short, or beyond the vocabulary.
    """
    if not criterion.needs_data:
        return None
    if calibration is None:
        raise ValueError(f"calibration must be given for the criterion {criterion.name}, not none.")
    embedding = model.get_input_embeddings()
    check_ids(calibration.ids, embedding.num_embeddings)
    return calibration.ids.to(embedding.weight.device)
