"""Killed at random places, again and again: whole stems or none, nothing done twice, in the end everything done."""

import json
import random
import shutil
import time

import pytest
import soundfile

from batch_runs import STEMS, BatchRun, files_below, gone, whole_tracks
from signals import write_music

SECONDS = 1.0


class Album:
    """An output folder and what is known of it after each kill."""

    def __init__(self, folder, *, tracks):
        self.songs, self.out = folder / "in", folder / "out"
        self.names = [f"{number:02}" for number in range(tracks)]
        for number, name in enumerate(self.names):
            write_music(self.songs / f"{name}.wav", seconds=SECONDS, seed=number)
        self.done = {}

    def run(self, *, jobs=2):
        return BatchRun(self.songs, "-o", self.out, "--jobs", jobs, "--segment-seconds", "1")

    def look(self):
        """Check that every stem is whole, and that no record known before was written again."""
        for stem in self.out.rglob("*.wav"):
            if not stem.name.startswith("."):
                assert soundfile.info(stem).frames == round(SECONDS * 44100)
        for name in self.names:
            record = self.out / name / f"{name}.mss.json"
            if record.exists():
                assert [(self.out / name / f"{stem}.wav").exists() for stem in STEMS] == [True] * 4
                seen = (record.stat().st_mtime_ns, record.read_bytes())
                assert self.done.setdefault(name, seen) == seen

    def forget(self):
        shutil.rmtree(self.out)
        self.done = {}


def wait_somewhere(run, rng, *, tracks):
    """Read a random number of events, and wait a little more, so that no step of the work is spared."""
    left = rng.randrange(1, max(2, 2 * tracks - 2))
    for line in run.process.stdout:
        event = json.loads(line)
        run.seen.append(event)
        left -= event["event"] in ("track_started", "track_finished")
        if left == 0:
            break
    time.sleep(rng.uniform(0, 0.2))


def kill_runs(folder, *, rounds, tracks, seed):
    """Kill a run somewhere and start it again, over and over; the last one is let go on to the end.

    Gives how many tracks were done before the last run, and how many it did.
    """
    album = Album(folder, tracks=tracks)
    rng = random.Random(seed)
    for _ in range(rounds):
        with album.run() as run:
            wait_somewhere(run, rng, tracks=min(8, tracks - len(album.done)))
            workers = run.workers()
            run.process.kill()
            run.process.wait()
            assert gone(workers)
        album.look()
        if len(album.done) == tracks:
            album.forget()
    before = len(album.done)
    with album.run(jobs=1) as last:
        assert last.end() == 0
    album.look()
    assert files_below(album.out) == whole_tracks(*album.names)
    assert last.seen[-1]["skipped"] == before
    print(f"{rounds} runs killed, {tracks} tracks: {before} done before the last run and none of them again")  # noqa: T201 - seen with `-s`
    return before, last.seen[-1]["done"]


def kill_workers(folder, *, rounds, tracks, seed):
    """Kill one worker somewhere in each round: the run replaces it and does everything; give how many had a track."""
    album = Album(folder, tracks=tracks)
    rng = random.Random(seed)
    retried = 0
    for _ in range(rounds):
        with album.run() as run:
            wait_somewhere(run, rng, tracks=tracks)
            workers = run.workers()
            if workers:
                rng.choice(workers).kill()
            assert run.end() == 0
        album.look()
        assert files_below(album.out) == whole_tracks(*album.names)
        started = [event["path"] for event in run.of_kind("track_started")]
        again = len(started) - len(set(started))
        assert again <= 1
        retried += again
        album.forget()
    print(f"{rounds} workers killed, {retried} of them at a track, {rounds * tracks} tracks done")  # noqa: T201
    return retried


def test_a_run_killed_somewhere_loses_nothing(tmp_path):
    before, last = kill_runs(tmp_path, rounds=1, tracks=3, seed=0)
    assert before + last == 3


def test_a_worker_killed_somewhere_costs_nothing(tmp_path):
    assert kill_workers(tmp_path, rounds=1, tracks=3, seed=1) <= 1


@pytest.mark.stress
@pytest.mark.timeout(3600)
def test_a_run_killed_twenty_times_loses_nothing(tmp_path):
    before, last = kill_runs(tmp_path, rounds=20, tracks=100, seed=2)
    assert before + last == 100


@pytest.mark.stress
@pytest.mark.timeout(3600)
def test_a_worker_killed_twenty_times_costs_nothing(tmp_path):
    assert kill_workers(tmp_path, rounds=20, tracks=8, seed=3) >= 5
