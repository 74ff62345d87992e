"""Text becomes files of token ids once, whole, with EOS behind each document; an interrupted call goes on."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ldc.data.text.packing import encode_texts, tokenizer_fingerprint
from ldc.data.text.sources import Mixture, PydocTopics, TextFiles
from ldc.data.text.tokens import PackedTokens, TokenStream


@pytest.fixture
def source(tmp_path, write_texts):
    return TextFiles(write_texts(tmp_path / "a.jsonl", 50), held_out=0.2)


def pack(source, tokenizer, folder):
    return encode_texts(source, tokenizer, folder, progress=False)


def tokens(packed, split, part=None):
    stream = packed.stream(split, part)
    return stream.read(0, len(stream)).tolist()


def test_documents_stand_one_behind_the_other_with_eos_between(source, tiny_tokenizer, tmp_path):
    packed = pack(source, tiny_tokenizer, tmp_path / "out")
    documents = [document for unit in source.units() for document, _ in unit.read()]
    for split in ("train", "held_out"):
        texts = [document.text for document in documents if document.split == split]
        expected = [tiny_tokenizer(text, add_special_tokens=False)["input_ids"] + [2] for text in texts]
        assert tokens(packed, split) == sum(expected, [])  # noqa: RUF017 - few
        assert packed.manifest[split] == {"documents": len(texts), "tokens": sum(map(len, expected))}


def test_a_second_call_finds_the_work_done(source, tiny_tokenizer, tmp_path):
    first = pack(source, tiny_tokenizer, tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    again = pack(source, tiny_tokenizer, tmp_path / "out")
    assert again.folder == first.folder
    assert {path: path.stat().st_mtime_ns for path in again.folder.iterdir()} == times


def test_another_text_split_or_tokenizer_is_packed_apart(source, make_tokenizer, tmp_path, write_texts):
    tokenizer = make_tokenizer()
    other = TextFiles(write_texts(tmp_path / "b.jsonl", 51), held_out=0.2)
    calls = [(source, tokenizer), (other, tokenizer), (replace(source, held_out=0.3), tokenizer)]
    calls.append((source, make_tokenizer(["another word"])))
    assert len({pack(*call, tmp_path / "out").folder for call in calls}) == 4


def test_what_was_asked_of_a_tokenizer_before_does_not_change_its_fingerprint(make_tokenizer):
    tokenizer = make_tokenizer(pad="</s>")
    before = tokenizer_fingerprint(tokenizer)
    tokenizer(["a", "a b"], padding=True, truncation=True, max_length=1)
    assert tokenizer_fingerprint(tokenizer) == before
    assert tokenizer_fingerprint(make_tokenizer(eos="<unk>")) != before


def test_an_interrupted_call_goes_on_with_the_first_unit_that_is_missing(tiny_tokenizer, tmp_path, write_texts):
    parts = {
        name: TextFiles(write_texts(tmp_path / f"{name}.jsonl", number)) for name, number in (("x", 30), ("y", 40))
    }
    whole = pack(Mixture(parts), tiny_tokenizer, tmp_path / "whole")
    write_texts(tmp_path / "y.jsonl", 40)
    folder = tmp_path / "out" / whole.folder.name
    packed = pack(Mixture(parts), tiny_tokenizer, tmp_path / "out")
    for name in ("manifest.json", "00001.json", "00001.train.bin"):  # as if it had ended before the second unit did
        (folder / name).unlink()
    first = (folder / "00000.train.bin").stat().st_mtime_ns
    packed = pack(Mixture(parts), tiny_tokenizer, tmp_path / "out")
    assert (folder / "00000.train.bin").stat().st_mtime_ns == first
    assert packed.manifest == whole.manifest
    assert tokens(packed, "train") == tokens(whole, "train")


@pytest.mark.integration
def test_several_processes_pack_what_one_does(tiny_tokenizer, tmp_path, write_texts):
    parts = {name: TextFiles(write_texts(tmp_path / f"{name}.jsonl", 30 + number)) for number, name in enumerate("xyz")}
    parts["pydoc"] = PydocTopics()
    one = pack(Mixture(parts), tiny_tokenizer, tmp_path / "one")
    several = encode_texts(Mixture(parts), tiny_tokenizer, tmp_path / "two", num_workers=2, progress=False)
    assert several.manifest == one.manifest
    assert tokens(several, "train") == tokens(one, "train")


@pytest.mark.integration
def test_an_error_of_a_packing_process_is_told_as_one_sentence(tiny_tokenizer, tmp_path):
    (tmp_path / "a.jsonl").write_text("{\n")
    with pytest.raises(ValueError, match=r"^the share of skipped samples must be at most 0\.01, not 1 "):
        encode_texts(TextFiles(tmp_path), tiny_tokenizer, tmp_path / "out", num_workers=1, progress=False)


def test_an_error_in_the_text_leaves_no_half_file(tiny_tokenizer, tmp_path, write_texts):
    path = write_texts(tmp_path / "a.jsonl", 5)
    path.write_text(path.read_text() + "{\n")
    with pytest.raises(ValueError, match="unreadable line"):
        pack(TextFiles(path), tiny_tokenizer, tmp_path / "out")
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_parts_of_a_mixture_can_be_read_apart(tiny_tokenizer, tmp_path, write_texts):
    parts = {
        name: TextFiles(write_texts(tmp_path / f"{name}.jsonl", number)) for name, number in (("x", 30), ("y", 40))
    }
    packed = pack(Mixture(parts), tiny_tokenizer, tmp_path / "out")
    assert packed.parts == ["x", "y"]
    assert tokens(packed, "held_out") == tokens(packed, "held_out", "x") + tokens(packed, "held_out", "y")
    with pytest.raises(ValueError, match=r"part must be one of x, y, not 'z'\."):
        packed.stream("train", "z")


def test_ids_of_a_large_vocabulary_take_four_bytes(source, make_tokenizer, tmp_path):
    large = make_tokenizer([f"w{number}" for number in range(1 << 16)])
    packed = pack(source, large, tmp_path / "out")
    assert packed.manifest["dtype"] == "uint32"
    assert tokens(packed, "train") == tokens(pack(source, make_tokenizer(), tmp_path / "small"), "train")


def test_tokens_are_read_across_files(tmp_path):
    files, ids = [], np.arange(10, dtype=np.uint16)
    for number, part in enumerate(np.split(ids, [3, 3, 7])):
        files.append(tmp_path / f"{number}.bin")
        part.tofile(files[-1])
    stream = TokenStream(files, [3, 0, 4, 3], "uint16")
    assert len(stream) == 10
    assert all(
        stream.read(start, length).tolist() == ids[start : start + length].tolist()
        for start in range(10)
        for length in range(11 - start)
    )
    with pytest.raises(ValueError, match=r"tokens must be in \[0, 10\), not 8 \.\.\. 10\."):
        stream.read(8, 3)


def test_a_file_that_was_cut_is_refused(source, tiny_tokenizer, tmp_path):
    packed = pack(source, tiny_tokenizer, tmp_path / "out")
    path = packed.folder / "00000.train.bin"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ValueError, match=r"00000\.train\.bin must hold \d+ tokens, not \d+\."):
        packed.stream("train").read(0, 1)


def test_a_tokenizer_without_eos_is_refused(source, make_tokenizer, tmp_path):
    with pytest.raises(ValueError, match=r"must have an EOS token to put between documents, but it has none\."):
        pack(source, make_tokenizer(eos=None), tmp_path / "out")


def test_blank_text_is_refused(tiny_tokenizer, tmp_path):
    (tmp_path / "a.txt").write_text(" \n")
    with pytest.raises(ValueError, match=r"text_files must have documents to train on, but it has none\."):
        pack(TextFiles(tmp_path / "a.txt"), tiny_tokenizer, tmp_path / "out")


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must be a folder of packed tokens, but it has no manifest\.json\."):
        PackedTokens(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"schema": 1}))  # of latents
    with pytest.raises(ValueError, match=r"must be a folder of packed tokens of schema 1, but it is not\."):
        PackedTokens(tmp_path)
