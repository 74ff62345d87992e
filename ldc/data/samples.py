"""A raw sample as it stands in a WebDataset tar: `<key>.jpg|jpeg|png|webp`, `<key>.txt` and/or `<key>.json`.

The key is the member's path up to the first dot of its base name, the rest is the extension, as in webdataset and
img2dataset. Captions come from the JSON's "captions" list, else from the text file, else from the JSON's "caption".
"""

import json
from collections.abc import Collection, Mapping
from typing import Any, TypedDict

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp")
CAPTION_KEYS = ("captions", "caption")


class RawSample(TypedDict):
    """One sample, not decoded."""

    key: str
    image: bytes  # a JPEG, PNG or WebP file
    captions: list[str]  # one or more
    metadata: dict[str, Any]  # the JSON without "captions" and "caption"


class SkippedSampleError(ValueError):
    """A sample that cannot be used; `reason` is the words that the report counts it under."""

    def __init__(self, reason: str, name: str) -> None:
        super().__init__(f"sample {name} must be usable, but: {reason}.")
        self.reason = reason
        self.name = name


def split_name(name: str) -> tuple[str, str]:
    """Returns (key, extension) of a tar member; the extension is lower case, and "" where there is none."""
    folder, slash, base = name.removeprefix("./").rpartition("/")
    stem, _, extension = base.partition(".")
    return folder + slash + stem, extension.lower()


def image_extension(extensions: Collection[str]) -> str | None:
    """Returns the extension of the sample's image among its members, or None."""
    return next((extension for extension in IMAGE_EXTENSIONS if extension in extensions), None)


def read_text(key: str, members: Mapping[str, bytes]) -> tuple[list[str], dict[str, Any]]:
    """Returns (captions, metadata) from a sample's `txt` and `json` members.

    Raises:
        SkippedSampleError: "missing caption" or "unreadable metadata".
    """
    try:
        metadata = json.loads(members["json"]) if "json" in members else {}
        text = members.get("txt", b"").decode().strip()
    except ValueError as error:  # covers bad JSON and bad UTF-8
        raise SkippedSampleError("unreadable metadata", key) from error
    if not isinstance(metadata, dict):
        raise SkippedSampleError("unreadable metadata", key)
    several = metadata.get("captions")
    found = several if isinstance(several, list) and several else [text or metadata.get("caption")]
    captions = [caption.strip() for caption in found if isinstance(caption, str) and caption.strip()]
    if not captions:
        raise SkippedSampleError("missing caption", key)
    return captions, {name: value for name, value in metadata.items() if name not in CAPTION_KEYS}


def assemble(key: str, members: Mapping[str, bytes]) -> RawSample:
    """Returns the sample made of a key's members {extension: bytes}.

    Raises:
        SkippedSampleError: "missing image", "missing caption" or "unreadable metadata".
    """
    extension = image_extension(members)
    if extension is None:
        raise SkippedSampleError("missing image", key)
    captions, metadata = read_text(key, members)
    return RawSample(key=key, image=members[extension], captions=captions, metadata=metadata)
