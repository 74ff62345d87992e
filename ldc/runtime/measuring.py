"""What `ldc.evaluate` does: one model at one setting, or at every pair of several steps and guidances."""

import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import Tensor

from ldc import evaluation
from ldc.evaluation.curves import Point, save_curves
from ldc.evaluation.pictures import comparison, grid
from ldc.evaluation.tables import markdown_table
from ldc.models.generate import checked_guidance, embed
from ldc.runtime.checks import check_device, check_each, check_number, check_whole, listed, refuse_settings
from ldc.runtime.evaluation import default_steps, evaluation_set, expected_stamp, feature_cache
from ldc.runtime.models import Found
from ldc.runtime.sources import image_source

OF_TEXTS = ("timed", "prompts", "max_new_tokens", "quality", "protocol")
Sampling = dict[str, Any]
log = logging.getLogger(__name__)
SWEEPS = {"guidance_scale": "guidance", "steps": "sampling steps"}
_FIDELITY = {
    "fidelity_top1": "all",
    "fidelity_top1_train": "training cells",
    "fidelity_top1_cell": "held-out cells",
    "fidelity_top1_composition": "held-out compositions",
}
_SHEET_COLUMNS, _SHEET_IMAGES = 8, 64


def check_settings(cfg: DictConfig) -> None:
    """Raises ValueError for a setting outside its range, data that are not there or a device that is missing."""
    check_each(cfg, "steps", partial(check_whole, optional=True))
    check_each(cfg, "guidance", partial(check_number, optional=True))
    check_whole(cfg, "batch_size")
    check_whole(cfg, "num_images", least=4)
    check_whole(cfg, "seed", least=0)
    image_source(cfg.data).check()
    check_device(cfg.device)


def samplings(cfg: DictConfig, found: Found) -> list[Sampling]:
    """Returns {"steps", "guidance_scale"} of every pair of the config's steps and guidances.

    Raises:
        ValueError: a guidance is outside the model's range, a setting is given twice or is one of texts alone, or
            several are to be compared with one measurement.
    """
    refuse_settings(cfg, "evaluate", OF_TEXTS, "no language model")
    steps = [value or default_steps(found.scheduler_config) for value in listed(cfg, "steps")]
    scales = [checked_guidance(found.guidance, value) for value in listed(cfg, "guidance")]
    pairs = [{"steps": one, "guidance_scale": other} for one, other in product(steps, scales)]
    if len({tuple(pair.values()) for pair in pairs}) < len(pairs):
        raise ValueError(f"steps and guidance must be different ones, not {steps} and {scales}.")
    if len(pairs) > 1 and cfg.compare is not None:
        raise ValueError(f"compare must come with one setting of steps and guidance, not {len(pairs)}.")
    return pairs


def measure_each(
    cfg: DictConfig, found: Found, settings: Sequence[Sampling], other: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """Returns each setting with its metrics, stamp, images and captions, on the same prompts and noise.

    Raises:
        ValueError: `other` is a measurement with another stamp.
    """
    real = evaluation_set(cfg.data, cfg.paths.cache)
    if other is not None:
        evaluation.compare(other["stamp"], expected_stamp(real, cfg.num_images, cfg.seed))
    model = found.load(cfg.device)
    text = embed(model, [real.cells[place].caption for place in real.choose(cfg.num_images)])
    shared = {"seed": cfg.seed, "n": cfg.num_images, "batch_size": cfg.batch_size, "text": text}
    rows = []
    for number, sampling in enumerate(settings, start=1):
        scale, steps = sampling["guidance_scale"], sampling["steps"]
        log.info("Measuring setting %d of %d: guidance %g, %d steps.", number, len(settings), scale, steps)
        result = evaluation.evaluate(model, real, **sampling, **shared, cache=feature_cache(cfg.paths.cache))
        metrics = {**evaluation.cost(model, **sampling), **result["metrics"]}
        rows.append({**sampling, **result, "metrics": metrics})
    return rows


def write_one(row: Mapping[str, Any], summary: Mapping[str, Any], out: Path) -> None:
    """Writes metrics.json and samples.png."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_text(json.dumps(summary, indent=2))
    grid(row["images"][:_SHEET_IMAGES]).save(out / "samples.png")
    log.info("Figures: %s", out)


def write_sweep(rows: Sequence[Mapping[str, Any]], out: Path) -> list[dict[str, Any]]:
    """Writes table.json, table.md, samples.png and a plot for each swept setting; returns the table."""
    out.mkdir(parents=True, exist_ok=True)
    table = [{**{name: row[name] for name in SWEEPS}, **row["metrics"]} for row in rows]
    (out / "table.json").write_text(json.dumps({"stamp": rows[0]["stamp"], "table": table}, indent=2))
    (out / "table.md").write_text(markdown_table(table))
    sheet: list[tuple[str, Tensor]] = [
        (f"guidance {row['guidance_scale']:g}, {row['steps']} steps", row["images"][:_SHEET_COLUMNS]) for row in rows
    ]
    comparison(sheet, rows[0]["captions"][:_SHEET_COLUMNS]).save(out / "samples.png")
    for name, other in (("guidance_scale", "steps"), ("steps", "guidance_scale")):
        if len({row[name] for row in table}) > 1:
            _plot(table, name, other, out)
    log.info("Figures: %s", out)
    return table


def _plot(table: Sequence[Mapping[str, Any]], name: str, other: str, out: Path) -> None:
    """Draws KID and caption fidelity over one setting, a curve for each value of the other."""
    values = sorted({row[other] for row in table})
    kid, fidelity = {}, {}
    for value in values:
        rows = [row for row in table if row[other] == value]
        suffix = f", {SWEEPS[other]} {value:g}" if len(values) > 1 else ""
        kid[f"KID{suffix}"] = [Point(row[name], row["kid"]) for row in rows]
        shown = {key: label for key, label in _FIDELITY.items() if key in rows[0]}
        fidelity |= {f"{label}{suffix}": [Point(row[name], row[key]) for row in rows] for key, label in shown.items()}
    path = out / f"{name.removesuffix('_scale')}_sweep.png"
    save_curves({"KID": kid, "caption fidelity top 1": fidelity}, path, SWEEPS[name], log_x=name == "steps")
