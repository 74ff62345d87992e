"""`python -m ldc.launch +experiment=NAME cluster=NAME`: SLURM scripts that run `ldc.train`, shown or submitted."""

import logging
import sys
from typing import Any

from omegaconf import DictConfig

from ldc import runtime

log = logging.getLogger(__name__)


@runtime.entry_point("launch")
def main(cfg: DictConfig) -> dict[str, Any]:
    """Writes the jobs' scripts, or submits them too. The summary names scripts, runs and the jobs' ids."""
    from ldc.runtime import launching  # noqa: PLC0415 - a wrong key is answered before the libraries load

    jobs = launching.jobs(cfg, sys.argv[1:])  # every setting and input checked before anything is written
    for job in jobs:
        log.info("%s", launching.script(job))
    scripts = {} if cfg.dry_run else launching.write(jobs, cfg.out)
    ids = launching.submit(jobs, scripts) if cfg.submit and not cfg.dry_run else {}
    return {"dry_run": cfg.dry_run, "submitted": bool(ids), "jobs": launching.summarise(jobs, scripts, ids)}


if __name__ == "__main__":
    main()
