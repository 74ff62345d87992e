"""The endless stream of positions, and the batches that ranks take from it."""

import pickle

import pytest

from ldc.data.order import StreamBatchSampler, StreamOrder


def batches(*, world_size=1, rank=0, batch_size=4, consumed=0, num_batches=6, finished=None):
    sampler = StreamBatchSampler(
        10,
        batch_size,
        rank=rank,
        world_size=world_size,
        seed=3,
        consumed=consumed,
        num_batches=num_batches,
        finished=finished,
    )
    return sampler, list(sampler)


def test_each_epoch_holds_every_sample_once_in_another_order():
    order = StreamOrder(10, seed=3)
    epochs = [[order(position) for position in range(start, start + 10)] for start in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_order_does_not_depend_on_what_was_asked_before():
    forwards, backwards = StreamOrder(10, seed=3), StreamOrder(10, seed=3)
    ahead = [forwards(position) for position in range(50)]
    assert [backwards(position) for position in reversed(range(50))] == ahead[::-1]


def test_seeds_give_different_orders():
    assert [StreamOrder(50, 0)(p) for p in range(50)] != [StreamOrder(50, 1)(p) for p in range(50)]


def test_workers_get_the_order_without_its_permutations():
    order = StreamOrder(100_000, seed=3)
    expected = order(123_456)
    sent = pickle.dumps(order)
    assert len(sent) < 1000
    assert pickle.loads(sent)(123_456) == expected  # noqa: S301


def test_batches_cross_the_end_of_an_epoch_and_drop_nothing():
    _, found = batches(batch_size=4, num_batches=5)
    assert [position for batch in found for position in batch] == list(range(20))


def test_two_ranks_together_read_what_one_rank_reads():
    _, one = batches(batch_size=4)
    _, first = batches(world_size=2, rank=0, batch_size=2)
    _, second = batches(world_size=2, rank=1, batch_size=2)
    assert [a + b for a, b in zip(first, second, strict=True)] == one


def test_resuming_yields_the_rest_and_keeps_the_length_of_the_whole_fit():
    _, whole = batches()
    sampler, rest = batches(consumed=8)
    assert rest == whole[2:]
    assert len(sampler) == 6


def test_resuming_on_another_world_size_continues_the_same_global_sequence():
    _, one = batches(batch_size=4)
    ranks = [batches(world_size=4, rank=rank, batch_size=1, consumed=12)[1] for rank in range(4)]
    assert [[position for part in parts for position in part] for parts in zip(*ranks, strict=True)] == one[3:]


def test_a_changed_global_batch_continues_at_the_consumed_sample():
    _, found = batches(batch_size=2, consumed=12, num_batches=5, finished=3)
    assert found == [[12, 13], [14, 15]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": 2, "world_size": 2}, r"rank must be in \[0, 2\), not 2"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"consumed": 40}, r"finished batches must be in \[0, 6\], not 10"),
    ],
)
def test_impossible_batches_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        batches(**change)
