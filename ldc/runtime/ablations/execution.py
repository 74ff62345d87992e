"""Runs the jobs of an ablation one after the other, in this process, as `ldc.train` would run each."""

import gc
import logging
import shutil
from collections.abc import Sequence

from ldc.runtime.ablations.jobs import Job
from ldc.runtime.chain import begin, chain
from ldc.runtime.life import sign_of_life
from ldc.training import NonFiniteError

log = logging.getLogger(__name__)


def execute(jobs: Sequence[Job], *, fresh: bool = False) -> list[str]:
    """Makes what the jobs lack; returns the names of those whose training did not stay finite.

    Every job is composed before the first one starts, so a wrong setting costs no training.

    Args:
        jobs: in their order; what one has made, the next ones link.
        fresh: folders that hold a job with other settings, or of another teacher, are removed.

    Raises:
        ValueError: a setting or an input of a job is wrong, or its folder holds other settings and `fresh` is false.
    """
    for job in jobs:
        _refuse_or_remove_others(job, fresh=fresh)
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


def _refuse_or_remove_others(job: Job, *, fresh: bool) -> None:
    try:
        for stage in job.stages:
            stage.refuse_other_config(job.run.folder / stage.name, job.ids[stage.name])
    except ValueError:
        if not fresh:
            raise
        log.info("fresh=true: removing %s, which holds other settings.", job.run.folder)
        shutil.rmtree(job.run.folder)


def _train(job: Job) -> None:
    stages = list(chain(job.run.cfg))
    begin(job.run, stages)
    with sign_of_life(job.run.folder):
        for stage in stages:
            job.run.record(stage.name, stage.execute(job.run))
    job.run.summarise()
