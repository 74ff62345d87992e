"""`python -m ldc.evaluate student=FOLDER`: measures one model; every figure is stamped."""

import logging
from typing import Any

from omegaconf import DictConfig

from ldc import runtime

log = logging.getLogger(__name__)


@runtime.entry_point("evaluate")
def main(cfg: DictConfig) -> dict[str, Any]:
    """Writes metrics.json and samples.png, and with `compare` the differences to another of the same stamp.

    With several `steps` or guidances: a table, a sheet and a plot over them. Of a language model samples.txt.
    """
    language_model = runtime.find_language_model(cfg.student)
    if language_model is not None:
        from ldc.runtime.language_measuring import evaluate_language  # noqa: PLC0415 - see below

        return evaluate_language(cfg, language_model)
    from ldc.runtime import comparison, measuring  # noqa: PLC0415 - a wrong key is answered before the libraries load

    measuring.check_settings(cfg)
    other = comparison.read_measurement(cfg.compare)
    found = runtime.find_model(cfg.student)
    settings = measuring.samplings(cfg, found)
    if cfg.dry_run:
        shown = settings[0] if len(settings) == 1 else {"settings": settings}
        return {"dry_run": True, "student": cfg.student, **shown}
    if other is not None:
        comparison.tell_sampling(settings[0], other)
    rows = measuring.measure_each(cfg, found, settings, other)
    out = runtime.figures_folder(cfg.student, cfg.paths.outputs, cfg.out)
    stamp = rows[0]["stamp"]
    if len(rows) > 1:
        table = measuring.write_sweep(rows, out)
        return {"student": cfg.student, "table": table, "stamp": stamp, "out": str(out)}
    metrics = rows[0]["metrics"]
    summary: dict[str, Any] = {"student": cfg.student, **settings[0], "metrics": metrics, "stamp": stamp}
    if other is not None:
        summary |= comparison.differences(metrics, other)
        log.info("\n%s", comparison.comparison_table(cfg.student, metrics, other, settings[0]))
    measuring.write_one(rows[0], summary, out)
    return {**summary, "out": str(out)}


if __name__ == "__main__":
    main()
