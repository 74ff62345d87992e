"""Writes an ablation's section of a Markdown document, between markers, with its plot beside the document."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ldc.evaluation.curves import Point, save_curves
from ldc.evaluation.per_image import METRICS
from ldc.runtime.versions import versions

HEADING = "# Measured results\n\n`python -m ldc.ablate ablation=NAME document=FILE` replaces its section.\n"
COLUMNS = (
    *("model", "KID", "fidelity top 1", "against", "KID, difference", "fidelity, difference"),
    *("the paper", "by KID", "by fidelity"),
)
log = logging.getLogger(__name__)
NAMES = {"kid": "KID", "fidelity_top1": "caption fidelity top 1"}
_FIGURE, _DIFFERENCE = "{value:.3f} [{low:.3f}, {high:.3f}]", "{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def document_of(cfg: DictConfig, found: Mapping[str, Any]) -> Path | None:
    """Returns the config's document; None where it has none, or rows are to come: it may hold the tables of all."""
    failed = {name.partition(", seed")[0] for name in found["failed"]}
    to_come = [name for name in found["missing"] if name not in failed]
    if cfg.document and to_come:
        log.warning("%s stays as it is until these rows are finished, too: %s.", cfg.document, ", ".join(to_come))
    return Path(cfg.document) if cfg.document and not to_come else None


def write_document(cfg: DictConfig, found: Mapping[str, Any], path: Path) -> Path:
    """Replaces the ablation's section of the document, which is begun where it does not exist.

    Raises:
        ValueError: the section's end is missing, so what follows it cannot be told from it.
    """
    name = cfg.ablation.name
    start, end = f"<!-- ablation {name} -->", f"<!-- end of ablation {name} -->"
    text = path.read_text() if path.is_file() else HEADING
    before, begun, rest = text.partition(start)
    _, ended, after = rest.partition(end)
    if begun and not ended:
        raise ValueError(f"{path} must close the section of ablation {name!r} by a line {end!r}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = _plot(cfg, found, path.with_name(f"ablation_{name}.png"))
    before = before if begun else before.rstrip("\n") + "\n\n"
    after = after or "\n"  # an editor may have taken the file's last one
    path.write_text(f"{before}{start}\n{_section(cfg, found, picture)}{end}{after}")
    return path


def _section(cfg: DictConfig, found: Mapping[str, Any], picture: Path | None) -> str:
    lines = [f"## {cfg.ablation.title}", "", _how(found), ""]
    for table in found["tables"]:
        lines += [f"### {table['title']}", "", *([table["source"], ""] if table["source"] else [])]
        lines += [_line(COLUMNS), "|" + "---|" * len(COLUMNS), *_rows(found, table), ""]
    if picture is not None:
        lines += [f"![{NAMES['kid']} and {NAMES['fidelity_top1']} over sampling steps]({picture.name})", ""]
    every = f"python -m ldc.ablate ablation={cfg.ablation.name}"
    lines += [f"Each row is one command (here for the first seed); `{every}` runs them all:", "", "```sh"]
    lines += [f"{command}  # {name}" for name, command in found["commands"].items()] + ["```", "", ""]
    return "\n".join(lines)


def _how(found: Mapping[str, Any]) -> str:
    seeds = found["seeds"]
    over = (
        f"Means over training seeds {', '.join(map(str, seeds))}"
        if len(seeds) > 1
        else f"One training seed, {seeds[0]}: the intervals do not cover what another training run would give"
    )
    widened = " and widened by the seeds' deviation (Student's t)" if len(seeds) > 1 else ""
    stamp = found["stamps"][0] if found["stamps"] else {}
    about = ", ".join(f"{name} {version}" for name, version in versions().items())
    return (
        f"{over}. In brackets: 95 % intervals, resampled over the {found['num_images']} prompts "
        f"({found['replicates']} replicates){widened}. All rows draw the same prompts (captions of training images, "
        "up to a quarter of held-out ones, counted together) from the same noise, so differences are paired; a verdict "
        "is yes or no where the difference's interval leaves out 0, whatever its size; of many such verdicts a few "
        "come by chance. "
        "KID (lower is better) over all pairs of different prompts, on "
        f"{stamp.get('extractor', 'no')} features; fidelity: the nearest real drawing of the style shows the prompt's "
        f"concept. Prompts {stamp.get('prompts_hash', '-')}, real images {stamp.get('real_hash', '-')}; {about}."
    )


def _rows(found: Mapping[str, Any], table: Mapping[str, Any]) -> Iterator[str]:
    labels = _labels(found, found["tables"]) | _labels(found, [table])  # as this table names it, where it does
    for row in table["rows"]:
        figures = found["rows"].get(row["row"])
        if figures is None:
            yield _line([row["label"], "not measured"])
            continue
        cells = [_label(row, found["rows"]), *(_FIGURE.format(**figures[metric]) for metric in METRICS)]
        if "difference" in row and row["against"] is None:
            cells.append("not measured")
        elif "difference" in row:
            cells.append(labels.get(row["against"], row["against"]))
            cells += [_DIFFERENCE.format(**row["difference"][metric]) for metric in METRICS]
            cells.append(_expected(row["expect"]))
            cells += [row["verdict"][metric] or "" for metric in METRICS]
        yield _line(cells)


def _line(cells: Sequence[str]) -> str:
    """Returns a row of a table; cells that are not given are blank."""
    return f"| {' | '.join([*cells, *[''] * (len(COLUMNS) - len(cells))])} |"


def _expected(expect: Mapping[str, str | None]) -> str:
    words = [expect[metric] for metric in METRICS]
    if None in words or len(set(words)) == 1:
        return words[0] or "-"
    return ", ".join(f"{word} by {NAMES[metric]}" for metric, word in expect.items())


def _label(row: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """Returns a row's label; where it is the best of several guidances, with the one that was."""
    if len(row["best_of"]) == 1:
        return row["label"]
    return f"{row['label']} (guidance {figures[row['row']]['guidance']:g})"


def _labels(found: Mapping[str, Any], tables: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Returns a reader's name of every measured row of these tables."""
    rows = [row for table in tables for row in table["rows"] if row["row"] in found["rows"]]
    return {row["row"]: _label(row, found["rows"]) for row in reversed(rows)}


def _plot(cfg: DictConfig, found: Mapping[str, Any], path: Path) -> Path | None:
    """Draws the ablation's curves over sampling steps; None where it has none, or nothing of them is measured."""
    rows = found["rows"]
    curves = {
        name: [rows[row] for row in names if row in rows] for name, names in (cfg.ablation.get("curves") or {}).items()
    }
    if not any(curves.values()):
        return None
    panels = {
        NAMES[metric]: {
            name: [Point(row["steps"], *(row[metric][key] for key in ("value", "low", "high"))) for row in points]
            for name, points in curves.items()
        }
        for metric in METRICS
    }
    save_curves(panels, path, "sampling steps", log_x=True)
    return path
