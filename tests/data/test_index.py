"""The offset index of tars, whole and damaged."""

import io
import os
import pickle
import tarfile

import pytest

from ldc.data.index import build_index
from ldc.data.reader import TarReader


@pytest.fixture
def members():
    return {f"{number:04d}.{name}": bytes([number]) * 700 for number in range(4) for name in ("bin", "txt")}


@pytest.fixture
def tar(tmp_path, write_members, members):
    return write_members(tmp_path / "a.tar", members)


def cut(tar, size):
    path = tar.with_name("cut.tar")
    path.write_bytes(tar.read_bytes()[:size])
    return path


def test_every_member_is_read_at_its_offset(tar, members):
    index, reader = build_index(tar), TarReader()
    read = {
        f"{key}.{name}": content
        for place, key in enumerate(index.keys)
        for name, content in reader.read(index, place).items()
    }
    assert read == members


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_are_kept(tmp_path, tar_format):
    names = ["y" * 150 + ".txt", "pomme-mûre.txt", "./folder/a.seg.txt"]
    with tarfile.open(tmp_path / "a.tar", "w", format=tar_format) as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
    index = build_index(tmp_path / "a.tar")
    assert index.keys == ["y" * 150, "pomme-mûre", "folder/a"]
    assert index.extensions == ["seg.txt", "txt"]


# Each member takes 512 + 1024 bytes, each sample 3072.
@pytest.mark.parametrize(
    ("size", "where"),
    [
        (2 * 3072 + 700, "in the first member of sample 2"),
        (2 * 3072 + 1536 + 700, "in the second member of sample 2"),
        (2 * 3072 + 1536 + 100, "in the second header of sample 2"),
        (2 * 3072 + 100, "in the first header of sample 2"),
        (2 * 3072, "between samples"),
    ],
)
def test_truncated_tar_yields_the_complete_samples_before_the_cut(tar, size, where):
    index = build_index(cut(tar, size))
    assert index.keys == ["0000", "0001"], where
    assert index.truncated


def test_damaged_header_in_the_middle_ends_the_index_there(tar):
    content = bytearray(tar.read_bytes())
    content[2 * 3072 : 2 * 3072 + 20] = b"?" * 20
    tar.write_bytes(content)
    index = build_index(tar)
    assert index.keys == ["0000", "0001"]
    assert "6144" in index.truncated


def test_whole_tar_is_not_called_truncated(tar):
    assert build_index(tar).truncated is None


def test_saved_index_is_used_while_the_tar_is_unchanged(tar):
    build_index(tar)
    status = tar.stat()
    tar.write_bytes(bytes(status.st_size))  # a scan would find nothing now
    os.utime(tar, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert len(build_index(tar)) == 4


def test_changed_tar_gets_a_new_index(tar, write_members):
    build_index(tar)
    write_members(tar, {"new.txt": b"x"})
    assert build_index(tar).keys == ["new"]


def test_unreadable_saved_index_is_made_anew(tar):
    build_index(tar)
    tar.with_name("a.tar.index.npz").write_bytes(b"nonsense")
    assert len(build_index(tar)) == 4


def test_index_goes_to_the_cache_when_it_cannot_stand_beside_the_tar(tar, tmp_path):
    tar.with_name("a.tar.index.npz").mkdir()  # stands in for a read-only folder, which root could write to
    build_index(tar, cache=tmp_path / "cache")
    assert list((tmp_path / "cache" / "index").glob("a-*.npz"))


def test_reader_keeps_few_files_open_and_travels_to_workers(tmp_path, write_members):
    indexes = [build_index(write_members(tmp_path / f"{n}.tar", {"a.txt": bytes([n])})) for n in range(5)]
    reader = TarReader(max_open=2)
    for number, index in enumerate(indexes):
        assert reader.read(index, 0) == {"txt": bytes([number])}
    assert len(reader._files) == 2
    assert pickle.loads(pickle.dumps(reader)).read(indexes[3], 0) == {"txt": b"\x03"}  # noqa: S301


def test_missing_tar_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"a shard must be an existing tar file, not '.*none\.tar'\.$"):
        build_index(tmp_path / "none.tar")
