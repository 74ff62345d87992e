"""Chapters out of a wheel that is laid out as pythonbible's, with three chapters of two books."""

import zipfile

import pytest

from ldc.data.text.sources import KingJames

MODULE = '''from pythonbible.bible.bible import Bible
bible = Bible(
    Version.KING_JAMES,
    """
In the beginning. And so on.
The second chapter.
Another book.
""",
    {1001001: 1, 1001002: 19, 1002001: 30, 2001001: 50},
    {1001001: 19, 1001002: 30, 1002001: 50, 2001001: 64},
    {Book.GENESIS: {1: 2, 2: 1}, Book.EXODUS: {1: 1}},
    {Book.GENESIS: "Genesis", Book.EXODUS: "Exodus"},
    {},
    False,
)
'''


def wheel(folder, content):
    path = folder / "kjv-0.0.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("kjv/bible.py", content)
    return f"{path}/kjv/bible.py"


def test_chapters_are_documents_named_by_book_and_number(tmp_path):
    [unit] = KingJames(wheel(tmp_path, MODULE)).units(tmp_path / "cache")
    documents = {document.key: document.text for document, _ in unit.read()}
    assert documents == {
        "Genesis 1": "In the beginning. And so on.",
        "Genesis 2": "The second chapter.",
        "Exodus 1": "Another book.",
    }
    assert list(unit.read())[-1][1] == unit.size


def test_nothing_of_the_wheel_is_run(tmp_path):
    [unit] = KingJames(wheel(tmp_path, MODULE + "\nraise SystemExit\n")).units(tmp_path / "cache")
    assert len(list(unit.read())) == 3


def test_a_wheel_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"wheel must be an existing file, not '.*none\.whl'\."):
        KingJames(f"{tmp_path}/none.whl/kjv/bible.py").check()


def test_a_file_of_another_kind_is_refused(tmp_path):
    [unit] = KingJames(wheel(tmp_path, "x = 1\n")).units(tmp_path / "cache")
    with pytest.raises(ValueError, match=r"bible\.py must be a Bible of pythonbible, but it is not\."):
        list(unit.read())
