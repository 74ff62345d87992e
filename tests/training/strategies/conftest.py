"""Real processes for tests, forked from the test's own process, so that each starts at once."""

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

# Before deepspeed is imported, in any process.
os.environ["DS_ACCELERATOR"] = "cpu"

SECONDS = 240


def torchrun(work: Callable[[int], Any], num_ranks: int, folder: Path) -> list[Any]:
    """Returns what `work(rank)` returns in each of several processes that torchrun's variables describe."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def child(rank: int) -> None:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(num_ranks)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GROUP_RANK": "0"}
        os.environ |= {"LOCAL_WORLD_SIZE": str(num_ranks), "TORCHELASTIC_RUN_ID": "tests"}
        try:
            torch.save(work(rank), folder / f"result-{rank}.pt")
        except BaseException:  # noqa: BLE001 - the parent shows it
            (folder / f"error-{rank}.txt").write_text(traceback.format_exc())
            os._exit(1)  # without waiting for the other

    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=child, args=(rank,), daemon=True) for rank in range(num_ranks)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(SECONDS)
    alive = [process for process in processes if process.is_alive()]
    for process in alive:
        process.kill()
        process.join()
    errors = [error.read_text() for error in sorted(folder.glob("error-*.txt"))]
    assert not errors, "\n".join(errors)
    assert not alive, f"{len(alive)} of {num_ranks} processes did not end"
    return [torch.load(folder / f"result-{rank}.pt", weights_only=False) for rank in range(num_ranks)]


@pytest.fixture(scope="session", name="torchrun")
def torchrun_fixture() -> Any:
    return torchrun
