import pytest

from mss_cli.training.clock import Clock


@pytest.fixture
def at(monkeypatch):
    """Set the time in seconds."""
    now = [0.0]
    monkeypatch.setattr("mss_cli.training.clock.time.monotonic", lambda: now[0])

    def set_to(seconds):
        now[0] = seconds

    return set_to


def test_waits_are_between_batches_and_within_the_update(at):
    clock = Clock(checkpoint_minutes=1, max_minutes=None)
    at(10)
    clock.begin_update()
    for came, done in ((12, 15), (19, 20)):
        at(came)
        clock.begin_batch()
        at(done)
        clock.end_batch()
    assert clock.waited_seconds == 2 + 4
    assert clock.update_seconds == 10
    clock.begin_update()
    assert (clock.waited_seconds, clock.update_seconds) == (0, 0)


def test_a_state_is_due_an_interval_after_the_one_before(at):
    clock = Clock(checkpoint_minutes=2, max_minutes=None)
    at(119)
    clock.look()
    assert not clock.state_is_due
    at(120)
    clock.look()
    assert clock.state_is_due
    clock.state_written()
    assert not clock.state_is_due


def test_the_limit_counts_from_when_the_clock_was_made(at):
    at(1000)
    clock = Clock(checkpoint_minutes=1, max_minutes=0.5)
    at(1029)
    clock.begin_update()
    assert not clock.time_is_up
    at(1030)
    clock.end_batch()
    assert clock.time_is_up


def test_without_a_limit_the_time_is_never_up(at):
    clock = Clock(checkpoint_minutes=1, max_minutes=None)
    at(1e9)
    clock.look()
    assert not clock.time_is_up
