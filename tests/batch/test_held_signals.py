"""Signals that come while foreign code runs act when it is over, and not before."""

import os
import signal
import threading

import pytest

from mss_cli.batch.engines.held_signals import signals_held


class Stopped(BaseException):
    pass


@pytest.fixture(params=["SIGINT", "SIGTERM", "SIGHUP"])
def number(request):
    """A signal whose handler raises, as those of a run do."""
    chosen = getattr(signal, request.param)

    def stop(number, frame):
        raise Stopped(number)

    before = signal.signal(chosen, stop)
    yield chosen
    signal.signal(chosen, before)


def foreign(number, steps):
    """Be met by a signal, and go on."""
    os.kill(os.getpid(), number)
    steps.append("after the signal")


def faulty(number):
    """Be met by a signal, and fail over it."""
    os.kill(os.getpid(), number)
    raise SystemError("what a compiled function says of it")


def test_a_signal_waits_for_the_end_of_the_context(number):
    steps = []
    with pytest.raises(Stopped) as raised, signals_held():
        foreign(number, steps)
    assert steps == ["after the signal"]
    assert raised.value.args == (number,)


def test_handlers_are_as_before_whatever_was_set_within(number):
    before = signal.getsignal(number)
    with signals_held():
        signal.signal(number, signal.SIG_DFL)
    assert signal.getsignal(number) is before


def test_without_a_signal_nothing_is_raised_and_errors_pass(number):
    with pytest.raises(ValueError, match="own fault"), signals_held():
        raise ValueError("own fault")


def test_a_signal_outranks_an_error_of_the_code_it_met(number):
    with pytest.raises(Stopped), signals_held():
        faulty(number)


def test_an_ignored_signal_stays_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    with signals_held():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == signal.SIG_IGN


def test_in_another_thread_it_does_nothing():
    done = []

    def work():
        with signals_held():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
