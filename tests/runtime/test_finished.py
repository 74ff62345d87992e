"""Stages that another run has finished are found by id, and linked."""

from dataclasses import replace

import pytest
from omegaconf import OmegaConf

from ldc import artifacts
from ldc.artifacts import Artifact, find
from ldc.runtime.chain import Stage
from ldc.runtime.finished import finished_elsewhere, link, unshare
from ldc.runtime.run import Run


@pytest.fixture
def made(tmp_path):
    folder = tmp_path / "outputs" / "bksdm" / "one" / "distil"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "weights").write_text("weights")
    (folder / "checkpoints" / "step-00000002").mkdir(parents=True)
    (folder / "checkpoints" / "step-00000002" / "state.ckpt").write_text("state")
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


def test_an_artifact_file_of_another_run_that_cannot_be_read_is_passed_over(made, tmp_path, caplog):
    broken = tmp_path / "outputs" / "bksdm" / "before" / "distil"
    broken.mkdir(parents=True)
    (broken / "artifact.json").write_text('{"schema": 99}')
    assert finished_elsewhere(tmp_path / "outputs", "student", "abc") == made
    assert "before/distil/artifact.json must have schema 1, not 99" in caplog.text


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
    assert not (folder / "checkpoints").exists()
    assert not (folder / "artifact.json").samefile(made.folder / "artifact.json")


def linked(made, tmp_path):
    folder = tmp_path / "outputs" / "lcm" / "two" / "distil"
    folder.mkdir(parents=True)
    return link(made, folder).folder


def test_the_base_of_adapters_is_the_one_in_the_new_run(made, tmp_path):
    folder = tmp_path / "outputs" / "lcm" / "two" / "few_step"
    folder.mkdir(parents=True)
    assert link(replace(made, base=str(made.folder.parent / "prune")), folder).base == str(folder.parent / "prune")
    assert link(replace(made, base="owner/name"), folder).base == "owner/name"


def test_outputs_are_told_to_be_inside_however_the_folder_was_given(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relative = replace(made, outputs={"student": str(made.folder.relative_to(tmp_path) / "unet")})
    folder = tmp_path / "outputs" / "lcm" / "two" / "distil"
    folder.mkdir(parents=True)
    assert link(relative, folder).outputs == {"student": str(folder / "unet")}


def test_a_stage_that_is_made_anew_does_not_write_into_the_run_it_was_linked_from(made, tmp_path):
    folder = linked(made, tmp_path)
    run = Run(OmegaConf.create({}), folder.parent)
    Stage("distil", OmegaConf.create({}), kind=None)._begin("abc", run, folder)
    (folder / "unet" / "weights").write_text("new")
    assert (made.folder / "unet" / "weights").read_text() == "weights"


def test_checkpoints_of_two_names_stay_when_shared_files_go(made):
    (made.folder.parent / "backup").hardlink_to(made.folder / "checkpoints" / "step-00000002" / "state.ckpt")
    (made.folder.parent / "elsewhere").hardlink_to(made.folder / "unet" / "weights")
    unshare(made.folder)
    left = {path.name for path in made.folder.rglob("*") if path.is_file()}
    assert left == {"artifact.json", "state.ckpt"}
