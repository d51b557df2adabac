"""`--engine ray` on a cluster of two nodes on this machine."""

import json
import os
import signal
import time
from importlib.util import find_spec

import psutil
import pytest

from batch_runs import BatchRun, files_below, gone, whole_tracks, write_broken
from signals import write_music

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


def start(cluster, songs, out, *more):
    return BatchRun(songs, "-o", out, "--engine", "ray", "--ray-address", cluster.address, *more)


def test_a_cluster_does_what_this_machine_does_and_a_second_run_skips_it(cluster, tmp_path):
    for number in range(4):
        write_music(tmp_path / "in" / f"{number}.wav", seconds=0.5 + 0.1 * number, seed=number)
    write_broken(tmp_path / "in" / "broken.wav")
    with start(cluster, tmp_path / "in", tmp_path / "ray", "--jobs", "2") as run:
        assert run.end() == 1
    (failed,) = run.of_kind("track_failed")
    assert (failed["path"], failed["code"]) == (str(tmp_path / "in" / "broken.wav"), 3)
    assert files_below(tmp_path / "ray") == whole_tracks("0", "1", "2", "3")
    assert len(run.of_kind("weights_ready")) == 1
    with BatchRun(tmp_path / "in", "-o", tmp_path / "here", "--jobs", "1") as here:
        assert here.end() == 1
    for name in files_below(tmp_path / "here"):
        one, other = ((tmp_path / folder / name).read_bytes() for folder in ("here", "ray"))
        if name.endswith(".json"):
            one, other = json.loads(one), json.loads(other)
            assert one["circumstances"] == other["circumstances"]
            assert one["settings"] == other["settings"]
        else:
            assert one == other
    with start(cluster, tmp_path / "in", tmp_path / "ray", "--exclude", "broken.wav") as again:
        assert again.end() == 0
    assert len(again.of_kind("track_skipped")) == 4


def test_a_node_killed_in_the_middle_costs_no_track(cluster, tmp_path):
    tracks = [f"{number}" for number in range(6)]
    for number, name in enumerate(tracks):
        write_music(tmp_path / "in" / f"{name}.wav", seconds=20.0, seed=number)
    with start(cluster, tmp_path / "in", tmp_path / "out", "--jobs", "2", "--segment-seconds", "1") as run:
        run.until("track_started")
        run.until("track_started")
        cluster.remove_node(cluster.two[1], allow_graceful=False)
        assert run.end() == 0
    assert run.of_kind("track_failed") == []
    again = [event for event in run.of_kind("warning") if event["path"] is not None]
    assert again  # of the worker that was lost
    started = [event["path"] for event in run.of_kind("track_started")]
    assert len(started) == len(tracks) + len(again)
    assert all(started.count(event["path"]) > 1 for event in again)
    assert files_below(tmp_path / "out") == whole_tracks(*tracks)
    print(f"one of two nodes killed: {len(tracks)} tracks done, {len(again)} of them begun again")  # noqa: T201 - seen with `-s`


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_ends_the_run_and_its_actors_and_leaves_nothing(cluster, tmp_path, number):
    for name in range(2):
        write_music(tmp_path / "in" / f"{name}.wav", seconds=60.0, seed=name)
    with start(cluster, tmp_path / "in", tmp_path / "out", "--jobs", "2", "--segment-seconds", "1") as run:
        for _ in range(2):
            run.until("track_started")
        actors = [process for process in psutil.process_iter() if "WorkerActor" in process.name()]
        sent = time.monotonic()
        os.killpg(run.process.pid, number)  # as a terminal does
        assert run.end() == -number
        print(f"{number.name}: the run ended {time.monotonic() - sent:.1f} s later")  # noqa: T201 - seen with `-s`
    assert len(actors) == 2
    assert gone(actors)
    assert run.seen[-1]["exit_code"] == 128 + number
    assert run.of_kind("track_failed") == []
    assert files_below(tmp_path / "out") == []


def test_a_cluster_that_is_not_there_is_one_line(tmp_path, capsys):
    from mss_cli.main import main

    if find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    song = write_music(tmp_path / "a.wav", seconds=0.3)
    command = ["separate", str(song), "-o", str(tmp_path / "out"), "-m", "classical", "--engine", "ray"]
    assert main([*command, "--ray-address", "127.0.0.1:1"]) == 4
    assert "no Ray cluster answers at `127.0.0.1:1`" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
