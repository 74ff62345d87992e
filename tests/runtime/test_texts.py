"""From data configs to texts: the shipped groups, and data that are not text."""

import json

import pytest
from hydra import compose, initialize_config_dir

from ldc.runtime.paths import CONF
from ldc.runtime.texts import calibration_texts, held_out_parts, held_out_texts, instruction_source, text_source


def data(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("prepare", overrides=list(overrides)).data


@pytest.fixture
def files(tmp_path):
    (tmp_path / "a.txt").write_text("\n\n".join(f"document {number}" for number in range(60)))
    return data("data=text_files", f"data.path={tmp_path}", "data.chars_per_document=5", "data.held_out=0.2")


def test_the_default_text_is_a_mixture_that_calibrates_on_pythons_topics():
    source = text_source(data("data=texts"))
    source.check()
    assert source.name.startswith("pydoc-")
    assert source.name.endswith("+kjv")
    assert source.calibration == "pydoc"


def test_ones_own_files_give_texts_of_both_splits(files):
    train, held_out = calibration_texts(files), held_out_texts(files)
    assert held_out
    assert sorted([*train, *held_out]) == sorted(f"document {number}" for number in range(60))


def test_parts_are_named(files):
    assert held_out_parts(files) == {"text_files": held_out_texts(files, "text_files")}
    with pytest.raises(ValueError, match=r"part must be one of text_files, not 'kjv'\."):
        held_out_texts(files, "kjv")


def test_a_share_is_handed_on_to_the_parts():
    with pytest.raises(ValueError, match=r"held_out must be a share in \[0, 1\), not 1\.5\."):
        text_source(data("data=texts", "data.held_out=1.5")).check()


def test_images_are_no_text():
    with pytest.raises(ValueError, match=r"data must be text for this, such as .*, not emoji64\."):
        text_source(data("data=emoji64"))


def test_instructions_are_the_shipped_words_or_ones_own_file(tmp_path):
    shipped = instruction_source(data("data=instructions"))
    assert shipped.name == "glosses"
    assert shipped.records()[0].instruction.startswith("What does the ")
    (tmp_path / "a.json").write_text(json.dumps([{"instruction": "Add.", "input": "1 and 1", "output": "2"}]))
    own = instruction_source(data("data=instructions", f"data.path={tmp_path}/a.json"))
    assert own.records() == [("Add.", "1 and 1", "2")]


def test_texts_are_no_instructions():
    with pytest.raises(ValueError, match=r"data must be instructions for this, such as data=instructions, not kjv\."):
        instruction_source(data("data=kjv"))
