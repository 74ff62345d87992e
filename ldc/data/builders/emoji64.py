"""Builds `assets/emoji64.tar.xz`: captioned emoji drawings in three styles, 64 px, lossless WebP on white.

    npm pack @iconify-json/fluent-emoji-flat@1.2.6 @iconify-json/noto@1.2.9 @iconify-json/twemoji@1.2.5
    python -m ldc.data.builders.emoji64 FOLDER_WITH_THE_TGZ_FILES assets/emoji64.tar.xz

A build-time script: the archive ships with the project, so a user never runs this. It needs `resvg-py`.

Archive: `NOTICE.md`, `samples.jsonl` (one object a sample: key, caption, concept, style, group, split, mini) and
`<style>/<concept>.webp`. `split` is "train", "cell" (one style of a concept whose other styles are trained on) or
"composition" (a colour-shape or person-job pair that is held out in every style, while each part is trained on).
"""

import argparse
import hashlib
import io
import json
import re
import tarfile
import zlib
from pathlib import Path
from typing import Any

from PIL import Image

STYLES = {  # name: npm tarball, its sha256
    "fluent": (
        "iconify-json-fluent-emoji-flat-1.2.6.tgz",
        "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
    ),
    "noto": (
        "iconify-json-noto-1.2.9.tgz",
        "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
    ),
    "twemoji": (
        "iconify-json-twemoji-1.2.5.tgz",
        "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
    ),
}
SIZE = 64

SKIN_TONE = re.compile(r"skin-tone|-(light|medium-light|medium|medium-dark|dark)$")
SHAPE = re.compile(r"(^|-)(circle|square|heart|diamond|book)$")
COLOUR_AND_SHAPE = re.compile(r"(red|orange|yellow|green|blue|purple|brown|black|white)-(circle|square|heart|book)")
PERSON_AND_JOB = re.compile(
    r"(man|woman)-(artist|astronaut|cook|detective|factory-worker|farmer|firefighter|guard|health-worker|judge|mechanic"
    r"|office-worker|pilot|police-officer|scientist|singer|student|superhero|teacher|technologist)"
)
MINI_GROUPS = ("Smileys & Emotion", "Food & Drink")

NOTICE = """# emoji64: where the drawings come from

Rasterised at 64 px on white from vector originals; skin-tone variants are left out.

* `fluent`: Fluent Emoji (flat), Copyright (c) Microsoft Corporation, MIT licence (text below).
* `noto`: Noto Emoji, Copyright Google LLC, Apache License 2.0.
* `twemoji`: Twemoji, Copyright Twitter, Inc and other contributors, CC BY 4.0.

## MIT licence (Fluent Emoji)

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def split_of(concept: str, style: str, styles_with_concept: list[str]) -> str:
    """Returns the split of one (style, concept) cell: a pure function of the names, so that a rebuild agrees."""
    draw = zlib.crc32(concept.encode())
    if (COLOUR_AND_SHAPE.fullmatch(concept) or PERSON_AND_JOB.fullmatch(concept)) and draw % 6 == 0:
        return "composition"
    is_in_all_styles = len(styles_with_concept) == len(STYLES)
    if is_in_all_styles and draw % 16 == 1 and style == styles_with_concept[draw // 16 % len(STYLES)]:
        return "cell"
    return "train"


def read_style(tgz: Path, sha256: str) -> tuple[dict[str, str], dict[str, str]]:
    """Returns {concept key: SVG text} and {concept key: Unicode group} of one Iconify package."""
    content = tgz.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise ValueError(f"{tgz.name} must have sha256 {sha256}, not {digest}.")
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        icons: dict[str, Any] = json.load(tar.extractfile("package/icons.json"))  # pyrefly: ignore
        categories = json.load(tar.extractfile("package/metadata.json"))["categories"]  # pyrefly: ignore
    groups = {name: group for group, names in categories.items() for name in names}
    drawings = {
        name: _svg(icon, icons["width"], icons["height"])
        for name, icon in icons["icons"].items()
        if not icon.get("hidden") and not SKIN_TONE.search(name)
    }
    return drawings, groups


def _svg(icon: dict[str, Any], width: int, height: int) -> str:
    box = f"{icon.get('left', 0)} {icon.get('top', 0)} {icon.get('width', width)} {icon.get('height', height)}"
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {names} viewBox="{box}" width="{SIZE}" height="{SIZE}">{icon["body"]}</svg>'


def rasterise(svg: str) -> bytes:
    """Returns the drawing as lossless WebP, SIZE x SIZE RGB on white."""
    import resvg_py  # noqa: PLC0415  # pyrefly: ignore - a build-time dependency, not installed by default

    png = resvg_py.svg_to_bytes(svg_string=svg, width=SIZE, height=SIZE, background="#ffffff", skip_system_fonts=True)
    image = Image.open(io.BytesIO(bytes(png))).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", lossless=True, quality=100, method=6)
    return buffer.getvalue()


def build(packages: Path, archive: Path) -> int:
    """Writes the archive from the folder of npm tarballs and returns the number of samples."""
    sets = {style: read_style(packages / name, sha256) for style, (name, sha256) in STYLES.items()}
    fluent_groups = sets["fluent"][1]
    in_mini = {name for name in sets["fluent"][0] if fluent_groups.get(name) in MINI_GROUPS or SHAPE.search(name)}
    samples, files = [], {}
    for style, (drawings, groups) in sets.items():
        for name, svg in sorted(drawings.items()):
            concept, key = name.replace("-", " "), f"{style}/{name}"
            present = [other for other in STYLES if name in sets[other][0]]
            samples.append(
                {
                    "key": key,
                    "caption": f"{concept} in {style} style",
                    "concept": concept,
                    "style": style,
                    "group": groups.get(name, "Other"),
                    "split": split_of(name, style, present),
                    "mini": name in in_mini,
                }
            )
            files[f"{key}.webp"] = rasterise(svg)
    lines = "".join(json.dumps(sample) + "\n" for sample in samples)
    _write(archive, {"NOTICE.md": NOTICE.encode(), "samples.jsonl": lines.encode(), **files})
    return len(samples)


def _write(archive: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(archive, "w:xz", preset=9) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)  # all other fields keep their defaults: the same input gives the same bytes
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def main() -> None:
    """Command line: the folder of packages and the archive to write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, help="folder with the three npm tarballs")
    parser.add_argument("archive", type=Path, help="archive to write, such as assets/emoji64.tar.xz")
    arguments = parser.parse_args()
    print(build(arguments.packages, arguments.archive), "samples")  # noqa: T201


if __name__ == "__main__":
    main()
