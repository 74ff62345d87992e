"""`python -m ldc.profile benchmark=NAME`: measures training steps, the data path, or what a machine makes of them."""

import json
import logging
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from ldc import runtime

log = logging.getLogger(__name__)


@runtime.entry_point("profile")
def main(cfg: DictConfig) -> dict[str, Any]:
    """Writes benchmark.json; the summary holds the figures, the settings and the machine."""
    from ldc.evaluation.tables import markdown_table  # noqa: PLC0415 - a wrong key is answered before libraries load
    from ldc.profiling import machine  # noqa: PLC0415

    runtime.check_whole(cfg, "seed", least=0)
    benchmark = instantiate(cfg.benchmark, _recursive_=False)
    benchmark.check(dry_run=cfg.dry_run)
    summary: dict[str, Any] = {"benchmark": benchmark.name, "machine": machine()}
    if cfg.dry_run:
        return {"dry_run": True, **summary, **benchmark.describe()}
    folder = Path(cfg.out or Path(cfg.paths.outputs) / "profile" / benchmark.name)
    summary |= benchmark.run(folder)
    log.info("%s", markdown_table(summary["rows"]))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmark.json").write_text(json.dumps(summary, indent=2))
    return {**summary, "out": str(folder)}


if __name__ == "__main__":
    main()
