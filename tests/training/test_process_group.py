"""Ranks that nothing has joined yet find each other, work together, and part again."""

import os
import socket

import pytest
import torch
from torch import distributed

from ldc.training.process_group import joined
from tests.training.strategies.conftest import torchrun

pytestmark = pytest.mark.integration


def summed(name, rank):
    """What all ranks' numbers add up to, in a group of its own."""
    with joined(name) as ranks:
        total = torch.tensor(rank + 1)
        distributed.all_reduce(total)
        return ranks, total.item()


def test_ranks_of_torchrun_meet_again_and_again_and_a_fit_can_follow(tmp_path):
    def work(rank):
        found = [summed(name, rank) for name in ("one", "two")]
        left = distributed.is_initialized()
        distributed.init_process_group("gloo")  # as Lightning does
        return found, left, summed("three", rank)

    assert torchrun(work, 2, tmp_path) == [([(2, 3), (2, 3)], False, (2, 3))] * 2


def test_tasks_of_srun_meet_again_and_again(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        job = 10_000 + free.getsockname()[1] % 10_000  # the port is made of its last four digits

    def work(rank):
        for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID"):
            del os.environ[name]
        os.environ |= {
            "SLURM_PROCID": str(rank),
            "SLURM_LOCALID": str(rank),
            "SLURM_NTASKS": "2",
            "SLURM_NTASKS_PER_NODE": "2",
        }
        os.environ |= {"SLURM_JOB_ID": str(job), "SLURM_JOB_NAME": "scores", "SLURM_NODELIST": "127.0.0.1"}
        return [summed(name, rank) for name in ("one", "two")]

    assert torchrun(work, 2, tmp_path) == [[(2, 3), (2, 3)]] * 2


def test_a_group_that_is_there_serves_and_stays(tmp_path):
    def work(rank):
        distributed.init_process_group("gloo")
        return summed("one", rank), distributed.is_initialized()

    assert torchrun(work, 2, tmp_path) == [((2, 3), True)] * 2


def test_one_process_alone_needs_no_group():
    with joined("alone") as ranks:
        assert ranks == 1
        assert not distributed.is_initialized()
