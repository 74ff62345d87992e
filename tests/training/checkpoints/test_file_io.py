import tracemalloc

import pytest
import torch

from ldc.training import fit
from ldc.training.checkpoints.file_io import StreamedCheckpointIO

MIB = 2**20


def test_a_checkpoint_is_written_without_a_copy_in_memory(tmp_path):
    checkpoint = {"weights": torch.arange(4 * MIB, dtype=torch.float32)}
    tracemalloc.start()
    try:
        StreamedCheckpointIO().save_checkpoint(checkpoint, tmp_path / "new" / "state.ckpt")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "new" / "state.ckpt").stat().st_size > 16 * MIB
    assert peak < MIB
    assert torch.equal(torch.load(tmp_path / "new" / "state.ckpt")["weights"], checkpoint["weights"])


def test_every_fit_writes_its_checkpoints_so(toy_module, toy_data, tmp_path):
    module = toy_module()
    fit(module, toy_data(1), folder=tmp_path, max_steps=1, accelerator="cpu")
    assert isinstance(module.trainer.strategy.checkpoint_io, StreamedCheckpointIO)


def test_options_of_a_remote_storage_are_refused(tmp_path):
    with pytest.raises(TypeError, match="storage_options must be None for a local file, not 'key'"):
        StreamedCheckpointIO().save_checkpoint({}, tmp_path / "state.ckpt", "key")
