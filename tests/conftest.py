"""Every test runs on one thread and offline; tests that lack their machine are skipped, and the last line says so."""

import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
import zlib
from collections import Counter

# Before any import of the libraries that read them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("WANDB_MODE", "offline")

import pytest
import torch

torch.set_num_threads(1)


def can_mount():
    """Tells whether a file system can be mounted here, by doing it."""
    if shutil.which("mount") is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        commands = ["mount", "-t", "tmpfs", "tmpfs", folder], ["umount", folder]
        return all(subprocess.run(c, capture_output=True, check=False).returncode == 0 for c in commands)  # noqa: S603


def has_slurm():
    """Tells whether a SLURM controller answers whose only node is this machine: jobs of tests go nowhere else."""
    if shutil.which("sinfo") is None:
        return False
    answer = subprocess.run(["sinfo", "-h", "-N", "-o", "%N"], capture_output=True, text=True, check=False)  # noqa: S607
    return answer.returncode == 0 and set(answer.stdout.split()) == {platform.node().partition(".")[0]}


NEEDS = {
    "gpu": ("CUDA", lambda _: torch.cuda.is_available()),
    "slurm": ("SLURM controller of this machine alone: .ci/slurm starts one", lambda _: has_slurm()),
    "tmpfs": ("right to mount", lambda _: can_mount()),
    "kills": ("-m kills", lambda config: "kills" in config.option.markexpr),
    "full_size": ("-m full_size", lambda config: "full_size" in config.option.markexpr),
}


def pytest_collection_modifyitems(config, items):
    missing = {marker: need for marker, (need, is_there) in NEEDS.items() if not is_there(config)}
    for item in items:
        for marker, need in missing.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=f"{marker}: no {need}"))


def pytest_terminal_summary(terminalreporter):
    """Says in one line what was not run and why: from the reports, which other processes' tests send here too."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", [])
    )
    if reasons:
        terminalreporter.write_line("not run: " + "; ".join(f"{count} {reason}" for reason, count in reasons.items()))


@pytest.fixture
def wandb_summary():
    """`wandb_summary(run_folder)`: what an offline W&B run there, which has ended, would upload as its summary."""

    def read(run_folder):
        end = time.monotonic() + 60
        while True:  # a process of W&B's writes the file, perhaps after `finish` has come back
            [path] = run_folder.glob("wandb/offline-run-*/run-*.wandb")
            records = list(wandb_records(path.read_bytes()))
            if any(record.HasField("exit") for record in records):
                break
            assert time.monotonic() < end
            time.sleep(0.05)
        updates = [item for record in records for item in record.summary.update]
        summary = {tuple(item.nested_key) or (item.key,): json.loads(item.value_json) for item in updates}
        return {key[0]: value for key, value in summary.items() if len(key) == 1}

    return read


def wandb_records(content):
    """Yields the whole records of a LevelDB log of blocks of 32 KiB, behind a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record  # noqa: PLC0415 - few tests need it

    at, parts = 7, []
    while at + 7 <= len(content):
        if (left := 32768 - at % 32768) < 7:  # what is left of a block is filled up
            at += left
            continue
        size, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        if at + 7 + size > len(content):
            return
        parts.append(content[at + 7 : at + 7 + size])
        at += 7 + size
        if kind in {1, 4}:  # a whole record, or the last part of one
            yield Record.FromString(b"".join(parts))
            parts = []


@pytest.fixture
def fake_slurm(tmp_path, monkeypatch):
    """`fake_slurm(scontrol="exit 0")`: this process as job 7, with shell scripts for SLURM's programs: fakes.

    It returns a function that gives how they have been called so far.
    """
    folder = tmp_path / "fake-slurm"
    folder.mkdir()
    calls = folder / "calls"

    def install(**programs):
        for name, does in programs.items():
            path = folder / name
            path.write_text(f'#!/bin/sh\necho "{name} $*" >> {calls}\n{does}\n')
            path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_JOB_END_TIME"):
            monkeypatch.delenv(name, raising=False)
        return lambda: calls.read_text().splitlines() if calls.exists() else []

    return install


@pytest.fixture
def tiny_llama():
    """`tiny_llama(num_key_value_heads=2, ...)`: a LlamaForCausalLM of 10 blocks, its weights a function of their names.

    With 4 or 2 key-value heads and nothing else changed it is the model whose block scores the official scripts gave.
    """
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415 - costs seconds

    def build(**changes):
        settings = {
            "hidden_size": 64,
            "intermediate_size": 172,
            "num_hidden_layers": 10,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "vocab_size": 256,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": False,
        }
        model = LlamaForCausalLM(LlamaConfig(**settings | changes)).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(named_values(name, parameter.shape))
        return model

    return build


def named_values(name, shape):
    """Returns the values of the parameter called so: norms about 1, the later blocks of ten scaled unequally."""
    draws = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if len(shape) == 1:
        return 1 + 0.1 * draws
    if "embed_tokens" in name:
        return draws
    block = re.search(r"layers\.(\d+)\.", name)
    return draws / shape[1] ** 0.5 * (0.3 + 0.07 * (7 * int(block[1]) % 10) if block else 1)
