import os

import pytest
import torch
from safetensors.torch import save_file

from ldc.artifacts import Artifact, publish
from ldc.data.cache import make_once
from ldc.data.manifest import write_json
from ldc.permissions import share_weights


@pytest.fixture(params=[0o022, 0o002, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def weights(folder):
    folder.mkdir(exist_ok=True)
    save_file({"weight": torch.zeros(1)}, folder / "model.safetensors")
    return folder / "model.safetensors"


def mode(path):
    return path.stat().st_mode & 0o777


def test_published_weights_have_the_mode_of_other_files(umask, tmp_path):
    path = weights(tmp_path / "stage")
    assert mode(path) == 0o600  # once this fails, safetensors has mended its issue 782, and `share_weights` may go
    published = publish(Artifact(folder=path.parent, kind="student", id="0"))
    assert mode(path) == mode(published.folder / "artifact.json") == 0o666 & ~umask


def test_a_cached_folder_and_its_files_have_the_mode_of_others(umask, tmp_path):
    def build(folder):
        weights(folder)
        write_json(folder / "manifest.json", {})

    folder = tmp_path / "made"
    make_once(folder, build)
    assert mode(folder) == 0o777 & ~umask
    assert {mode(path) for path in folder.iterdir()} == {0o666 & ~umask}


def test_weights_that_are_linked_keep_their_owner_s_mode(umask, tmp_path):
    own = weights(tmp_path / "teacher")
    student = tmp_path / "student"
    student.mkdir()
    (student / "model.safetensors").hardlink_to(own)
    (student / "other.safetensors").symlink_to(weights(tmp_path / "other"))
    share_weights(student)
    assert mode(own) == mode(tmp_path / "other" / "model.safetensors") == 0o600
