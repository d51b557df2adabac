import errno
import itertools
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mss_cli.errors import DatasetError, ExitCode, OutputError
from mss_cli.events import Warned
from mss_cli.training.batches import LoaderDied, SkippedSongs, StepSampler, collate, fill, loader
from mss_cli.training.examples import Example, Key, Skipped
from mss_cli.training.mixing import RecipeExamples
from mss_cli.training.recipe import Mixing, SongSource
from mss_cli.training.song_cache import Form, SongCache
from mss_cli.training.songs import open_songs
from training_songs import RATE, STEMS, write_songs

FOUR = {name: (name,) for name in STEMS}


def examples_of(tmp_path, **options):
    songs = open_songs(SongSource(kind="folders", root=tmp_path / "songs"), 0)
    cache = SongCache(tmp_path / "cache", Form(RATE, 2), FOUR)
    mixing = Mixing(coherent=1.0, coherent_end=0.0, coherent_steps=4)
    return RecipeExamples([songs], FOUR, cache, mixing, seed=3, samples=500, **options)


def first(batches, count):
    return list(itertools.islice(iter(batches), count))


@given(batch=st.integers(1, 4), accumulate=st.integers(1, 3), world=st.integers(1, 3), start=st.integers(0, 7))
def test_each_update_sees_the_same_places_once_on_any_number_of_devices(batch, accumulate, world, start):
    samplers = [
        StepSampler(batch, lambda: start * accumulate, accumulate=accumulate, rank=rank, world=world)
        for rank in range(world)
    ]
    keys = [key for sampler in samplers for part in first(sampler, accumulate) for key in part]
    assert sorted(keys) == [Key(start, place) for place in range(batch * accumulate * world)]


def test_two_devices_take_the_halves_of_what_one_takes():
    whole = first(StepSampler(4, lambda: 0), 1)[0]
    halves = [first(StepSampler(2, lambda: 0, rank=rank, world=2), 1)[0] for rank in range(2)]
    assert halves[0] + halves[1] == whole


def test_a_sampler_asks_for_its_start_at_every_iteration():
    done = iter([0, 6])
    sampler = StepSampler(1, lambda: next(done), accumulate=2)
    assert first(sampler, 3) == [[Key(0, 0)], [Key(0, 1)], [Key(1, 0)]]
    assert first(sampler, 1) == [[Key(3, 0)]]


@pytest.mark.parametrize("options", [{"batch": 0}, {"accumulate": 0}, {"rank": 2, "world": 2}])
def test_impossible_samplers_are_refused(options):
    with pytest.raises(ValueError, match="rank"):
        StepSampler(**{"batch": 1, "start": lambda: 0} | options)


def test_examples_lie_side_by_side():
    random = np.random.default_rng(0)
    examples = [
        Example(
            random.standard_normal((2, 1, 8)).astype(np.float32),
            random.random((360, 3)).astype(np.float32),
            2**63 - 1 - place,
            (Skipped("a", "b"),) * place,
        )
        for place in range(2)
    ]
    batch = collate(examples)
    assert batch.stems.shape == (2, 2, 1, 8)
    assert batch.salience.shape == (2, 360, 3)
    assert batch.seeds.tolist() == [2**63 - 1, 2**63 - 2]
    assert batch.skipped == (Skipped("a", "b"),)
    np.testing.assert_array_equal(batch.stems[1].numpy(), examples[1].stems)
    assert collate([Example(examples[0].stems, None, 0)]).salience is None


def same(one, other):
    return torch.equal(one.stems, other.stems) and torch.equal(one.seeds, other.seeds)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_any_number_of_processes_gives_the_same_bits(tmp_path, workers):
    write_songs(tmp_path / "songs", 3)
    alone = first(loader(examples_of(tmp_path), batch=2, start=lambda: 0), 5)
    shared = first(loader(examples_of(tmp_path), batch=2, start=lambda: 0, workers=workers), 5)
    assert all(same(one, other) for one, other in zip(alone, shared, strict=True))


def test_a_later_start_gives_the_bits_of_that_step(tmp_path):
    write_songs(tmp_path / "songs", 3)
    alone = first(loader(examples_of(tmp_path), batch=2, start=lambda: 0), 5)
    later = first(loader(examples_of(tmp_path), batch=2, start=lambda: 3), 2)
    assert all(same(one, other) for one, other in zip(alone[3:], later, strict=True))


def test_workers_that_stay_begin_again_where_they_are_told(tmp_path):
    write_songs(tmp_path / "songs", 3)
    done = [0]
    batches = loader(examples_of(tmp_path), batch=1, start=lambda: done[0], workers=1)
    before = first(batches, 4)
    done[0] = 2
    assert same(first(batches, 1)[0], before[2])


def test_examples_travel_to_another_process_without_their_songs(tmp_path):
    write_songs(tmp_path / "songs", 1, seconds=60.0)
    examples = examples_of(tmp_path)
    one = examples[Key(0, 0)]
    sent = pickle.dumps(examples)
    assert len(sent) < 20_000
    np.testing.assert_array_equal(pickle.loads(sent)[Key(0, 0)].stems, one.stems)


def test_broken_songs_are_told_of_once_from_any_process(tmp_path):
    write_songs(tmp_path / "songs", 2)
    (tmp_path / "songs" / "song 0" / "bass.wav").write_bytes(b"no sound")
    for workers in (0, 1):
        events = []
        skipped = SkippedSongs(events.append)
        batches = loader(examples_of(tmp_path), batch=4, start=lambda: 0, workers=workers, skipped=skipped)
        first(batches, 4)
        assert [type(event) for event in events] == [Warned]
        assert events[0].path == tmp_path / "songs" / "song 0"
        assert skipped.count == 1
        assert batches.given == 4


@pytest.mark.parametrize("workers", [0, 1])
def test_songs_filled_in_ahead_are_not_decoded_again(tmp_path, workers):
    write_songs(tmp_path / "songs", 3)
    (tmp_path / "songs" / "song 2" / "bass.wav").write_bytes(b"no sound")
    events = []
    seen = list(fill(examples_of(tmp_path), workers=workers, skipped=SkippedSongs(events.append)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert [event.path.name for event in events] == ["song 2"]
    kept = sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "cache").iterdir())
    assert sorted(name.partition(".")[2] for name, _ in kept) == ["broken", "json", "json", "npy", "npy"]
    examples = examples_of(tmp_path)
    for place in range(10):
        examples[Key(0, place)]
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "cache").iterdir()) == kept


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_a_worker_comes_whole(tmp_path, workers):
    write_songs(tmp_path / "songs", 1)
    (tmp_path / "songs" / "song 0" / "bass.wav").write_bytes(b"no sound")
    with pytest.raises(DatasetError) as raised:
        first(loader(examples_of(tmp_path), batch=2, start=lambda: 0, workers=workers), 1)
    assert raised.value.message.startswith("no song can be read; the last one: ")
    assert raised.value.path == str(tmp_path / "songs" / "song 0")


def test_a_full_disk_ends_filling_with_its_own_error(tmp_path, monkeypatch):
    write_songs(tmp_path / "songs", 1)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("mss_cli.training.song_cache.np.save", full)
    with pytest.raises(OutputError, match="disk full"):
        list(fill(examples_of(tmp_path)))


def test_workers_that_are_left_in_the_middle_end_without_a_word():
    script = Path(__file__).parents[1] / "left_loader.py"
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


class Clock:
    """Examples that take a tenth of a second each, by a clock of their own."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def __getitem__(self, key):
        self.now += 0.1
        return Example(np.zeros((1, 1, 4), np.float32), None, 0)


def test_the_wait_counts_what_making_takes_and_not_what_the_network_takes(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("mss_cli.training.batches.time.perf_counter", clock)
    batches = loader(clock, batch=2, start=lambda: 0)
    for _ in itertools.islice(iter(batches), 3):
        clock.now += 5.0
    assert batches.waited_seconds == pytest.approx(3 * 2 * 0.1)


class Deadly:
    """Examples whose maker is killed, as by a system that is short of memory."""

    def __getitem__(self, key):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_told_with_what_to_do(tmp_path):
    with pytest.raises(LoaderDied, match="was killed; run the command again to go on") as caught:
        first(loader(Deadly(), batch=1, start=lambda: 0, workers=1), 1)
    assert caught.value.code == ExitCode.TEMPORARY


class Masked:
    """Examples that tell which signals are held back where they are made."""

    def __getitem__(self, key):
        held = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        return Example(np.full((1, 1, 1), signal.SIGINT in held, np.float32), None, 0)


def test_an_interrupt_of_the_terminal_does_not_reach_a_worker_and_is_not_held_back_here():
    (batch,) = first(loader(Masked(), batch=1, start=lambda: 0, workers=1), 1)
    assert float(batch.stems) == 1
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
