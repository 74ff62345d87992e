"""One's own text in every format, its keys, its damage and its patterns."""

import gzip
import io
import json
import tarfile

import pytest
import zstandard

from ldc.data.text.sources import TextFiles
from ldc.data.text.sources.files import expand


def read(source, cache=None):
    return {document.key: document.text for unit in source.units(cache) for document, _ in unit.read()}


def jsonl(path, texts, key="text"):
    path.write_text("".join(json.dumps({key: text}) + "\n" for text in texts))
    return path


def tar_of(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    content = path.read_bytes()
    path.unlink()
    return content


def test_each_line_of_a_jsonl_is_a_document(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", ["one", "two"], key="body")
    assert read(TextFiles(path, text_key="body")) == {"a.jsonl:1": "one", "a.jsonl:2": "two"}


def test_a_txt_is_cut_at_blank_lines_into_documents_of_about_a_length(tmp_path):
    (tmp_path / "a.txt").write_text("first line\nsecond line\n\nthird\n\nfourth line is longer\n\nlast\n")
    texts = read(TextFiles(tmp_path / "a.txt", chars_per_document=20))
    assert list(texts.values()) == ["first line\nsecond line", "third\n\nfourth line is longer", "last"]


def test_a_txt_without_blank_lines_is_cut_at_lines_ends(tmp_path):
    (tmp_path / "a.txt").write_text("a sentence a line\n" * 9)
    texts = read(TextFiles(tmp_path / "a.txt", chars_per_document=20))
    assert list(texts.values()) == ["a sentence a line\n" * 2 + "a sentence a line"] * 3


def test_samples_of_a_tar_have_text_or_json(tmp_path, write_members):
    members = {
        "b.txt": b"of b",
        "a/c.json": b'{"text": "of c"}',
        "a/c.jpg": b"-",
        "d.json": b'{"text": "x"}',
        "d.txt": b"y",
    }
    path = write_members(tmp_path / "s.tar", members)
    assert read(TextFiles(path)) == {"s.tar:b": "of b", "s.tar:a/c": "of c", "s.tar:d": "y"}


def test_a_json_list_and_compressed_files_are_read(tmp_path):
    (tmp_path / "a.json").write_text('[{"text": "one"}, "two"]')
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"text": "three"}\n'))
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"four"))
    frames = [zstandard.compress(b'{"text": "five"}\n'), zstandard.compress(b'{"text": "six"}\n')]
    (tmp_path / "d.jsonl.zst").write_bytes(b"".join(frames))
    (tmp_path / "e.tar.gz").write_bytes(gzip.compress(tar_of(tmp_path / "e", {"a.txt": b"seven"})))
    texts = read(TextFiles(tmp_path))
    assert list(texts.values()) == ["one", "two", "three", "four", "five", "six", "seven"]
    assert list(texts)[-3:] == ["d.jsonl.zst:1", "d.jsonl.zst:2", "e.tar.gz:a"]


def test_a_remote_tar_is_copied_into_the_cache_and_read(tmp_path):
    (tmp_path / "far").write_bytes(tar_of(tmp_path / "far", {"a.txt": b"one", "b.txt": b"two"}))
    source = TextFiles(f"pipe:cat {tmp_path}/far")
    assert list(read(source, tmp_path / "cache").values()) == ["one", "two"]
    (tmp_path / "far").unlink()
    assert len(read(source, tmp_path / "cache")) == 2


def test_keys_and_units_are_the_same_wherever_the_folder_lies(tmp_path):
    for name in ("here", "there"):
        (tmp_path / name / "deep").mkdir(parents=True)
        jsonl(tmp_path / name / "deep" / "a.jsonl", ["one"])
    here, there = (TextFiles(tmp_path / name) for name in ("here", "there"))
    assert read(here) == read(there) == {"deep/a.jsonl:1": "one"}
    assert [unit.identity for unit in here.units()] == [unit.identity for unit in there.units()]


def test_a_units_identity_follows_the_settings_that_change_its_documents(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", ["one"])
    [one], [two], [three] = (TextFiles(path, **s).units() for s in ({}, {"held_out": 0.2}, {"text_key": "body"}))
    assert len({one.identity, two.identity, three.identity}) == 3


def test_files_of_their_own_are_held_out(tmp_path):
    train, held_out = jsonl(tmp_path / "a.jsonl", list("abcdefghij") * 5), jsonl(tmp_path / "b.jsonl", ["x", "y"])
    units = TextFiles(train, held_out_path=held_out).units()
    splits = {document.text: document.split for unit in units for document, _ in unit.read()}
    assert {text for text, split in splits.items() if split == "held_out"} == {"x", "y"}


def test_a_file_that_is_both_to_train_on_and_held_out_is_refused(tmp_path):
    held_out = jsonl(tmp_path / "b.jsonl", ["x"])
    with pytest.raises(ValueError, match=r"path and held_out_path must share no file, but .*b\.jsonl is in both\."):
        TextFiles(tmp_path, held_out_path=held_out).check()


def test_reading_ends_at_the_units_size(tmp_path):
    jsonl(tmp_path / "a.jsonl", ["one", "two"])
    (tmp_path / "b.txt").write_text("three")
    [unit] = TextFiles(tmp_path).units()
    assert list(unit.read())[-1][1] == unit.size


def test_a_file_that_grows_is_another_unit(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", ["one"])
    [before] = TextFiles(path).units()
    jsonl(path, ["one", "two"])
    [after] = TextFiles(path).units()
    assert before.identity != after.identity


def test_few_damaged_records_are_passed_over_and_more_are_refused(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", ["one", "two", "  "])
    path.write_text(path.read_text() + "{\n")
    assert list(read(TextFiles(path, max_skipped=0.5)).values()) == ["one", "two"]
    with pytest.raises(ValueError, match=r"at most 0\.01, not 0\.25 \(1 of 4: unreadable line 1\)"):
        read(TextFiles(path))


def test_a_wrong_text_key_is_named(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", ["one"], key="body")
    with pytest.raises(ValueError, match="no text under 'text' 1"):
        read(TextFiles(path))


def test_a_cut_tar_gives_what_is_whole(tmp_path, write_members):
    whole = write_members(tmp_path / "s.tar", {f"{number}.txt": b"words " * 400 for number in range(9)}).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2])
    assert 2 < len(read(TextFiles(tmp_path / "cut.tar", max_skipped=0.5))) < 9


def test_patterns_and_lists_name_files(tmp_path):
    for name in ("a1.jsonl", "a2.jsonl", "b.jsonl", "c.dat"):
        jsonl(tmp_path / name, ["x"])
    assert [name for name, _ in expand(f"{tmp_path}/a*")] == ["a1.jsonl", "a2.jsonl"]
    assert [name for name, _ in expand(f"{tmp_path}/{{a2,b}}.jsonl")] == ["a2.jsonl", "b.jsonl"]
    assert [name for name, _ in expand([f"{tmp_path}/b.jsonl", f"{tmp_path}/a1.jsonl"])] == ["b.jsonl", "a1.jsonl"]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("none.txt", r"path must be an existing file, folder or pattern of text, not '.*none\.txt'\."),
        ("empty", r"path must hold \.jsonl, .* files \(.*\), but .*empty has none\."),
        ([], r"path must name at least one file of text, but the list is empty\."),
    ],
)
def test_a_path_without_text_is_refused(tmp_path, path, sentence):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=sentence):
        TextFiles(str(tmp_path / path) if path else path).check()
