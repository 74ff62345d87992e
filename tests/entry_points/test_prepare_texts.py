"""`ldc.prepare` on texts and on instructions: they are checked and counted."""

from ldc import prepare


def test_texts_are_counted_by_part_and_split(command, tmp_path):
    (tmp_path / "a.txt").write_text("\n\n".join(["four"] * 10))
    said = command(prepare.main, "data=text_files", f"data.path={tmp_path}/a.txt", "data.chars_per_document=1")
    splits = said.summary["counts"]["text_files"].values()
    assert sum(split["documents"] for split in splits) == 10
    assert all(split["characters"] == 4 * split["documents"] for split in splits)


def test_instructions_are_counted(command):
    assert command(prepare.main, "data=instructions").summary["counts"]["glosses"]["instructions"] > 2000


def test_a_path_of_no_text_is_one_sentence(refused, tmp_path):
    sentence = refused(prepare.main, "data=text_files", f"data.path={tmp_path}/none.txt")
    assert "path must be an existing file, folder or pattern of text, not" in sentence
