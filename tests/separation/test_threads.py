import threading

import pytest

from mss_cli.separation.threads import ReadAhead, WriteBehind


def test_items_come_in_order_and_are_made_in_another_thread():
    makers = set()

    def numbers():
        for number in range(100):
            makers.add(threading.get_ident())
            yield number

    with ReadAhead(numbers(), depth=3) as ahead:
        assert list(ahead) == list(range(100))
    assert threading.get_ident() not in makers


def test_a_failure_while_reading_ahead_reaches_the_reader_after_what_came_before():
    def broken():
        yield 1
        raise OSError("gone")

    with ReadAhead(broken(), depth=3) as ahead:
        assert next(ahead) == 1
        with pytest.raises(OSError, match="gone"):
            next(ahead)


def test_leaving_early_closes_the_generator_and_ends_the_thread():
    closed = threading.Event()

    def endless():
        try:
            while True:
                yield 0
        finally:
            closed.set()

    with ReadAhead(endless(), depth=2) as ahead:
        next(ahead)
    assert closed.is_set()


def test_at_most_depth_items_wait():
    made = []

    def counted():
        for number in range(1000):
            made.append(number)
            yield number

    with ReadAhead(counted(), depth=4) as ahead:
        next(ahead)
        assert len(made) <= 1 + 4 + 1  # one taken, four waiting, one in the maker's hand


def test_all_is_written_before_the_context_is_left():
    written = []
    with WriteBehind(written.append, depth=2) as behind:
        for number in range(50):
            behind.put(number)
    assert written == list(range(50))


def test_a_failure_while_writing_behind_is_raised_to_the_producer():
    def refuse(item):
        raise OSError("disk full")

    def produce():
        with WriteBehind(refuse, depth=1) as behind:
            for number in range(1000):
                behind.put(number)

    with pytest.raises(OSError, match="disk full"):
        produce()


def test_a_failure_of_the_producer_drops_what_waits():
    started, release = threading.Event(), threading.Event()
    written = []

    def slow(item):
        started.set()
        release.wait(10)
        written.append(item)

    def produce():
        with WriteBehind(slow, depth=5) as behind:
            for number in range(4):
                behind.put(number)
            started.wait(10)
            threading.Timer(0.2, release.set).start()
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        produce()
    assert len(written) < 4
