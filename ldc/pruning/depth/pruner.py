"""The pruner of Shortened LLaMA: whole blocks go, least important first (Kim et al. 2024, arXiv 2402.02834)."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ldc.data.text import Calibration
from ldc.families.llama import block_params, blocks, check_causal
from ldc.profiling import params as count_params
from ldc.pruning.budget import Budget
from ldc.pruning.depth.criteria import build_criterion
from ldc.pruning.depth.scores import BlockScores
from ldc.pruning.depth.scoring import check_calibration, score_blocks, score_places
from ldc.pruning.depth.selection import PROTECT_FIRST, PROTECT_LAST, among, candidates, depth_plan, select
from ldc.surgery import Plan

log = logging.getLogger(__name__)


class DepthPruning:
    """Removes blocks by a criterion's order, down to a budget.

    Args:
        criterion: magnitude, taylor or perplexity.
        num_removed: blocks that go; or
        ratio: share of all parameters that goes at least; or
        params: parameters that stay at most.
        protect_first: blocks at the start that never go; with `protect_last` the paper's "+".
        protect_last: blocks at the end that never go.
        iterative: removes one block, scores the others again, and so on, as SLEB (Song et al. 2024); the paper scores
            once.
        settings: the criterion's; see `Magnitude`, `Taylor` and `Perplexity`.

    Raises:
        ValueError: a setting is out of its range, or the budget is not one of three.
    """

    def __init__(
        self,
        criterion: str,
        num_removed: int | None = None,
        ratio: float | None = None,
        params: int | None = None,
        protect_first: int = PROTECT_FIRST,
        protect_last: int = PROTECT_LAST,
        iterative: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.criterion = build_criterion(criterion, settings)
        self.budget = Budget(num_removed, ratio, params)
        self.protect_first, self.protect_last = protect_first, protect_last
        self.iterative = iterative

    @property
    def needs_data(self) -> bool:
        """Whether `plan` needs calibration tokens where it is given no scores."""
        return self.criterion.needs_data

    def check(self, model: Any) -> int:
        """Returns how many blocks go of a model that may be on the meta device; of unlike blocks, the first ones go.

        Raises:
            ValueError: the model is not of the family, or has fewer candidates than the budget needs.
        """
        check_causal(model)
        return len(self._select(model, range(len(blocks(model)))))

    def plan(
        self,
        model: Any,
        calibration: Calibration | None = None,
        scores: BlockScores | None = None,
        *,
        progress: bool = False,
    ) -> Plan:
        """Returns the plan for `model`, which is not edited.

        Args:
            model: a causal language model, with its weights unless scores are given.
            calibration: tokens to score on; magnitude needs none.
            scores: of this criterion on this model, from before; None: the blocks are scored now.
            progress: a bar on stderr while they are scored, with the time that is left; one a removal where iterative.

        Raises:
            ValueError: the scores are another criterion's or another model's, or the budget cannot be met.
        """
        self.check(model)
        if self.iterative:
            if scores is not None:
                raise ValueError("scores must be null where the pruner is iterative: it scores again at every removal.")
            removed = self._one_by_one(model, calibration, progress=progress)
        elif scores is None:
            removed = self._select(model, score_blocks(model, calibration, self.criterion, progress=progress).order())
        else:
            removed = self._select(model, self._fitting(model, scores).order())
        self._report(model, removed)
        return depth_plan(len(blocks(model)), removed)

    def _select(self, model: Any, order: Sequence[int]) -> tuple[int, ...]:
        budget = {"count": self.budget.count, "ratio": self.budget.ratio, "params": self.budget.params}
        sizes = {"block_params": block_params(model), "total_params": count_params(model)}
        return select(order, len(blocks(model)), self.protect_first, self.protect_last, **budget, **sizes)

    def _one_by_one(self, model: Any, calibration: Calibration | None, *, progress: bool) -> tuple[int, ...]:
        ids, number = check_calibration(model, calibration, self.criterion), len(blocks(model))
        costs, total = block_params(model), count_params(model)
        free = list(candidates(range(number), number, self.protect_first, self.protect_last))
        removed: list[int] = []
        while not self.budget.is_met(len(removed), sum(costs[place] for place in removed), total):
            if not free:
                spent = [costs[place] for place in removed]
                self.budget.units(spent, total, among(number, self.protect_first, self.protect_last))  # raises
            title = f"{self.criterion.name}, removal {len(removed) + 1}"
            found = score_places(model, ids, self.criterion, free, removed, progress=progress, title=title)
            lowest = min(free, key=found.scores.__getitem__)  # of equal ones the first: the lower index
            log.info("%s: block %d goes at %.6g.", self.criterion.name, lowest, found.scores[lowest])
            free.remove(lowest)
            removed.append(lowest)
        return tuple(removed)

    def _fitting(self, model: Any, scores: BlockScores) -> BlockScores:
        name, number, settings = self.criterion.name, len(blocks(model)), asdict(self.criterion)  # pyrefly: ignore
        if scores.criterion != name:
            raise ValueError(f"scores must be of the pruner's criterion {name}, not of {scores.criterion!r}.")
        if len(scores.scores) != number:
            raise ValueError(f"scores must be of a model of {number} blocks, not of {len(scores.scores)}.")
        if dict(scores.settings) != settings:
            log.warning("The scores' settings %s count, not the pruner's %s.", dict(scores.settings), settings)
        return scores

    def _report(self, model: Any, removed: Sequence[int]) -> None:
        costs, total, number = block_params(model), count_params(model), len(blocks(model))
        gone = sum(costs[place] for place in removed)
        log.info(
            "%s: %d of %d blocks go, in this order: %s; %s of %s parameters stay, %.2f %% go.",
            self.criterion.name,
            len(removed),
            number,
            ", ".join(map(str, removed)),
            f"{total - gone:,}",
            f"{total:,}",
            100 * gone / total,
        )
