"""Puts the scripts of a launch into its folder, and hands them to sbatch."""

import logging
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ldc.runtime.launching.jobs import Job
from ldc.runtime.launching.script import script

log = logging.getLogger(__name__)


def write(jobs: Sequence[Job], out: str | None = None) -> dict[str, Path]:
    """Writes each job's script, into its folder or another, and returns their paths by the jobs' names."""
    paths = {}
    for job in jobs:
        text, folder = script(job), Path(out) if out is not None else job.folder
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{job.name}.sbatch"
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
        paths[job.name] = path
    return paths


def submit(jobs: Sequence[Job], scripts: dict[str, Path]) -> dict[str, str]:
    """Submits the scripts, each to wait for its predecessor, and returns the jobs' ids by their names.

    Raises:
        ValueError: there is no sbatch, it refuses a script, where the jobs that were submitted before are named, or a
            job that it waits for fails.
    """
    if shutil.which("sbatch") is None:
        raise ValueError("submit must be false where there is no sbatch: take the scripts to the cluster's login node.")
    ids: dict[str, str] = {}
    for job in jobs:
        words = ["sbatch", "--parsable", *_waits(job, ids), str(scripts[job.name])]
        job.folder.mkdir(parents=True, exist_ok=True)  # sbatch makes no folder for what a job says: the job would fail
        answer = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603
        taken = answer.stdout.strip().partition(";")[0]
        if answer.returncode and taken:  # cluster.options=["--wait"]: sbatch ends as the job does
            raise ValueError(f"Job {taken} must end well, but ended with code {answer.returncode}: see {job.folder}.")
        if answer.returncode:
            said = " ".join(answer.stderr.split()).removesuffix(".")
            before = f"; submitted before it: {', '.join(ids.values())}" if ids else ""
            raise ValueError(f"sbatch must take {scripts[job.name]}, but says {said!r}{before}.")
        ids[job.name] = taken
        log.info("Submitted %s as job %s.", job.name, ids[job.name])
    return ids


def _waits(job: Job, ids: dict[str, str]) -> list[str]:
    """Returns sbatch's options of a job that waits; an array's task waits for the same one of the array before."""
    if job.after is None:
        return []
    success = "aftercorr" if job.is_array else "afterok"
    return [f"--dependency=singleton,{success}:{ids[job.after]}", "--kill-on-invalid-dep=yes"]


def summarise(jobs: Sequence[Job], scripts: dict[str, Path], ids: dict[str, str]) -> list[dict[str, Any]]:
    """Returns what the JSON line says of each job."""
    return [
        {
            "name": job.name,
            "runs": [str(task.run.folder) for task in job.tasks],
            "script": str(scripts[job.name]) if job.name in scripts else None,
            "after": job.after,
            "id": ids.get(job.name),
        }
        for job in jobs
    ]
