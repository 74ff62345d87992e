"""Sources: the embedded emoji, folders of images, shards by pattern."""

import csv
import io
import json
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ldc.data.report import SkipReport
from ldc.data.sharded import ShardedSamples
from ldc.data.sources import Emoji, Folder, Shards
from ldc.data.sources.shards import expand


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def archive(tmp_path, picture):
    """A small archive as the emoji64 builder writes it."""
    rows = []
    for number, (style, split) in enumerate((("noto", "train"), ("fluent", "train"), ("noto", "cell")) * 2):
        row = {"key": f"{style}/apple-{number}", "caption": f"apple {number} in {style} style", "concept": "apple"}
        rows.append(row | {"style": style, "group": "Food & Drink", "split": split, "mini": number < 3})
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    files = {"NOTICE.md": b"whose drawings", "samples.jsonl": lines}
    files |= {f"{row['key']}.webp": picture for row in rows}
    with tarfile.open(tmp_path / "emoji.tar.xz", "w:xz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return tmp_path / "emoji.tar.xz"


@pytest.fixture
def images(tmp_path, picture):
    folder = tmp_path / "pictures"
    (folder / "fruit").mkdir(parents=True)
    for name in ("a.png", "b.PNG", "fruit/a.b.png"):
        (folder / name).write_bytes(picture)
    (folder / "a.txt").write_text("an apple\n")
    (folder / "b.json").write_text('{"captions": ["a pear", "one pear"], "author": "me"}')
    (folder / "fruit/a.b.txt").write_text("a fig")
    return folder


def records(tars):
    return {record["key"]: record for record in ShardedSamples(tars).records()}


def test_emoji_become_tars_of_their_splits_with_flat_keys(archive, tmp_path):
    tars = Emoji(archive).resolve(tmp_path, SkipReport())
    assert set(records(tars.train)) == {"noto-apple-0", "fluent-apple-1", "noto-apple-3", "fluent-apple-4"}
    assert records(tars.held_out["cell"])["noto-apple-2"] == {
        "key": "noto-apple-2",
        "caption": "apple 2 in noto style",
        "captions": ["apple 2 in noto style"],
        "concept": "apple",
        "style": "noto",
        "group": "Food & Drink",
        "split": "cell",
    }


def test_mini_emoji_are_only_the_marked_samples(archive, tmp_path):
    tars = Emoji(archive, mini=True).resolve(tmp_path, SkipReport())
    assert len(records(tars.train)) == 2


def test_unpacking_twice_does_nothing_the_second_time(archive, tmp_path):
    first = Emoji(archive).resolve(tmp_path, SkipReport())
    stamps = [path.stat().st_mtime_ns for path in (tmp_path / "tars").rglob("*")]
    assert Emoji(archive).resolve(tmp_path, SkipReport()) == first
    assert [path.stat().st_mtime_ns for path in (tmp_path / "tars").rglob("*")] == stamps


def test_unpacking_at_once_leaves_one_whole_folder(archive, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: Emoji(archive).resolve(tmp_path, SkipReport()), range(4)))
    assert found == [found[0]] * 4
    assert len(list((tmp_path / "tars").iterdir())) == 1
    assert len(records(found[0].train)) == 4


def test_damaged_emoji_archive_is_one_sentence_and_leaves_nothing(archive, tmp_path):
    archive.write_bytes(archive.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"must be the archive of the emoji64 builder, not a damaged one\.$"):
        Emoji(archive).resolve(tmp_path, SkipReport())
    assert not list((tmp_path / "tars").iterdir())


def test_missing_emoji_archive_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"^the emoji archive must be an existing file, not '.*none'\.$"):
        Emoji(tmp_path / "none").check()


def test_folder_takes_captions_from_the_files_beside_the_images(images, tmp_path):
    found = records(Folder(images).resolve(tmp_path, SkipReport()).train)
    assert {key: record["captions"] for key, record in found.items()} == {
        "a": ["an apple"],
        "b": ["a pear", "one pear"],
        "fruit-a_b": ["a fig"],
    }
    assert found["b"]["author"] == "me"


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_folder_reads_the_tables_of_imagefolder(tmp_path, picture, kind):
    folder = tmp_path / "pictures"
    folder.mkdir()
    rows = [{"file_name": f"{name}.png", "text": f"the {name}", "split": name} for name in ("train", "test")]
    for row in rows:
        (folder / row["file_name"]).write_bytes(picture)
    with (folder / f"metadata.{kind}").open("w") as file:
        if kind == "jsonl":
            file.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    tars = Folder(folder).resolve(tmp_path, SkipReport())
    assert records(tars.train)["train"]["captions"] == ["the train"]
    assert records(tars.held_out["test"])["test"]["caption"] == "the test"


def test_folder_skips_and_names_what_is_damaged(images, tmp_path):
    (images / "corrupt.png").write_bytes(b"no image")
    (images / "silent.png").write_bytes((images / "a.png").read_bytes())
    report = SkipReport(limit=0.5)
    tars = Folder(images).resolve(tmp_path, report)
    assert len(records(tars.train)) == 3
    assert report.names == {"corrupt image": ["corrupt.png"], "missing caption": ["silent.png"]}
    again = SkipReport(limit=0.5)
    Folder(images).resolve(tmp_path, again)
    assert again.counts == report.counts


def test_folder_with_too_much_damage_is_an_error(images, tmp_path):
    (images / "corrupt.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"at most 0\.1, not 0\.25 \(1 of 4: corrupt image 1\)"):
        Folder(images).resolve(tmp_path, SkipReport())


def test_images_of_one_stem_keep_keys_of_their_own(images, tmp_path, picture):
    (images / "a.webp").write_bytes(picture)
    assert set(records(Folder(images).resolve(tmp_path, SkipReport()).train)) == {"a", "a-2", "b", "fruit-a_b"}


def test_changed_folder_is_converted_anew(images, tmp_path):
    Folder(images).resolve(tmp_path, SkipReport())
    (images / "a.txt").write_text("a red apple")
    assert records(Folder(images).resolve(tmp_path, SkipReport()).train)["a"]["caption"] == "a red apple"


def test_folder_without_images_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"must hold jpg, jpeg, png, webp files, but .* has none\.$"):
        Folder(tmp_path).check()


def test_patterns_expand_to_existing_tars(tmp_path):
    for name in ("a-0.tar", "a-1.tar", "b.tar", "note.txt"):
        (tmp_path / name).touch()
    names = {str(tmp_path / name) for name in ("a-0.tar", "a-1.tar")}
    assert set(expand(f"{tmp_path}/a-{{0..1}}.tar")) == names
    assert set(expand(f"{tmp_path}/a-*.tar")) == names
    assert expand(str(tmp_path)) == [str(tmp_path / name) for name in ("a-0.tar", "a-1.tar", "b.tar")]
    assert expand([f"{tmp_path}/b.tar", f"file:{tmp_path}/a-0.tar"]) == [f"{tmp_path}/b.tar", f"{tmp_path}/a-0.tar"]


def test_remote_patterns_are_expanded_but_not_looked_up():
    assert expand("s3://bucket/{00..01}.tar") == ["s3://bucket/00.tar", "s3://bucket/01.tar"]
    assert expand("pipe:curl -s http://host/{0..1}.tar") == [f"pipe:curl -s http://host/{n}.tar" for n in range(2)]


@pytest.mark.parametrize("pattern", ["*.tar", "{000..002}.tar", "none.tar"])
def test_pattern_that_matches_nothing_names_pattern_and_folder(tmp_path, pattern):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the whole text is compared
        Shards(f"{tmp_path}/{pattern}").check()
    sentence = f"shards must match at least one tar, but {pattern!r} matches nothing in {tmp_path}."
    assert str(caught.value) == sentence


def test_gap_in_a_brace_pattern_is_an_error(tmp_path):
    (tmp_path / "0.tar").touch()
    with pytest.raises(ValueError, match=r"shards must exist, but 1 of '.*' do not, such as '.*1\.tar'\.$"):
        Shards(f"{tmp_path}/{{0..1}}.tar").check()


def test_remote_shard_is_copied_once(tmp_path, write_shard):
    tar = write_shard(tmp_path / "a.tar", ["0000"])
    source = Shards(f"pipe:cat {tar}")
    first = source.resolve(tmp_path / "cache", SkipReport())
    tar.unlink()
    assert source.resolve(tmp_path / "cache", SkipReport()) == first
    assert set(records(first.train)) == {"0000"}


def test_http_shards_are_copied_and_a_missing_one_is_one_sentence(tmp_path, write_shard):
    write_shard(tmp_path / "a.tar", ["0000"])
    handler = partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        tars = Shards(f"{address}/{{a,a}}.tar").resolve(tmp_path / "cache", SkipReport())
        with pytest.raises(
            ValueError, match=rf"^shard '{address}/b\.tar' must be readable, but .* 404: File not found\.$"
        ):
            Shards(f"{address}/b.tar").resolve(tmp_path / "cache", SkipReport())
        server.shutdown()
    assert set(records(tars.train[:1])) == {"0000"}
    assert [path.suffix for path in (tmp_path / "cache" / "remote").iterdir() if path.suffix != ".npz"] == [".tar"]


def test_remote_shard_that_cannot_be_fetched_leaves_no_copy(tmp_path):
    with pytest.raises(ValueError, match=r"^shard 'pipe:exit 3' must be readable, but .* exit code 3\.$"):
        Shards("pipe:exit 3").resolve(tmp_path, SkipReport())
    assert not list((tmp_path / "remote").iterdir())


def test_unknown_reader_is_refused():
    with pytest.raises(ValueError, match=r"^reader must be indexed or streaming, not 'fast'\.$"):
        Shards("a.tar", reader="fast").check()
