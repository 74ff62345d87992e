"""Blocks that are shared out over two processes have the scores of one, to the last bit."""

import pytest
import torch
from torch import distributed, multiprocessing

from ldc.data.text import Calibration
from ldc.pruning.depth import score_blocks

CRITERIA = ("magnitude", "taylor", "perplexity")


def rank_main(rank, folder, model, published):
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.set_num_threads(1)
    found = {name: score_blocks(model, published, name, over_ranks=True) for name in CRITERIA}
    alone = score_blocks(model, published, "magnitude") if rank == 1 else None  # asks no other rank for anything
    other = Calibration(published.ids, f"of rank {rank}")
    with pytest.raises(ValueError, match="calibration must be the same on all ranks, not of rank 0 and of rank 1"):
        score_blocks(model, other, "perplexity", over_ranks=True)
    torch.save((found, alone), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.integration
def test_two_ranks_give_the_scores_of_one_process(tmp_path, tiny_llama, published):
    model = tiny_llama()
    multiprocessing.start_processes(rank_main, (str(tmp_path), model, published), nprocs=2, start_method="fork")
    alone = {name: score_blocks(model, published, name) for name in CRITERIA}
    for rank in range(2):
        found, _ = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        assert found == alone
