"""Every test runs on one thread and offline; tests that lack their machine are skipped, and the last line says so."""

import os
import shutil

# Before any import of the libraries that read them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("WANDB_MODE", "offline")

import pytest
import torch

torch.set_num_threads(1)

NEEDS = {
    "gpu": ("CUDA", lambda _: torch.cuda.is_available()),
    "slurm": ("sbatch on the PATH", lambda _: shutil.which("sbatch") is not None),
    "full_size": ("-m full_size", lambda config: "full_size" in config.option.markexpr),
}
SKIPPED = pytest.StashKey[dict[str, int]]()


def pytest_collection_modifyitems(config, items):
    counts = config.stash.setdefault(SKIPPED, {})
    missing = {marker: need for marker, (need, is_there) in NEEDS.items() if not is_there(config)}
    for item in items:
        for marker, need in missing.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=f"needs {need}"))
                counts[marker] = counts.get(marker, 0) + 1


def pytest_terminal_summary(terminalreporter, config):
    counts = config.stash.get(SKIPPED, {})
    if counts:
        parts = [f"{count} {marker} tests (no {NEEDS[marker][0]})" for marker, count in counts.items()]
        terminalreporter.write_line(f"not run: {', '.join(parts)}")
