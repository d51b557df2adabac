"""Workers and runs that die: one track is tried again, nobody else loses anything, nothing half-written is left."""

import os
import signal
import time

import pytest

from batch_runs import BatchRun, files_below, gone, whole_tracks
from signals import write_music

LONG_SECONDS = 10.0


@pytest.fixture
def album(tmp_path):
    """Two tracks that take a while and one that does not."""
    for number, seconds in enumerate((LONG_SECONDS, LONG_SECONDS, 0.3)):
        write_music(tmp_path / "in" / f"{number}.wav", seconds=seconds, seed=number)
    return tmp_path / "in"


def start(album, tmp_path, *, jobs=2):
    return BatchRun(album, "-o", tmp_path / "out", "--jobs", jobs, "--segment-seconds", "1")


def kill_one(run):
    """Kill a worker that is at a long track; both are."""
    run.until("track_started")
    run.until("track_started")
    run.workers()[0].kill()


def test_a_killed_worker_is_replaced_and_its_track_done_alone(album, tmp_path):
    with start(album, tmp_path) as run:
        kill_one(run)
        warned = run.until("warning")
        first = {event["path"] for event in run.of_kind("track_started")}
        run.until("track_started", path=warned["path"])
        at_work = len(run.workers())
        assert run.end() == 0
    assert warned["message"] == "its worker died (SIGKILL): it is tried once more, alone"
    assert warned["path"] in first
    assert at_work == 1
    assert files_below(tmp_path / "out") == whole_tracks("0", "1", "2")
    started = [event["path"] for event in run.of_kind("track_started")]
    assert len(started) == 4  # nothing else was begun again


def test_a_track_that_costs_two_workers_has_failed_and_the_others_are_done(album, tmp_path):
    with start(album, tmp_path) as run:
        kill_one(run)
        lost = run.until("warning")["path"]
        run.until("track_started", path=lost)
        (alone,) = run.workers()
        alone.kill()
        assert run.end() == 1
    (failed,) = run.of_kind("track_failed")
    assert (failed["path"], failed["code"]) == (lost, 7)
    assert failed["message"] == "its worker died twice (SIGKILL), the second time alone"
    kept = {"0", "1", "2"} - {os.path.basename(lost).removesuffix(".wav")}  # noqa: PTH119
    assert files_below(tmp_path / "out") == whole_tracks(*kept)


def test_workers_that_die_while_they_load_end_the_run(album, tmp_path):
    with start(album, tmp_path) as run:
        while run.process.poll() is None:
            for worker in run.workers():
                worker.kill()
            time.sleep(0.01)
        code = run.end()
    assert code == 7
    assert "die while they load the model" in run.seen[-1]["message"]
    assert run.of_kind("track_failed") == []
    assert files_below(tmp_path / "out") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_to_the_whole_group_ends_all_and_leaves_nothing(album, tmp_path, number):
    with start(album, tmp_path) as run:
        for _ in range(2):
            run.until("track_started")
        workers = run.workers()
        os.killpg(run.process.pid, number)
        assert run.end() == -number
    assert len(workers) == 2
    assert gone(workers)
    assert run.seen[-1]["exit_code"] == 128 + number
    assert files_below(tmp_path / "out") == []


@pytest.mark.stress  # the promise to users is a time, which a busy machine may miss; it takes some 50 ms
def test_a_signal_to_the_whole_group_ends_all_within_two_seconds(album, tmp_path):
    with start(album, tmp_path) as run:
        for _ in range(2):
            run.until("track_started")
        sent = time.monotonic()
        os.killpg(run.process.pid, signal.SIGTERM)
        assert run.end() == -signal.SIGTERM
        assert time.monotonic() - sent < 2


def test_workers_leave_when_the_run_is_killed_and_the_next_run_does_the_rest(album, tmp_path):
    with start(album, tmp_path) as run:
        for _ in range(2):
            run.until("track_started")
        workers = run.workers()
        run.process.kill()
        run.end()
        assert len(workers) == 2
        assert gone(workers, within_seconds=5.0)
    assert not [name for name in files_below(tmp_path / "out") if name.endswith((".wav", ".mss.json"))]
    with start(album, tmp_path, jobs=1) as again:
        assert again.end() == 0
    assert files_below(tmp_path / "out") == whole_tracks("0", "1", "2")
