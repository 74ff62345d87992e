"""Splits by keys, and documents in memory."""

import pytest

from ldc.data.text.sources.base import Document, check_share, split_of, unit_in_memory


def test_the_split_depends_on_the_key_alone_and_holds_out_about_the_share():
    keys = [f"document {number}" for number in range(2000)]
    splits = [split_of(key, 0.1) for key in keys]
    assert splits == [split_of(key, 0.1) for key in keys]
    assert 150 < splits.count("held_out") < 250


def test_what_a_small_share_holds_out_a_larger_one_holds_out_too():
    keys = [f"document {number}" for number in range(500)]
    small, large = ({key for key in keys if split_of(key, share) == "held_out"} for share in (0.1, 0.3))
    assert small < large


def test_shares_that_leave_nothing_to_train_on_are_refused():
    assert {split_of(key, 0.0) for key in "abcdef"} == {"train"}
    with pytest.raises(ValueError, match=r"held_out must be a share in \[0, 1\), not 1\.0\."):
        check_share(1.0)


def test_a_units_identity_is_of_its_texts_keys_and_splits():
    first = [Document("a", "one", "train"), Document("b", "two", "train")]
    others = [[Document("a", "one", "train")], [first[0], Document("b", "two", "held_out")], first[::-1]]
    units = [unit_in_memory("part", documents) for documents in (first, *others)]
    assert len({unit.identity for unit in units}) == 4
    assert unit_in_memory("other", list(first)).identity == units[0].identity


def test_a_unit_tells_how_far_it_is_read():
    unit = unit_in_memory("part", [Document("a", "one", "train"), Document("b", "three", "train")])
    assert [done for _, done in unit.read()] == [3, unit.size]
