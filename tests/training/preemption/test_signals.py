import os
import signal

import pytest

from ldc.training.preemption import Cause, Interrupted, Signals


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_is_noted_and_the_handlers_come_back(number):
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)]
    with Signals() as signals:
        send(number)
        signals.heed()
    assert signals.cause is Cause.of(number)
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)] == before


@pytest.mark.parametrize(
    ("numbers", "cause"),
    [
        ((signal.SIGUSR1, signal.SIGTERM), Cause.SIGUSR1),
        ((signal.SIGTERM, signal.SIGUSR1), Cause.SIGUSR1),
        ((signal.SIGINT, signal.SIGUSR1), Cause.SIGINT),
    ],
)
def test_of_several_signals_the_users_counts_most_and_a_plain_end_least(numbers, cause):
    with Signals() as signals:
        for number in numbers:
            send(number)
        signals.heed()
    assert signals.cause is cause


def test_a_second_interrupt_stops_at_once():
    def both():
        send(signal.SIGINT)
        send(signal.SIGINT)
        pytest.fail("went on")

    with pytest.raises(Interrupted) as stop, Signals():
        both()
    assert stop.value.code == 130


def test_a_signal_that_came_too_late_goes_to_who_listened_before():
    heard = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    try:
        with Signals():
            send(signal.SIGUSR1)
            assert heard == []
        assert heard == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_every_cause_ends_with_a_code_of_its_signal_and_never_with_success():
    codes = {cause: cause.exit_code for cause in Cause if cause is not Cause.NONE}
    assert codes == {Cause.SIGTERM: 143, Cause.TIME_LIMIT: 138, Cause.SIGUSR1: 138, Cause.SIGINT: 130}
