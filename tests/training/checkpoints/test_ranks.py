"""Two ranks that save together: real processes, started as torchrun would start them."""

import multiprocessing
import os
import socket

import pytest

from ldc.training.checkpoints import folders, newest
from ldc.training.checkpoints.manifest import read

pytestmark = pytest.mark.integration


def as_rank(rank, count, port, ends, function):
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "GROUP_RANK": 0}
    names |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
    os.environ.update({name: str(value) for name, value in names.items()})
    try:
        ends.put((rank, function()))
    except (OSError, ValueError) as error:
        ends.put((rank, f"{type(error).__name__}: {error}"))


def on_ranks(count, function):
    """Returns what the function gives on each of some ranks, or the error that it raises there.

    A process group stays with its process, and a fork of it could make no other: even one rank is a process.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    ends = context.Queue()
    processes = [context.Process(target=as_rank, args=(rank, count, port, ends, function)) for rank in range(count)]
    for process in processes:
        process.start()
    found = dict(ends.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(60)
    return [found[rank] for rank in range(count)]


@pytest.mark.parametrize(
    "options", [{"strategy": "ddp"}, {"strategy": "ddp", "async_checkpoints": True}, {"strategy": "fsdp2"}]
)
def test_what_goes_wrong_on_rank_zero_stops_both_ranks_with_the_same_sentence(run, refuse, tmp_path, options):
    ends = on_ranks(2, lambda: run(callbacks=[refuse(4)], devices=2, **options))

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


def test_a_sharded_checkpoint_names_every_ranks_shard_and_is_passed_over_without_one(run, tmp_path):
    on_ranks(2, lambda: run(steps=3, strategy="fsdp2", devices=2)[1])
    manifest = read(newest(tmp_path))
    assert manifest.sharded
    assert set(manifest.files) == {
        f"state.ckpt/{name}" for name in (".metadata", "__0_0.distcp", "__1_0.distcp", "meta.pt")
    }

    (tmp_path / "checkpoints/step-00000003/state.ckpt/__1_0.distcp").unlink()
    ends = on_ranks(2, lambda: run(steps=4, strategy="fsdp2", devices=2)[1])
    assert [len(seen) for seen in ends] == [8, 8]  # positions of two steps: on from the second one
    assert set(folders(tmp_path)) == {3, 4}
    assert newest(tmp_path) == tmp_path / "checkpoints/step-00000004"


def test_ranks_that_find_different_checkpoints_do_not_go_on(run, tmp_path):
    run(steps=2)

    def differently():
        step = 1 + int(os.environ["RANK"])
        return run(resume=tmp_path / f"checkpoints/step-0000000{step}", strategy="ddp", devices=2)

    expected = (
        f"ValueError: all ranks must go on from the same checkpoint, but in {tmp_path / 'checkpoints'} rank 0 found"
        " step-00000001 and rank 1 step-00000002: do all nodes see that folder as it is?"
    )
    assert on_ranks(2, differently) == [expected] * 2


def test_shards_cannot_be_written_beside_the_training(run):
    (end,) = on_ranks(1, lambda: run(strategy="fsdp2", async_checkpoints=True))
    assert end == "ValueError: async_checkpoints must be false for Fsdp2, of which all ranks write, not true."


def test_a_checkpoint_of_the_other_form_is_refused(run, tmp_path):
    run(tmp_path / "file", steps=1)
    on_ranks(1, lambda: run(tmp_path / "shards", steps=1, strategy="fsdp2")[1])

    (end,) = on_ranks(1, lambda: run(tmp_path / "file", steps=2, strategy="fsdp2"))
    assert end.startswith("ValueError: resume must be a checkpoint of shards for this strategy")
    with pytest.raises(ValueError, match=r"resume must be a checkpoint in one file .*, but .* holds shards"):
        run(tmp_path / "shards", steps=2)
