"""The seven zero-shot tasks of Shortened LLaMA by lm-evaluation-harness, which is an optional package.

Their questions come from the Hugging Face hub. Where the package or the hub is not there, `zero_shot` says so in one
sentence, and `NOT_RUN` stands in the table: no figure is made up.
"""

import importlib
import importlib.util
import logging
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)

NOT_RUN = "not run"
TASKS = {  # task: metric, as published (Kim et al. 2024, at the harness' commit 3326c54)
    "boolq": "acc",
    "piqa": "acc",
    "hellaswag": "acc_norm",
    "winogrande": "acc",
    "arc_easy": "acc",
    "arc_challenge": "acc_norm",
    "openbookqa": "acc_norm",
}
AVERAGE = "average"


def is_installed() -> bool:
    """Tells whether lm-evaluation-harness is there."""
    return importlib.util.find_spec("lm_eval") is not None


def zero_shot(
    model: Any,
    tokenizer: Any,
    *,
    tasks: Mapping[str, str] = TASKS,
    batch_size: int = 8,
    limit: int | None = None,
) -> dict[str, float]:
    """Returns {task: its metric} without examples in the prompt, and "average", the plain mean over the tasks.

    Args:
        model: of transformers, on its device.
        tokenizer: of transformers.
        tasks: the harness' names with the metric that is read of each.
        batch_size: sequences of one pass.
        limit: questions of each task; None: all, as published.

    Raises:
        ValueError: the package is not installed, or the tasks' data cannot be read.
    """
    if not is_installed():
        raise ValueError('harness must have lm-evaluation-harness installed: pip install "ldc[harness]", or lm-eval.')
    lm_eval = importlib.import_module("lm_eval")  # optional: not there for type checkers
    models = importlib.import_module("lm_eval.models.huggingface")
    device = str(next(model.parameters()).device)
    wrapped = models.HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, device=device)
    try:
        found: Any = lm_eval.simple_evaluate(
            wrapped, tasks=list(tasks), num_fewshot=0, limit=limit, log_samples=False, bootstrap_iters=0
        )
    except (OSError, ValueError, RuntimeError) as error:  # what the hub's and the data sets' libraries raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"harness must reach the data of {', '.join(tasks)}: {reason}") from error
    figures = {task: float(found["results"][task][f"{metric},none"]) for task, metric in tasks.items()}
    return {**figures, AVERAGE: sum(figures.values()) / len(figures)}


def zero_shot_or_not(model: Any, tokenizer: Any, **settings: Any) -> dict[str, float | str]:
    """Returns what `zero_shot` does, or `NOT_RUN` for each figure with a warning that says why."""
    try:
        return {**zero_shot(model, tokenizer, **settings)}
    except ValueError as error:
        log.warning("%s The zero-shot tasks are not run.", error)
        return dict.fromkeys([*settings.get("tasks", TASKS), AVERAGE], NOT_RUN)
