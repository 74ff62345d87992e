"""Runs the jobs of an ablation one after the other, in this process, as `ldc.train` would run each."""

import gc
import logging
from collections.abc import Sequence

from ldc.runtime.ablations.jobs import Job
from ldc.runtime.chain import begin, chain
from ldc.training import NonFiniteError

log = logging.getLogger(__name__)


def execute(jobs: Sequence[Job]) -> list[str]:
    """Makes what the jobs lack; returns the names of those whose training did not stay finite.

    Every job is composed before the first one starts, so a wrong setting costs no training.

    Raises:
        ValueError: a setting or an input of a job is wrong.
    """
    for job in jobs:
        job.ids  # noqa: B018 - composed and resolved here
    failed = []
    for number, job in enumerate(jobs, start=1):
        log.info("Ablation, %d of %d: %s, seed %d", number, len(jobs), job.name, job.seed)
        if job.evaluation() is not None:
            log.info("Finished before, skipped.")
            continue
        try:
            _train(job)
        except NonFiniteError as error:  # one row's loss may not end the others
            log.warning("Row %s with seed %d is left out: %s", job.name, job.seed, error)
            failed.append(f"{job.name}, seed {job.seed}")
        gc.collect()
    return failed


def _train(job: Job) -> None:
    stages = list(chain(job.run.cfg))
    begin(job.run, stages)
    for stage in stages:
        job.run.record(stage.name, stage.execute(job.run))
    job.run.summarise()
