from pathlib import Path

import pytest

from ldc.runtime import ASSETS
from ldc.runtime.figures_folder import figures_folder


@pytest.fixture
def outputs(tmp_path):
    for run in ("lora/tiny/prune", "severe/tiny/prune"):
        (tmp_path / "outputs" / run).mkdir(parents=True)
    return tmp_path / "outputs"


def test_stages_of_one_name_in_two_runs_have_folders_of_their_own_that_say_whose_they_are(outputs):
    found = [figures_folder(str(outputs / run), str(outputs)) for run in ("lora/tiny/prune", "severe/tiny/prune")]
    assert found == [outputs / "evaluate" / "lora/tiny/prune", outputs / "evaluate" / "severe/tiny/prune"]


def test_a_run_as_seen_from_the_working_folder_has_the_same_place(outputs, monkeypatch):
    monkeypatch.chdir(outputs.parent)
    assert figures_folder("outputs/lora/tiny", "outputs") == Path("outputs/evaluate/lora/tiny")


def test_folders_of_one_name_elsewhere_have_folders_of_their_own(outputs, tmp_path):
    for place in ("a", "b"):
        (tmp_path / place / "student").mkdir(parents=True)
    first, second = (figures_folder(str(tmp_path / place / "student"), str(outputs)) for place in ("a", "b"))
    assert first != second
    assert first.parent == second.parent == outputs / "evaluate"
    assert first.name.startswith("student-")
    assert figures_folder(str(tmp_path / "b" / ".." / "a" / "student"), str(outputs)) == first


def test_a_run_elsewhere_is_told_by_its_experiment(outputs, tmp_path):
    run = tmp_path / "elsewhere" / "lora" / "tiny"
    (run / "prune").mkdir(parents=True)
    (run / "config.yaml").touch()
    names = [figures_folder(str(folder), str(outputs)).name.rpartition("-")[0] for folder in (run, run / "prune")]
    assert names == ["lora-tiny", "lora-tiny-prune"]


def test_a_teachers_config_and_a_hub_id_have_their_names(outputs):
    names = {"emoji_ldm": "emoji_ldm", str(ASSETS / "emoji_ldm"): "emoji_ldm", "org/model": "org--model"}
    assert {name: figures_folder(name, str(outputs)).name for name in names} == names


def test_the_users_own_folder_is_taken(outputs):
    assert figures_folder("emoji_ldm", str(outputs), "here") == Path("here")
