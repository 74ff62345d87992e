import pytest

from ldc.training.heartbeat import FOLDER, Sign, Signs, Watch, is_broken_connection, sentence


@pytest.fixture
def ranks(tmp_path):
    """Returns three ranks of one life that have given their first sign."""
    signs = [Signs(tmp_path, rank, "life") for rank in range(3)]
    for own in signs:
        own.give()
    return signs


def test_a_rank_whose_sign_stays_the_same_is_silent_after_so_many_looks(ranks):
    watch = Watch(ranks[0], [1, 2])
    for _ in range(3):
        assert watch.silent(3) == []
        ranks[2].give()
        watch.look()

    assert [sign.rank for sign in watch.silent(3)] == [1]


def test_a_new_sign_ends_the_silence(ranks):
    watch = Watch(ranks[0], [1])
    watch.look()
    watch.look()
    ranks[1].give()
    watch.look()

    assert watch.silent(1) == []


def test_a_rank_that_has_left_is_not_silent(ranks):
    watch = Watch(ranks[0], [1])
    ranks[1].leave()
    watch.look()
    watch.look()

    assert watch.silent(1) == []


def test_the_last_rank_that_leaves_takes_the_folder_away(ranks, tmp_path):
    for own in ranks:
        assert (tmp_path / FOLDER).is_dir()
        own.leave()

    assert not (tmp_path / FOLDER).exists()


def test_a_sign_that_a_killed_group_left_is_not_believed(ranks, tmp_path):
    ranks[1].give(stopped="ValueError: long ago.")

    assert Signs(tmp_path, 0, "another life").read(1) is None


def test_a_long_reason_is_cut_and_read(ranks):
    ranks[1].give(stopped="ü" * 10_000)

    assert set(ranks[0].read(1).stopped) == {"ü"}


def test_a_shorter_sign_replaces_a_longer_one(ranks):
    ranks[1].give(stopped="ValueError: colour must be red.")
    ranks[1].give()

    assert ranks[0].read(1).stopped is None


def test_the_loss_that_was_told_first_stays(ranks):
    ranks[1].tell_loss("rank 2 is lost.")
    ranks[0].tell_loss("rank 1 is lost.")

    assert ranks[2].loss() == "rank 2 is lost."


def test_a_rank_that_can_write_nothing_goes_on(tmp_path):
    (tmp_path / FOLDER).write_text("a file where the folder would be")
    own = Signs(tmp_path, 0, "life")
    own.give()
    own.tell_loss("rank 1 is lost.")
    own.leave()

    assert own.loss() is None


def test_silent_ranks_are_named_by_host_and_process():
    silent = [Sign("life", rank, "node7", 40 + rank, 9, None) for rank in (3, 4)]

    assert sentence([], silent, 12.4) == (
        "all ranks must live until the fit ends, but rank 3 (node7, process 43), rank 4 (node7, process 44) have not"
        " been heard of for 12 s; the same command goes on from the last checkpoint."
    )


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [::1]:45237"
        ),
        RuntimeError("NCCL error in: ProcessGroupNCCL.cpp:3690, remote process exited or there was a network error"),
        ConnectionResetError("Connection reset by peer"),
    ],
)
def test_errors_of_connections_may_come_from_a_lost_rank(error):
    assert is_broken_connection(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("gloo must be blue.")]
)
def test_other_errors_do_not_come_from_a_lost_rank(error):
    assert not is_broken_connection(error)
