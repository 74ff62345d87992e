import logging

import pytest

from ldc.training.checkpoints import Store, again, find_checkpoint


def test_a_fit_begins_where_there_has_never_been_a_checkpoint(tmp_path):
    assert find_checkpoint(tmp_path) is None


def test_a_first_save_that_was_killed_is_no_checkpoint(store, tmp_path):
    store.begin(100)
    assert find_checkpoint(tmp_path) is None


def test_null_and_last_take_the_newest_whole_one(make, store, damaged, tmp_path, caplog):
    good = make(store, 100)
    damaged(make(store, 200), "flipped")

    with caplog.at_level(logging.INFO):
        assert find_checkpoint(tmp_path) == find_checkpoint(tmp_path, "last") == good
    assert f"going on from {good} at step 100." in caplog.messages


def test_last_must_find_one(tmp_path):
    with pytest.raises(ValueError, match=r"resume=last must find a checkpoint in .*checkpoints, but there is none\."):
        find_checkpoint(tmp_path, "last")


@pytest.mark.parametrize("resume", [None, "last"])
def test_where_all_are_damaged_no_fit_begins_anew(make, store, damaged, tmp_path, resume):
    old, new = make(store, 100), make(store, 200)
    damaged(old, "truncated")
    damaged(new, "no manifest")

    with pytest.raises(ValueError, match="must hold a whole checkpoint, but all 2 in it are damaged") as error:
        find_checkpoint(tmp_path, resume)
    assert "step-00000100: state.ckpt has 99 bytes, not 100, step-00000200: manifest.json is missing" in str(
        error.value
    )


@pytest.mark.parametrize("name", ["step-00000100", "step-00000100/state.ckpt"])
def test_an_explicit_checkpoint_is_its_folder_or_its_state(make, store, tmp_path, name):
    for step in (100, 200):
        make(store, step)
    assert find_checkpoint(tmp_path, store.folder / name) == store.path(100)


def test_an_explicit_checkpoint_that_is_damaged_is_refused(make, store, damaged, tmp_path):
    folder = damaged(make(store, 100), "flipped")
    with pytest.raises(
        ValueError, match=r"resume must be a whole checkpoint, but of '.*step-00000100' state\.ckpt is not"
    ):
        find_checkpoint(tmp_path, folder)


def test_an_explicit_checkpoint_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"resume must be null, last or .*, but '.*step-00000007' does not exist\."):
        find_checkpoint(tmp_path, tmp_path / "step-00000007")


def test_a_fit_that_is_started_again_goes_on_from_its_own_checkpoint_once_that_is_later(make, store, tmp_path):
    given = make(Store(tmp_path / "other"), 100)
    assert again(tmp_path, given) == given  # before its first save it does not begin from zero

    make(store, 50)
    assert again(tmp_path, given / "state.ckpt") == given / "state.ckpt"
    own = make(store, 150)
    assert again(tmp_path, given) == own


def test_a_fit_that_is_started_again_does_without_a_checkpoint_that_made_room_for_its_own(make, store, tmp_path):
    own = make(store, 150)
    assert again(tmp_path, store.path(100)) == own


@pytest.mark.parametrize("resume", [None, "last"])
def test_what_names_no_checkpoint_means_the_same_when_it_is_said_again(make, store, tmp_path, resume):
    make(store, 100)
    assert again(tmp_path, resume) == resume


@pytest.mark.parametrize("resume", [None, "last"])
def test_a_folder_of_the_older_layout_is_refused(tmp_path, resume):
    (tmp_path / "last.ckpt").write_text("state")
    with pytest.raises(ValueError, match=r"must hold its checkpoints in checkpoints/, but has last\.ckpt of an older"):
        find_checkpoint(tmp_path, resume)
