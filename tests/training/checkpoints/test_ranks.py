"""Two ranks that save together: real processes, started as torchrun would start them."""

import multiprocessing
import os
import socket

import pytest

from ldc.training.checkpoints import folders, newest
from ldc.training.checkpoints.manifest import read

pytestmark = pytest.mark.integration


def as_rank(rank, port, ends, function):
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "GROUP_RANK": 0}
    names |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
    os.environ.update({name: str(value) for name, value in names.items()})
    try:
        ends.put((rank, function()))
    except OSError as error:
        ends.put((rank, f"{type(error).__name__}: {error}"))


def on_two_ranks(function):
    """Returns what the function gives on each rank, or the error that it raises there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    ends = context.Queue()
    processes = [context.Process(target=as_rank, args=(rank, port, ends, function)) for rank in (0, 1)]
    for process in processes:
        process.start()
    found = dict(ends.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(60)
    return [found[rank] for rank in (0, 1)]


@pytest.mark.parametrize("options", [{}, {"async_checkpoints": True}])
def test_what_goes_wrong_on_rank_zero_stops_both_ranks_with_the_same_sentence(run, refuse, tmp_path, options):
    ends = on_two_ranks(lambda: run(callbacks=[refuse(4)], strategy="ddp", devices=2, **options))

    assert ends[0].startswith("SaveError: the checkpoint of step 4 must be written to")
    assert ends[1] == ends[0]
    assert list(folders(tmp_path)) == [2, 3]
    assert not list((tmp_path / "checkpoints").glob(".*"))


def test_two_ranks_write_the_same_checkpoints_beside_the_training(run, tmp_path):
    for name in ("sync", "async"):
        run(tmp_path / name, strategy="ddp_fork", devices=2, async_checkpoints=name == "async")

    manifest = read(newest(tmp_path / "sync"))
    assert (manifest.world_size, manifest.batch_size, manifest.samples_seen) == (2, 8, 32)
    assert read(newest(tmp_path / "async")) == manifest
