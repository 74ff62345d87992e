import pytest

from ldc.training.checkpoints import Store, folders, newest
from ldc.training.checkpoints.manifest import read

WAYS = {
    "truncated": "state.ckpt has 99 bytes, not 100",
    "flipped": "state.ckpt is not what was written",
    "no state": "state.ckpt is missing",
    "no manifest": "manifest.json is missing",
    "cut manifest": "manifest.json cannot be read",
}


def names(store):
    return sorted(path.name for path in store.folder.iterdir())


def test_a_committed_checkpoint_has_its_name_its_state_and_a_manifest(make, store):
    folder = make(store, 100)

    assert folder == store.folder / "step-00000100"
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "state.ckpt"]
    manifest = read(folder)
    assert (manifest.step, manifest.samples_seen, manifest.files["state.ckpt"].bytes) == (100, 400, 100)


@pytest.mark.parametrize("how", WAYS)
def test_a_damaged_newest_checkpoint_is_named_and_passed_over(make, store, damaged, caplog, how):
    good = make(store, 100)
    bad = damaged(make(store, 200), how)

    assert newest(store.folder.parent) == good
    assert f"{bad} is damaged and passed over: {WAYS[how]}" in caplog.text


def test_a_checkpoint_that_lacks_a_shard_is_passed_over(make, store, caplog):
    good = make(store, 100, shards=2)
    (make(store, 200, shards=2) / "state.ckpt" / "shard-1").unlink()

    assert newest(store.folder.parent) == good
    assert "state.ckpt/shard-1 is missing" in caplog.text


def test_a_checkpoint_is_none_until_it_is_committed(make, store):
    (store.begin(100) / "state.ckpt").write_text("half")
    assert newest(store.folder.parent) is None

    make(store, 100)
    assert newest(store.folder.parent) == store.path(100)


def test_steps_are_ordered_by_number_however_many_digits_they_have(make, store):
    for step in (99_999_999, 100_000_000):
        make(store, step)
    assert newest(store.folder.parent) == store.path(100_000_000)


def test_what_a_killed_process_left_is_removed(make, store):
    make(store, 100)
    store.begin(200)

    store.clear_leftovers()
    assert names(store) == ["step-00000100"]


def test_a_checkpoint_that_was_just_being_replaced_is_still_found_and_gets_its_name_back(make, store):
    make(store, 100).rename(store.folder / ".step-00000100.old")
    store.begin(100)

    assert newest(store.folder.parent) == store.folder / ".step-00000100.old"
    store.clear_leftovers()
    assert names(store) == ["step-00000100"]
    assert newest(store.folder.parent) == store.path(100)


def test_the_newest_checkpoints_stay_and_those_of_lasting_steps(make, tmp_path):
    store = Store(tmp_path, keep_last=2, keep_every_n_steps=200)
    for step in (100, 200, 300, 400, 500, 600, 700):
        make(store, step)
    assert list(folders(tmp_path)) == [200, 400, 600, 700]


def test_a_truncated_checkpoint_does_not_count_as_kept(make, store, damaged):
    for step in (100, 200):
        make(store, step)
    damaged(store.path(200), "truncated")

    make(store, 300)
    assert list(folders(store.folder.parent)) == [100, 300]


def test_old_checkpoints_stay_until_the_new_one_is_whole(make, tmp_path):
    store = Store(tmp_path, keep_last=1)
    good = make(store, 100)
    (store.begin(200) / "state.ckpt").write_text("half")
    store.discard(200)

    assert newest(tmp_path) == good


def test_after_going_back_the_checkpoints_of_later_steps_are_removed(make, store, caplog):
    for step in (100, 200):
        make(store, step)

    make(store, 150)
    assert list(folders(store.folder.parent)) == [100, 150]
    assert "step-00000200 is of the run before it was taken back" in caplog.text


def test_a_step_that_is_saved_again_replaces_its_checkpoint(make, store, damaged):
    damaged(make(store, 100), "flipped")

    make(store, 100)
    assert newest(store.folder.parent) == store.path(100)
    assert names(store) == ["step-00000100"]


def test_no_fewer_than_one_checkpoint_can_be_kept(tmp_path):
    with pytest.raises(ValueError, match="keep_checkpoints must be at least 1, not 0"):
        Store(tmp_path, keep_last=0)
