"""Keys, extensions and captions of raw samples."""

import pytest

from ldc.data.samples import SkippedSampleError, assemble, split_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0001.jpg", ("0001", "jpg")),
        ("./0001.JPG", ("0001", "jpg")),
        ("v1.2/a.seg.png", ("v1.2/a", "seg.png")),
        ("key", ("key", "")),
    ],
)
def test_key_ends_at_the_first_dot_of_the_base_name(name, expected):
    assert split_name(name) == expected


@pytest.mark.parametrize(
    ("members", "captions"),
    [
        ({"txt": b" a red apple\n"}, ["a red apple"]),
        ({"json": b'{"caption": "json"}'}, ["json"]),
        ({"txt": b"text", "json": b'{"caption": "json"}'}, ["text"]),
        ({"txt": b"text", "json": b'{"captions": ["one", "two"]}'}, ["one", "two"]),
        ({"txt": b"", "json": b'{"caption": "json"}'}, ["json"]),
    ],
)
def test_captions_come_from_the_list_then_the_text_then_the_json(members, captions):
    assert assemble("a", {"png": b"image", **members})["captions"] == captions


def test_metadata_is_the_json_without_its_captions():
    sample = assemble("a", {"webp": b"image", "json": b'{"caption": "c", "captions": [], "style": "noto"}'})
    assert sample == {"key": "a", "image": b"image", "captions": ["c"], "metadata": {"style": "noto"}}


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"txt": b"text"}, "missing image"),
        ({"png": b"image"}, "missing caption"),
        ({"png": b"image", "txt": b"  "}, "missing caption"),
        ({"png": b"image", "json": b'{"caption": null}'}, "missing caption"),
        ({"png": b"image", "json": b"{"}, "unreadable metadata"),
        ({"png": b"image", "json": b"[]"}, "unreadable metadata"),
        ({"png": b"image", "txt": b"\xff"}, "unreadable metadata"),
    ],
)
def test_incomplete_sample_is_skipped_with_its_reason(members, reason):
    with pytest.raises(SkippedSampleError) as caught:
        assemble("a", members)
    assert caught.value.reason == reason
