"""Faults around a run: full disks, read-only folders, inputs that vanish, clocks that go back, broken bytes."""

import ctypes
import json
import os
import random
import resource
import signal
from collections import Counter

import pytest
import soundfile

from batch_runs import STEMS, BatchRun, files_below, whole_tracks
from clicks import INPUTS, noise
from damage import FORMATS, mutate
from signals import write_music


@pytest.fixture
def album(tmp_path):
    for number in range(4):
        write_music(tmp_path / "in" / f"{number}.wav", seconds=3.0, seed=number)
    return tmp_path / "in"


def start(songs, tmp_path, *flags, **settings):
    return BatchRun(songs, "-o", tmp_path / "out", "--segment-seconds", "1", *flags, **settings)


def obey_permissions():
    """Take from root what lets it pass every permission."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
        libc.prctl(28, 3, 0, 0, 0)  # PR_SET_SECUREBITS, SECBIT_NOROOT and its lock: a new program gets none back
        libc.capset(header, (ctypes.c_uint32 * 6)())


def small_files():
    """Make the disk full for files over 8 MiB: floats of the four stems of 3 s fit, of 20 s do not."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, 8 << 20))


def test_a_folder_that_becomes_read_only_costs_the_tracks_that_are_left(album, tmp_path):
    with start(album, tmp_path, "--jobs", "1", preexec_fn=obey_permissions) as run:
        run.until("track_finished")
        (tmp_path / "out").chmod(0o555)
        code = run.end()
    (tmp_path / "out").chmod(0o755)
    failed = run.of_kind("track_failed")
    assert (code, {event["code"] for event in failed}) == (1, {6})
    assert "permission denied" in failed[0]["message"]
    done = [os.path.basename(event["path"]).removesuffix(".wav") for event in run.of_kind("track_finished")]  # noqa: PTH119
    stems = [name for name in files_below(tmp_path / "out") if not name.startswith(".mss-cli/")]
    assert stems == whole_tracks(*done)
    with start(album, tmp_path) as again:
        assert again.end() == 0
    assert again.seen[-1]["skipped"] == len(done)
    assert files_below(tmp_path / "out") == whole_tracks("0", "1", "2", "3")


def test_a_full_disk_costs_the_tracks_that_meet_it(album, tmp_path):
    write_music(album / "2.wav", seconds=20.0)
    with start(album, tmp_path, "--jobs", "2", preexec_fn=small_files) as run:
        assert run.end() == 1
    assert [(event["path"], event["code"]) for event in run.of_kind("track_failed")] == [(str(album / "2.wav"), 6)]
    assert files_below(tmp_path / "out") == whole_tracks("0", "1", "3")
    with start(album, tmp_path) as again:
        assert again.end() == 0
    assert again.seen[-1]["skipped"] == 3


def test_an_input_that_vanishes_or_is_replaced_after_the_plan(album, tmp_path):
    with start(album, tmp_path, "--jobs", "1") as run:
        run.until("track_started")
        (album / "2.wav").unlink()
        write_music(album / "3.wav", seconds=1.0, seed=9)
        assert run.end() == 1
    assert [(event["path"], event["code"]) for event in run.of_kind("track_failed")] == [(str(album / "2.wav"), 3)]
    assert files_below(tmp_path / "out") == whole_tracks("0", "1", "3")
    assert soundfile.info(tmp_path / "out" / "3" / "bass.wav").frames == 44100  # the file that was there when read


def test_clocks_that_go_back_confuse_nothing(tmp_path):
    song = write_music(tmp_path / "song.wav", seconds=0.3)
    ahead, behind = 4 * 10**18, 10**18  # 2096 and 2001
    os.utime(song, ns=(ahead, ahead))
    outcomes = []
    for step in range(4):
        if step == 2:
            os.utime(song, ns=(behind, behind))
        if step == 3:
            write_music(song, seconds=0.3, seed=1)
            os.utime(song, ns=(behind - 1, behind - 1))
        with start(song, tmp_path) as run:
            assert run.end() == 0
        outcomes.append((run.seen[-1]["done"], run.seen[-1]["skipped"]))
    assert outcomes == [(1, 0), (0, 1), (0, 1), (1, 0)]


def fuzz(tmp_path, *, files, seed):
    """Damage files of every format and separate them all in one run; give outcomes by format."""
    rng = random.Random(seed)
    songs = tmp_path / "in"
    songs.mkdir()
    kinds = {}
    for number in range(files):
        kind = FORMATS[number % len(FORMATS)]
        path = songs / f"{number:03}.wav"  # content decides, not the name
        INPUTS[kind].write(path, noise(12_000))
        path.write_bytes(mutate(path.read_bytes(), rng))
        kinds[str(path)] = kind
    with start(songs, tmp_path, "--jobs", "2", "--timeout-per-track", "60", "--downmix", "stereo") as run:
        assert run.end() in (0, 1)
    outcomes = Counter()
    for event in run.seen:
        if event["event"] in ("track_finished", "track_failed"):
            outcomes[kinds[event["path"]], event.get("code", 0)] += 1
    assert sum(outcomes.values()) == files
    assert {code for _, code in outcomes} <= {0, 3}  # done, or the input's fault; no crash, no hang, no bug
    assert run.of_kind("internal_error") == []
    assert [event for event in run.of_kind("warning") if "worker" in event["message"]] == []
    finished = run.of_kind("track_finished")
    names = [os.path.basename(event["path"]).removesuffix(".wav") for event in finished]  # noqa: PTH119
    assert files_below(tmp_path / "out") == whole_tracks(*names)
    for event in finished:
        for output in event["outputs"]:
            assert soundfile.info(output["path"]).frames == output["samples"]
    assert len(STEMS) * len(finished) == sum(len(event["outputs"]) for event in finished)
    return outcomes


def test_damaged_files_are_done_or_refused(tmp_path):
    outcomes = fuzz(tmp_path, files=21, seed=0)
    assert {code for _, code in outcomes} == {0, 3}  # some of both, or the damage proves nothing


@pytest.mark.stress
@pytest.mark.timeout(3600)
def test_two_hundred_damaged_files_are_done_or_refused(tmp_path):
    outcomes = fuzz(tmp_path, files=210, seed=1)
    assert {code for _, code in outcomes} == {0, 3}
    table = {kind: {"done": outcomes[kind, 0], "refused": outcomes[kind, 3]} for kind in FORMATS}
    print(json.dumps(table, indent=1))  # noqa: T201 - seen with `-s`


@pytest.mark.stress
@pytest.mark.timeout(3600)
def test_five_thousand_small_files_are_done_and_the_second_run_does_nothing(tmp_path):
    first = write_music(tmp_path / "in" / "0000.wav", seconds=0.05).read_bytes()
    for number in range(1, 5000):
        (tmp_path / "in" / f"{number:04}.wav").write_bytes(first)
    for expected in ((5000, 0), (0, 5000)):
        with start(tmp_path / "in", tmp_path, "--jobs", "2") as run:
            assert run.end() == 0
        assert (run.seen[-1]["done"], run.seen[-1]["skipped"]) == expected
    assert files_below(tmp_path / "out") == whole_tracks(*(f"{number:04}" for number in range(5000)))
