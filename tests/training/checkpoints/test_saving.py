"""Fits that save synchronously: what is on the disk, and what a failing save leaves behind."""

import signal

import pytest
import torch
from lightning.pytorch import Callback

from ldc.training import Interrupted
from ldc.training.checkpoints import SaveError, folders, newest
from ldc.training.checkpoints.manifest import read

MIB = 2**20


def test_a_fit_saves_every_n_steps_and_at_the_end_and_keeps_the_last_two(run, tmp_path):
    result, _ = run(steps=5, every=2)

    assert list(folders(tmp_path)) == [4, 5]
    assert result.checkpoint == newest(tmp_path) == tmp_path / "checkpoints" / "step-00000005"


def test_the_manifest_says_where_training_stood(run, tmp_path):
    run(steps=2)

    manifest = read(newest(tmp_path))
    assert (manifest.step, manifest.samples_seen, manifest.world_size, manifest.batch_size) == (2, 8, 1, 4)
    assert not manifest.sharded
    assert torch.load(newest(tmp_path) / "state.ckpt", weights_only=True)["global_step"] == 2


def test_lasting_checkpoints_stay_beside_the_newest(run, tmp_path):
    run(steps=5, keep_checkpoints=1, keep_every_n_steps=2)
    assert list(folders(tmp_path)) == [2, 4, 5]


def test_a_fit_goes_on_from_the_checkpoint_before_a_damaged_one(run, tmp_path, damaged, caplog):
    straight, _ = run(tmp_path / "straight", steps=4)
    run(tmp_path / "fit", steps=3)
    damaged(newest(tmp_path / "fit"), "flipped")
    again, seen = run(tmp_path / "fit", steps=4)

    assert seen == list(range(8, 16))
    assert "step-00000003 is damaged and passed over" in caplog.text
    states = [torch.load(result.checkpoint / "state.ckpt", weights_only=True) for result in (straight, again)]
    assert all(torch.equal(states[0]["state_dict"][name], value) for name, value in states[1]["state_dict"].items())


def test_leftovers_of_a_killed_save_are_removed_when_training_starts(run, tmp_path):
    (tmp_path / "checkpoints" / ".step-00000001.tmp").mkdir(parents=True)
    run(steps=1)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]


def test_leftovers_of_a_fit_that_was_killed_after_its_last_save_are_removed(run, tmp_path):
    run(steps=1)
    (tmp_path / "checkpoints" / ".step-00000000.tmp").mkdir()
    run(steps=1)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]


def test_a_finished_fit_names_the_checkpoint_that_it_was_read_from(run, tmp_path):
    run(steps=2)
    result, seen = run(steps=2)
    assert (result.checkpoint, seen) == (newest(tmp_path), [])


def test_a_finished_fit_names_the_checkpoint_that_was_just_being_replaced_as_it_is_called_again(run, tmp_path):
    run(steps=2)
    newest(tmp_path).rename(tmp_path / "checkpoints" / ".step-00000002.old")
    result, _ = run(steps=2)
    assert result.checkpoint == newest(tmp_path) == tmp_path / "checkpoints" / "step-00000002"


def test_a_write_that_the_system_refuses_ends_the_fit_with_a_sentence_and_the_last_checkpoint_whole(
    run, refuse, tmp_path
):
    with pytest.raises(SaveError) as error:
        run(callbacks=[refuse(3)])

    last = tmp_path / "checkpoints" / "step-00000002"
    assert str(error.value) == (
        f"the checkpoint of step 3 must be written to {tmp_path / 'checkpoints'}, but that failed: File too large;"
        f" the last good one is {last}."
    )
    assert list(folders(tmp_path)) == [1, 2]
    assert not list((tmp_path / "checkpoints").glob(".*"))
    assert newest(tmp_path) == last


def test_a_folder_that_cannot_even_be_looked_at_ends_the_fit_with_what_the_system_says(run, tmp_path):
    folder = tmp_path / "fit"

    class Gone(Callback):
        def on_train_batch_start(self, trainer, *_):
            if trainer.global_step == 2:
                folder.rename(tmp_path / "aside")
                folder.symlink_to("nowhere")

    with pytest.raises(SaveError, match=f"File exists: '{folder}'"):
        run(folder, callbacks=[Gone()])
    assert list(folders(tmp_path / "aside")) == [1, 2]


def test_a_fit_that_could_not_save_goes_on_when_it_can(run, refuse, tmp_path):
    with pytest.raises(SaveError):
        run(callbacks=[refuse(3)])
    _, seen = run()
    assert seen == list(range(8, 16))


def test_a_signal_saves_the_step_once(run, tmp_path):
    class Stop(Callback):
        def on_train_batch_start(self, trainer, *_):
            if trainer.global_step == 1:
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted):
        run(every=100, callbacks=[Stop()])
    assert list(folders(tmp_path)) == [2]


@pytest.mark.tmpfs
def test_a_checkpoint_that_does_not_fit_is_not_begun(run, small_disk, leave):
    run(small_disk, steps=1)

    leave(MIB // 2)
    with pytest.raises(SaveError, match=r"must have room for the checkpoint of step 2, but the disk is full") as error:
        run(small_disk, steps=2)
    assert str(error.value).endswith(f"MB are free); the last good one is {small_disk}/checkpoints/step-00000001.")
    assert [path.name for path in (small_disk / "checkpoints").iterdir()] == ["step-00000001"]
    assert newest(small_disk) is not None


@pytest.mark.tmpfs
@pytest.mark.parametrize("options", [{}, {"async_checkpoints": True}])
def test_a_disk_that_fills_while_a_checkpoint_is_written_leaves_the_last_one(run, small_disk, leave, notes, options):
    leave(2 * MIB)
    with pytest.raises(SaveError, match=r"the checkpoint of step 2, but the disk is full \(No space left on device\)"):
        run(small_disk, steps=2, callbacks=[notes(3 * MIB, start=2)], **options)

    assert [path.name for path in (small_disk / "checkpoints").iterdir()] == ["step-00000001"]
    assert newest(small_disk) is not None
