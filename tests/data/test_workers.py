import os
import signal

import pytest
from torch.utils.data import DataLoader, Dataset

from ldc.data.workers import leave_interrupts


class Handlers(Dataset):
    """Says what the reading process does at Ctrl-C and at SLURM's warning."""

    def __len__(self):
        return 2

    def __getitem__(self, number):
        return signal.getsignal(signal.SIGINT) == signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN


class Ended(Dataset):
    """Numbers, read by a process that gets SIGTERM, as from `scancel`, before each."""

    def __len__(self):
        return 3

    def __getitem__(self, number):
        os.kill(os.getpid(), signal.SIGTERM)
        return number


@pytest.fixture
def answered_interrupts():
    """Python's own handler: a shell starts background jobs with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("answered_interrupts")
def test_workers_ignore_the_interrupt_that_the_trainer_handles():
    loader = DataLoader(Handlers(), num_workers=1, worker_init_fn=leave_interrupts, collate_fn=list)
    assert [ignored for batch in loader for ignored in batch] == [True, True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_workers_read_on_when_all_processes_are_told_to_end():
    loader = DataLoader(Ended(), num_workers=1, worker_init_fn=leave_interrupts, collate_fn=list)
    assert [number for batch in loader for number in batch] == [0, 1, 2]
