"""Checkpoints of small real files, and fits of a toy network that make real ones."""

import os
import resource
import subprocess
import time

import pytest
from lightning.pytorch import Callback

from ldc.training import fit
from ldc.training.callbacks import Checkpoints
from ldc.training.checkpoints import STATE, Manifest, Store
from ldc.training.checkpoints.manifest import contents, entry

MIB = 2**20


def make_checkpoint(store, step, *, shards=0):
    """Commits a checkpoint whose state is one file, or a folder of shards."""
    temporary = store.begin(step)
    names = [f"{STATE}/shard-{number}" for number in range(shards)] or [STATE]
    for name in names:
        (temporary / name).parent.mkdir(exist_ok=True)
        (temporary / name).write_bytes(os.urandom(100))
    files = {str(path.relative_to(temporary)): entry(path) for path in contents(temporary)}
    return store.commit(Manifest(step, 4 * step, 1, 4, sharded=shards > 0, files=files))


@pytest.fixture
def make():
    return make_checkpoint


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture
def damaged():
    """Damages a checkpoint's state in one of the ways that disks and users know."""

    def truncate(path):
        path.write_bytes(path.read_bytes()[:-1])

    def flip(path):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    def damage(folder, how):
        state = folder / STATE
        ways = {
            "truncated": lambda: truncate(state),
            "flipped": lambda: flip(state),
            "no state": state.unlink,
            "no manifest": (folder / "manifest.json").unlink,
            "cut manifest": lambda: truncate_to(folder / "manifest.json", 40),
        }
        ways[how]()
        return folder

    def truncate_to(path, size):
        path.write_bytes(path.read_bytes()[:size])

    return damage


@pytest.fixture
def run(toy_module, toy_data, tmp_path):
    """Runs a fit of four samples a step that saves after every one; returns the result and the positions it saw."""

    def train(folder=tmp_path, *, steps=4, callbacks=(), every=1, **options):
        module = toy_module(("teacher", "target"))
        result = fit(
            module,
            toy_data(steps),
            folder=folder,
            max_steps=steps,
            checkpoint_every_n_steps=every,
            callbacks=callbacks,
            accelerator="cpu",
            progress=False,
            **options,
        )
        return result, module.objective.seen

    return train


class Notes(Callback):
    """Adds text to every checkpoint from a step on: what no look at the tensors can foresee."""

    def __init__(self, size, start=0):
        self.text, self.start = "x" * size, start

    def on_save_checkpoint(self, trainer, _module, checkpoint):
        if trainer.global_step >= self.start:
            checkpoint["notes"] = self.text


class Refuse(Callback):
    """Has the system refuse what rank 0 writes of the checkpoint of one step, which ends before the next step does."""

    def __init__(self, step):
        self.step = step
        self.stopped_at = None

    def on_train_batch_start(self, trainer, *_):
        if trainer.is_global_zero and trainer.global_step in {self.step - 1, self.step}:
            checkpoints = next(callback for callback in trainer.callbacks if isinstance(callback, Checkpoints))
            while checkpoints.saver._background.is_running():
                time.sleep(0.001)
        if trainer.is_global_zero and trainer.global_step == self.step - 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

    def on_exception(self, trainer, *_):
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self.stopped_at = trainer.global_step


@pytest.fixture
def refuse():
    return Refuse


@pytest.fixture
def notes():
    return Notes


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, 8 MiB, whose free space `leave` sets."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True)  # noqa: S603, S607
    yield folder
    subprocess.run(["umount", folder], check=True)  # noqa: S603, S607


@pytest.fixture
def leave(small_disk):
    def fill(free):
        (small_disk / "filler").unlink(missing_ok=True)
        status = os.statvfs(small_disk)
        (small_disk / "filler").write_bytes(bytes(status.f_bavail * status.f_frsize - free))

    return fill
