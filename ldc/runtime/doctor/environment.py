"""What this machine has: versions that fit, devices, processes a node."""

import tomllib
from importlib.metadata import PackageNotFoundError, requires, version

import torch
from omegaconf import DictConfig
from packaging.requirements import Requirement

from ldc.profiling.machine import GB, available_memory_gb
from ldc.runtime.batching import num_devices
from ldc.runtime.doctor.findings import FAILED, NOTE, OK, WARNING, Finding
from ldc.runtime.paths import CONF
from ldc.runtime.versions import versions

VERSIONS, DEVICES = "versions", "devices"
_GPUS_A_NODE = 16


def check_versions() -> list[Finding]:
    """Returns a failure for each requirement of this package that is missing or of another version."""
    wrong = []
    for line in _requirements():
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            present = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name}{requirement.specifier} is needed, and none is installed")
            continue
        if not requirement.specifier.contains(present, prereleases=True):
            wrong.append(f"{requirement.name}{requirement.specifier} is needed, {present} is installed")
    said = ", ".join(f"{name} {number}" for name, number in versions().items())
    return [Finding(VERSIONS, FAILED, text) for text in wrong] or [Finding(VERSIONS, OK, said)]


def _requirements() -> list[str]:
    """Returns what the package needs, by its metadata; in a checkout that is not installed, by its project file."""
    try:
        return requires("ldc") or []
    except PackageNotFoundError:
        return tomllib.loads((CONF.parent / "pyproject.toml").read_text())["project"]["dependencies"]


def look_for_devices(cfg: DictConfig) -> list[Finding]:
    """Returns what there is, beside what the run asks for: a plan is made elsewhere than it runs."""
    trainer = cfg.trainer
    each = num_devices(trainer.devices, trainer.accelerator)
    memory = available_memory_gb()
    host = "" if memory is None else f", {memory:.1f} GiB of free host memory"
    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    here = ", ".join(f"{gpu.name} ({gpu.total_memory / GB:.0f} GiB)" for gpu in gpus) or "no GPU"
    asked = f"{trainer.accelerator} x {each} on {trainer.num_nodes} nodes"
    found = [Finding(DEVICES, NOTE, f"here: {here}{host}; the run asks for {asked}")]
    if str(trainer.devices) in {"-1", "auto"} and trainer.accelerator != "cpu" and not gpus:
        text = f"trainer.devices={trainer.devices} is all GPUs of a node, taken as one here, where there is none"
        found.append(Finding(DEVICES, WARNING, f"{text}: give their number"))
    if each > _GPUS_A_NODE and trainer.accelerator != "cpu":
        text = f"trainer.devices counts one node's: {each} GPUs are trainer.num_nodes={-(-each // 8)} trainer.devices=8"
        found.append(Finding(DEVICES, NOTE, f"{text} where nodes have eight"))
    return found
