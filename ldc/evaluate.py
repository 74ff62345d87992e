"""`python -m ldc.evaluate student=FOLDER`: measures one model; every figure is stamped."""

import json
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ldc import runtime


@runtime.entry_point("evaluate")
def main(cfg: DictConfig) -> dict[str, Any]:
    """Writes metrics.json and samples.png, and with `compare` the differences to another of the same stamp.

    With several `steps` or guidances: a table, a sheet and a plot over them.
    """
    from ldc.runtime import measuring  # noqa: PLC0415 - a wrong key is answered before the libraries load

    _check(cfg)
    other = _read(cfg.compare)
    runtime.data_source(cfg.data).check()
    runtime.check_device(cfg.device)
    found = runtime.find_model(cfg.student)
    settings = measuring.samplings(cfg, found)
    if cfg.dry_run:
        shown = settings[0] if len(settings) == 1 else {"settings": settings}
        return {"dry_run": True, "student": cfg.student, **shown}
    rows = measuring.measure_each(cfg, found, settings, other)
    out = Path(cfg.out or Path(cfg.paths.outputs) / "evaluate" / Path(cfg.student).name)
    stamp = rows[0]["stamp"]
    if len(rows) > 1:
        table = measuring.write_sweep(rows, out)
        return {"student": cfg.student, "table": table, "stamp": stamp, "out": str(out)}
    metrics = rows[0]["metrics"]
    summary: dict[str, Any] = {"student": cfg.student, **settings[0], "metrics": metrics, "stamp": stamp}
    if other is not None:
        before = other["metrics"]
        summary["difference"] = {name: value - before[name] for name, value in metrics.items() if name in before}
    measuring.write_one(rows[0], summary, out)
    return {**summary, "out": str(out)}


def _check(cfg: DictConfig) -> None:
    runtime.check_each(cfg, "steps", partial(runtime.check_whole, optional=True))
    runtime.check_each(cfg, "guidance", partial(runtime.check_number, optional=True))
    runtime.check_whole(cfg, "batch_size")
    runtime.check_whole(cfg, "num_images", least=4)
    runtime.check_whole(cfg, "seed", least=0)


def _read(path: str | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        content = json.loads(Path(path).read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"compare must be a metrics.json of ldc.evaluate, not {path!r}.") from error
    if not {"metrics", "stamp"} <= content.keys():
        raise ValueError(f"compare must be a metrics.json with metrics and stamp, not {path!r}.")
    return content


if __name__ == "__main__":
    main()
