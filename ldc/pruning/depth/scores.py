"""Scores of a model's blocks as a file: JSON for this project, and the CSV files of the official scripts."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ldc.families.llama import BLOCKS

SCHEMA = 1
FILE = "scores.json"
TABLE = "scores.csv"
ORDER = "block_order.csv"
OFFICIAL = "block_score_all.csv"


@dataclass(frozen=True)
class BlockScores:
    """What a criterion gives each block of a model; the lower, the less the block is thought to matter.

    Args:
        criterion: magnitude, taylor or perplexity.
        scores: one a block, in the model's order.
        base: perplexity of the whole model, where the criterion measures it.
        calibration: fingerprint of the tokens; empty where the criterion needs none.
        settings: the criterion's.

    Raises:
        ValueError: there is no score, or one is not finite.
    """

    criterion: str
    scores: tuple[float, ...]
    base: float | None = None
    calibration: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores", tuple(float(score) for score in self.scores))
        if not self.scores:
            raise ValueError(f"{self.criterion} scores must be at least one, not none.")
        for place, score in enumerate(self.scores):
            if not math.isfinite(score):
                raise ValueError(
                    f"{self.criterion} score of block {place} must be finite, not {score}: the reductions or the "
                    "precision do not hold it."
                )

    def order(self) -> tuple[int, ...]:
        """Returns the blocks' indices, least important first; of equal ones the lower index comes first."""
        return tuple(sorted(range(len(self.scores)), key=self.scores.__getitem__))

    def to_json(self) -> dict[str, Any]:
        """Returns the fields, and the order for a reader."""
        return {**asdict(self), "scores": list(self.scores), "order": list(self.order())}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "BlockScores":
        """Returns the scores that `to_json` wrote.

        Raises:
            ValueError: fields are missing or unknown.
        """
        try:
            return cls(**{name: value for name, value in content.items() if name != "order"})
        except TypeError as error:
            raise ValueError(f"scores must have the fields of BlockScores, not {', '.join(content)}.") from error

    def save(self, path: Path | str) -> None:
        """Writes a file that holds these scores alone, as `save_scores` writes several."""
        _write(Path(path), [self])

    @classmethod
    def load(cls, path: Path | str, criterion: str | None = None) -> "BlockScores":
        """Returns the scores of a file, or of a folder's `scores.json`.

        Args:
            path: of the file or folder.
            criterion: which of several; None: the only one.

        Raises:
            ValueError: there are none, or not those of the criterion, or several and none is named.
        """
        found = _read(Path(path))
        if criterion is None and len(found) == 1:
            return next(iter(found.values()))
        if criterion not in found:
            raise ValueError(f"criterion must be one of those in {path} ({', '.join(found)}), not {criterion!r}.")
        return found[criterion]


def save_scores(folder: Path, scores: Sequence[BlockScores]) -> None:
    """Writes `scores.json`, `scores.csv` with a row a block, and the official scripts' files, a folder a criterion."""
    _write(folder / FILE, scores)
    with (folder / TABLE).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["block", *(each.criterion for each in scores)])
        writer.writerows([place, *row] for place, row in enumerate(zip(*(s.scores for s in scores), strict=True)))
    for each in scores:
        _write_official(folder / each.criterion, each)


def load_scores(folder: Path | str) -> dict[str, BlockScores]:
    """Returns the scores in a folder's `scores.json`, or of a file like it, by criterion.

    Raises:
        ValueError: there are none.
    """
    return _read(Path(folder))


def read_order(path: Path | str) -> tuple[int, ...]:
    """Returns the order, least important first, of a `block_order.csv` as the official scripts write it.

    Raises:
        ValueError: it is no line of numbers.
    """
    text = Path(path).read_text().strip()
    try:
        return tuple(int(index) for index in text.split(","))
    except ValueError:
        raise ValueError(f"{path} must be one line of block indices with commas between, not {text[:60]!r}.") from None


def _write(path: Path, scores: Sequence[BlockScores]) -> None:
    content = {"schema": SCHEMA, "criteria": {each.criterion: each.to_json() for each in scores}}
    path.write_text(json.dumps(content, indent=2) + "\n")


def _write_official(folder: Path, scores: BlockScores) -> None:
    folder.mkdir(exist_ok=True)
    (folder / ORDER).write_text(",".join(map(str, scores.order())) + "\n")
    with (folder / OFFICIAL).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["block_name", "block_score"])
        writer.writerows([f"{BLOCKS}.{place}", score] for place, score in enumerate(scores.scores))


def _read(path: Path) -> dict[str, BlockScores]:
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"scores must be a file of block scores, or a folder with {FILE}, but there is no {path}.")
    try:
        content = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} must be block scores in JSON, but reading it failed: {error}.") from error
    if content.get("schema") != SCHEMA:
        raise ValueError(f"schema of {path} must be {SCHEMA}, not {content.get('schema')!r}.")
    return {name: BlockScores.from_json(found) for name, found in content["criteria"].items()}
