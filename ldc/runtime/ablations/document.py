"""Writes an ablation's section of a Markdown document, between markers, with its plot beside the document."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ldc.evaluation.curves import Point, save_curves
from ldc.evaluation.per_image import METRICS
from ldc.runtime.versions import versions

HEADING = "# Measured results\n\n`python -m ldc.ablate` replaces the section of its ablation whenever it runs.\n"
COLUMNS = (
    *("model", "KID", "fidelity top 1", "against", "KID, difference", "fidelity, difference"),
    *("the paper", "by KID", "by fidelity"),
)
NAMES = {"kid": "KID", "fidelity_top1": "caption fidelity top 1"}
_FIGURE, _DIFFERENCE = "{value:.3f} [{low:.3f}, {high:.3f}]", "{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def write_document(cfg: DictConfig, found: Mapping[str, Any], path: Path) -> Path:
    """Replaces the ablation's section of the document, which is begun where it does not exist."""
    name = cfg.ablation.name
    start, end = f"<!-- ablation {name} -->", f"<!-- end of ablation {name} -->"
    picture = _plot(cfg, found, path.with_name(f"ablation_{name}.png"))
    text = path.read_text() if path.is_file() else HEADING
    section = f"{start}\n{_section(cfg, found, picture)}{end}\n"
    before, _, rest = text.partition(start)
    after = rest.partition(f"{end}\n")[2]
    before = before if rest else before.rstrip("\n") + "\n\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(before + section + after)
    return path


def _section(cfg: DictConfig, found: Mapping[str, Any], picture: Path | None) -> str:
    lines = [f"## {cfg.ablation.title}", "", _how(found), ""]
    for table in found["tables"]:
        lines += [f"### {table['title']}", "", *([table["source"], ""] if table["source"] else [])]
        lines += [_line(COLUMNS), "|" + "---|" * len(COLUMNS), *_rows(cfg, found, table), ""]
    if picture is not None:
        lines += [f"![{NAMES['kid']} and {NAMES['fidelity_top1']} over sampling steps]({picture.name})", ""]
    lines += ["Each row is one command (here for the first seed); `python -m ldc.ablate` runs them all:", "", "```sh"]
    lines += [f"{command}  # {name}" for name, command in found["commands"].items()] + ["```", "", ""]
    return "\n".join(lines)


def _how(found: Mapping[str, Any]) -> str:
    seeds = found["seeds"]
    over = (
        f"Means over training seeds {', '.join(map(str, seeds))}"
        if len(seeds) > 1
        else f"One training seed, {seeds[0]}: the intervals do not cover what another training run would give"
    )
    stamp = found["stamps"][0] if found["stamps"] else {}
    about = ", ".join(f"{name} {version}" for name, version in versions().items())
    return (
        f"{over}. In brackets: 95 % intervals, resampled over the {found['num_images']} prompts "
        f"({found['replicates']} replicates) and widened by the seeds' deviation (Student's t). All rows draw the same "
        "prompts from the same noise, so differences are paired; a verdict is yes or no where the difference's "
        "interval leaves out 0, whatever its size. KID (lower is better) over all pairs of different prompts, on "
        f"{stamp.get('extractor', 'no')} features; fidelity: the nearest real drawing of the style shows the prompt's "
        f"concept. Prompts {stamp.get('prompts_hash', '-')}, real images {stamp.get('real_hash', '-')}; {about}."
    )


def _rows(cfg: DictConfig, found: Mapping[str, Any], table: Mapping[str, Any]) -> Iterator[str]:
    labels = _labels(cfg)
    for row in table["rows"]:
        figures = found["rows"].get(row["row"])
        if figures is None:
            yield _line([row["label"], "not measured"])
            continue
        cells = [row["label"], *(_FIGURE.format(**figures[metric]) for metric in METRICS)]
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


def _labels(cfg: DictConfig) -> dict[str, str]:
    """Returns a reader's name of every row that a table names alone, else the row's own."""
    named = [row for table in cfg.ablation.tables for row in table.rows if isinstance(row.row, str)]
    return {row.row: row.label for row in reversed(named)}


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
