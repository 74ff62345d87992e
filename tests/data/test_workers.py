import os
import signal

import pytest
from torch.utils.data import DataLoader, Dataset

from ldc.data.workers import leave_interrupts, plain_errors


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


class Failing(Dataset):
    def __init__(self, message):
        self.message = message

    def __len__(self):
        return 1

    def __getitem__(self, number):
        raise ValueError(self.message)


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


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_of_a_reader_keeps_its_words(num_workers):
    loader = DataLoader(Failing("shard-7.tar must stay: it is gone."), num_workers=num_workers)
    with pytest.raises(ValueError, match=r"^shard-7\.tar must stay: it is gone\.$"):
        list(plain_errors(iter(loader)))


def test_an_error_of_several_lines_keeps_its_traceback():
    loader = DataLoader(Failing("one line,\nand another"), num_workers=1)
    with pytest.raises(ValueError, match=r"(?s)Caught ValueError.*one line,\nand another"):
        list(plain_errors(iter(loader)))
