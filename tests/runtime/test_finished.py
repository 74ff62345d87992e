"""Stages that another run has finished are found by id, and linked."""

import pytest

from ldc import artifacts
from ldc.artifacts import Artifact, find
from ldc.runtime.finished import finished_elsewhere, link


@pytest.fixture
def made(tmp_path):
    folder = tmp_path / "outputs" / "bksdm" / "one" / "distil"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "weights").write_text("weights")
    (folder / "last.ckpt").write_text("state")
    (tmp_path / "cache").mkdir()
    outputs = {"student": str(folder / "unet"), "encoded": str(tmp_path / "cache")}
    return artifacts.publish(Artifact(folder, "student", "abc", ["def"], metrics={"steps": 3}, outputs=outputs))


def test_an_artifact_of_the_same_id_is_found_in_any_run(made, tmp_path):
    assert finished_elsewhere(tmp_path / "outputs", "student", "abc") == made
    assert finished_elsewhere(tmp_path / "outputs", "student", "abd") is None
    assert finished_elsewhere(tmp_path / "nowhere", "student", "abc") is None


def test_an_artifact_whose_outputs_are_gone_is_not_taken(made, tmp_path):
    (tmp_path / "cache").rmdir()
    assert finished_elsewhere(tmp_path / "outputs", "student", "abc") is None


def test_an_evaluation_is_made_for_its_own_run(made, tmp_path):
    assert finished_elsewhere(tmp_path / "outputs", "evaluation", "abc") is None


def test_files_are_linked_and_the_artifact_names_its_new_place(made, tmp_path):
    folder = tmp_path / "outputs" / "lcm" / "two" / "distil"
    folder.mkdir(parents=True)
    taken = link(made, folder)
    assert find(folder) == taken
    assert (folder / "unet" / "weights").samefile(made.folder / "unet" / "weights")
    assert taken.outputs == {"student": str(folder / "unet"), "encoded": str(tmp_path / "cache")}
    assert (taken.id, taken.metrics) == ("abc", {"steps": 3})
    assert not (folder / "last.ckpt").exists()
    assert not (folder / "artifact.json").samefile(made.folder / "artifact.json")
