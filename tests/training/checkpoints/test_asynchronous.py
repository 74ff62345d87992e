"""Fits whose checkpoints are written beside the training."""

import pytest
import torch
from lightning.pytorch import Callback

from ldc.training.callbacks import Checkpoints
from ldc.training.checkpoints import SaveError, folders, newest
from ldc.training.checkpoints.file_io import on_host


def test_checkpoints_that_are_written_beside_the_training_are_bit_for_bit_the_others(run, tmp_path):
    run(tmp_path / "sync", steps=5, keep_checkpoints=5)
    run(tmp_path / "async", steps=5, keep_checkpoints=5, async_checkpoints=True)

    made = [folders(tmp_path / name) for name in ("sync", "async")]
    assert list(made[0]) == list(made[1]) == [1, 2, 3, 4, 5]
    for step, folder in made[0].items():
        for name in ("state.ckpt", "manifest.json"):
            assert (folder / name).read_bytes() == (made[1][step] / name).read_bytes(), (step, name)


def test_an_error_stops_the_fit_at_the_end_of_the_next_step(run, refuse, tmp_path):
    refusal = refuse(2)
    with pytest.raises(SaveError, match="the checkpoint of step 2 must be written to"):
        run(steps=6, callbacks=[refusal], async_checkpoints=True)

    assert refusal.stopped_at == 3
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]


def test_an_error_of_the_last_checkpoint_is_raised_at_the_end_of_the_fit(run, refuse, tmp_path):
    with pytest.raises(SaveError, match="the checkpoint of step 3 must be written to"):
        run(steps=3, callbacks=[refuse(3)], async_checkpoints=True)
    assert list(folders(tmp_path)) == [1, 2]


def test_a_fit_that_fails_ends_with_its_last_checkpoint_on_the_disk(run, tmp_path):
    class Fail(Callback):
        def on_train_batch_start(self, trainer, *_):
            if trainer.global_step == 2:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(steps=3, callbacks=[Fail()], async_checkpoints=True)
    assert newest(tmp_path) == tmp_path / "checkpoints" / "step-00000002"


def test_a_save_now_waits_for_the_one_that_is_being_written(run, tmp_path):
    found = []

    class Now(Callback):
        def on_train_batch_start(self, trainer, *_):
            if trainer.global_step == 2:
                next(callback for callback in trainer.callbacks if isinstance(callback, Checkpoints)).save_now(trainer)
                found.append(newest(tmp_path))

    run(steps=3, callbacks=[Now()], async_checkpoints=True)
    assert found == [tmp_path / "checkpoints" / "step-00000002"]


def test_the_copy_does_not_change_with_what_it_was_taken_of():
    weights = torch.arange(4.0)
    state = {"weights": weights, "same memory": weights[1:], "list": [1, 2]}
    copy = on_host(state)
    weights.zero_()
    state["list"].append(3)

    assert torch.equal(copy["weights"], torch.arange(4.0))
    assert copy["same memory"].untyped_storage().data_ptr() == copy["weights"].untyped_storage().data_ptr()
    assert copy["list"] == [1, 2]
