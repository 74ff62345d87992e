"""Writes a job as the script that sbatch takes. Every word of the user's reaches `ldc.train` as it was typed."""

import re
import shlex
from collections.abc import Iterator, Sequence

from ldc.runtime.launching.jobs import Job, Task

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
REQUEUE_FILE = "LDC_REQUEUE_FILE"


def script(job: Job) -> str:
    """Returns the script's text.

    Raises:
        ValueError: an option of sbatch holds a line break.
    """
    lines = ["#!/usr/bin/env bash", "# Made by python -m ldc.launch: to change it, make it anew."]
    lines.append("# shellcheck disable=SC2016  # nothing in ldc.train's words is for bash to expand")
    lines += [f"#SBATCH {_option(option)}" for option in _options(job)]
    lines += ["", "set -eo pipefail", *_environment(job), "", *_command(job)]
    if job.is_array:
        lines += ["", *_choice(job.tasks)]
    return "\n".join([*lines, "", *_run(job), ""])


def workdir(job: Job) -> str:
    """Returns the folder in which the job runs, by which relative paths go."""
    return str(job.cluster.folder)


def quoted(word: str) -> str:
    """Returns a word as bash reads it back; control characters, which sbatch may refuse in a script, are escaped."""
    if not _CONTROL.search(word):
        return shlex.quote(word)
    plain = word.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _CONTROL.sub(lambda match: f"\\{ord(match[0]):03o}", plain) + "'"


def _options(job: Job) -> list[str]:
    name = "%A_%a" if job.is_array else "%j"
    output = str(job.folder / job.name).replace("%", "%%")
    # singleton: jobs of one name, as two launches of a run have, never run at once and write into its folder together.
    options = [f"--job-name={job.slurm_name}", "--dependency=singleton", *_comment(job), *job.cluster.sbatch_options()]
    options += [f"--chdir={workdir(job)}", f"--output={output}-{name}.out"]
    if job.is_array:
        limit = "" if job.cluster.array_limit is None else f"%{job.cluster.array_limit}"
        options.append(f"--array=0-{len(job.tasks) - 1}{limit}")
    return options


def _comment(job: Job) -> list[str]:
    return [] if job.stage is None else [f"--comment=stage={job.stage}"]


def _option(option: str) -> str:
    if _CONTROL.search(option):
        raise ValueError(f"An option of sbatch must be one line, not {option!r}.")
    return shlex.quote(option)


_OF_A_GROUP = "MASTER_ADDR MASTER_PORT WORLD_SIZE RANK LOCAL_RANK NODE_RANK GROUP_RANK TORCHELASTIC_RUN_ID"


def _environment(job: Job) -> Iterator[str]:
    # sbatch hands on all variables: those of a group that the submitting process is in would be taken for this job's.
    yield f"unset {_OF_A_GROUP}"
    for name, value in job.cluster.variables.items():
        yield f"export {name}={quoted(value)}"
    yield from job.cluster.setup


def _command(job: Job) -> list[str]:
    prefix = job.cluster.image.prefix(workdir(job), has_gpu=job.cluster.gpus_per_node > 0)
    words = [*job.words.settings, *([] if job.is_array else job.tasks[0].words), *job.cluster.words]
    if job.stage is not None:
        words.append(f"stage={job.stage}")
    start = " ".join(map(quoted, [*prefix, job.cluster.python, "-m", "ldc.train", *job.words.flags]))
    return ["command=(", f"  {start}", *(f"  {quoted(word)}" for word in words), ")"]


def _run(job: Job) -> list[str]:
    """Returns the lines that run the command; a container has no scontrol, so there a file asks for requeueing."""
    run = f'{job.cluster.srun(workdir(job))} "${{command[@]}}"'
    if job.cluster.image.kind == "none":
        return [run]
    # By its own number alone, one task of an array would have all of them queued again.
    number = '"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"' if job.is_array else '"$SLURM_JOB_ID"'
    marker = quoted(f"{job.folder}/requeue-") + number
    return [
        f"export {REQUEUE_FILE}={marker}",
        f'rm -f "${REQUEUE_FILE}"',
        "status=0",
        f"{run} || status=$?",
        f'if [ -e "${REQUEUE_FILE}" ]; then',
        f'  rm "${REQUEUE_FILE}"',
        f"  scontrol requeue {number}",
        "fi",
        'exit "$status"',
    ]


def _choice(tasks: Sequence[Task]) -> Iterator[str]:
    yield 'case "$SLURM_ARRAY_TASK_ID" in'
    for number, task in enumerate(tasks):
        yield f"  {number}) command+=({' '.join(map(quoted, task.words))}) ;;"
    yield "esac"
