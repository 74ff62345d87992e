import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
INSTRUCTIONS = [
    line for line in DOCKERFILE.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")
]
TORCH = re.compile(r'"torch(==[\d.*]+)"')


def copied():
    """The files of the project that the Dockerfile copies."""
    words = [line.split()[1:-1] for line in INSTRUCTIONS if line.startswith("COPY") and "--from=" not in line]
    return [word for line in words for word in line if not word.startswith("--")]


def allowed():
    """The files that the ignore file sends to the build."""
    lines = (ROOT / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    return [line.removeprefix("!") for line in lines if line.startswith("!")]


def test_torch_is_pinned_as_in_the_makefile():
    [pin] = TORCH.findall(DOCKERFILE)
    assert [pin] == TORCH.findall((ROOT / "Makefile").read_text())


def test_the_pin_of_torch_takes_what_pyproject_asks_for_and_the_constraints_have():
    [pin] = TORCH.findall(DOCKERFILE)
    [tested] = re.findall(r"^torch==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [asked] = [Requirement(line) for line in project["dependencies"] if Requirement(line).name == "torch"]
    assert tested in SpecifierSet(pin)
    assert tested in asked.specifier


def test_files_that_it_copies_exist():
    assert [name for name in copied() if not (ROOT / name).exists()] == []


def test_files_that_it_copies_and_no_others_are_sent_to_the_build():
    assert set(allowed()) == set(copied())


def test_the_base_is_pinned_by_tag_and_digest():
    [base] = re.findall(r"^ARG BASE_IMAGE=(.*)$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"nvidia/cuda:[\d.]+-base-ubuntu24\.04@sha256:[0-9a-f]{64}", base)


def test_torch_is_installed_before_dependencies_and_these_before_the_project():
    steps = [DOCKERFILE.index(step) for step in ('"torch==', "-r /opt/ldc/requirements.txt", "--no-deps /wheels/")]
    assert steps == sorted(steps)


def test_it_runs_as_a_user_without_rights():
    users = [line.split()[1] for line in INSTRUCTIONS if line.startswith("USER")]
    assert users
    assert "0" not in users
    assert "root" not in users


def test_the_volume_is_the_one_that_the_entrypoint_is_told_of():
    [volume] = re.findall(r'^VOLUME \["(.*)"\]$', DOCKERFILE, re.MULTILINE)
    assert re.findall(r"LDC_VOLUME=(\S+)", DOCKERFILE) == [volume]


def test_its_requirements_are_pyprojects_dependencies():
    [program] = re.findall(r"^RUN python -c '(.*?)'", DOCKERFILE, re.MULTILINE)
    program = program.replace("/pyproject.toml", str(ROOT / "pyproject.toml"))
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
    assert ran.stdout.splitlines() == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
