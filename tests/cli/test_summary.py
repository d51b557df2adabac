"""`--summary`: how the run ended and a row for each track, whole or not there."""

import json
import os
import resource
import signal
import subprocess
import sys
import tracemalloc
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from mss_cli.console.summary import Summary
from mss_cli.errors import OutputError
from mss_cli.events import RunFinished, TrackFailed, TrackNotTried, TrackSkipped
from mss_cli.main import main
from signals import write_music

CONTENT = json.loads(files("mss_cli").joinpath("events.schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator({"$ref": "#/$defs/summary", "$defs": CONTENT["$defs"]})
COMMAND = [sys.executable, "-m", "mss_cli", "separate", "--device", "cpu", "--jobs", "1"]


@pytest.fixture
def separate(tmp_path, capsys):
    """Run the command with a summary; give the exit code, the summary and the last event."""

    def run(*arguments):
        capsys.readouterr()
        flags = ["-o", tmp_path / "out", "--json", "--device", "cpu", "--jobs", "1", "--summary", tmp_path / "run.json"]
        code = main(["separate", *map(str, [*flags, *arguments])])
        return code, summary_of(tmp_path / "run.json"), json.loads(capsys.readouterr().out.splitlines()[-1])

    return run


def summary_of(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    VALIDATOR.validate(content)
    return content


def rows_of(summary):
    return {Path(row["path"]).name: row["status"] for row in summary["tracks"]}


@pytest.fixture
def mixed(tmp_path):
    """Two good songs and two that are none; the latter come first."""
    for name in ("1.wav", "2.wav"):
        write_music(tmp_path / "in" / name, seconds=0.2)
    for name in ("0.wav", "00.wav"):
        (tmp_path / "in" / name).write_text("no sound\n")
    return tmp_path / "in"


def test_it_is_the_last_event_and_a_row_for_each_track(mixed, separate, tmp_path):
    code, summary, last = separate(mixed)
    assert code == summary["exit_code"] == 1
    assert {key: summary[key] for key in last if key != "time"} == {k: v for k, v in last.items() if k != "time"}
    assert rows_of(summary) == {"0.wav": "failed", "00.wav": "failed", "1.wav": "done", "2.wav": "done"}
    done = next(row for row in summary["tracks"] if row["status"] == "done")
    assert [Path(output["path"]).stat().st_size == output["size_bytes"] for output in done["outputs"]] == [True] * 4
    failed = summary["tracks"][0]
    assert (failed["code"], failed["outputs"]) == (3, [])
    assert "not an audio file" in failed["message"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out", "run.json"]


def test_tracks_of_earlier_runs_are_skipped_and_those_after_the_limit_not_tried(mixed, separate):
    separate(mixed / "1.wav")
    assert rows_of(separate(mixed / "1.wav", mixed / "0.wav")[1]) == {"1.wav": "skipped", "0.wav": "failed"}
    assert rows_of(separate(mixed, "--fail-fast")[1]) == {
        "0.wav": "failed", "00.wav": "not-tried", "1.wav": "skipped", "2.wav": "not-tried",
    }  # fmt: skip


def test_a_dry_run_has_one(mixed, separate, tmp_path):
    code, summary, _ = separate(mixed / "1.wav", "--dry-run")
    assert (code, rows_of(summary)) == (0, {"1.wav": "not-tried"})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "code"), [(["-m", "none"], 2), (["--stems", "harp"], 2), (["--device", "cuda:7"], 4)], ids=str
)
def test_a_run_that_fails_as_a_whole_has_one(mixed, separate, flags, code):
    found, summary, _ = separate(mixed / "1.wav", *flags)
    assert found == summary["exit_code"] == code
    assert summary["message"]
    assert set(rows_of(summary).values()) <= {"not-tried"}


def test_a_run_that_is_stopped_has_one(tmp_path):
    for name in ("a.wav", "b.wav", "c.wav"):
        write_music(tmp_path / "in" / name, seconds=30.0 if name == "b.wav" else 0.2)
    command = [*COMMAND, "in", "-o", "out", "--json", "--summary", "run.json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "track_started" and event["path"] == "in/b.wav":
                process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == -signal.SIGINT
    summary = summary_of(tmp_path / "run.json")
    assert (summary["exit_code"], summary["message"]) == (130, "stopped by SIGINT")
    assert rows_of(summary) == {"a.wav": "done", "b.wav": "not-tried", "c.wav": "not-tried"}


def test_a_run_that_is_killed_leaves_the_old_one_and_nothing_else(tmp_path):
    write_music(tmp_path / "in" / "a.wav", seconds=30.0)
    (tmp_path / "run.json").write_text("old")
    command = [*COMMAND, "in", "-o", "out", "--json", "--summary", "run.json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        for line in process.stdout:
            if json.loads(line)["event"] == "track_started":
                process.kill()
    assert (tmp_path / "run.json").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out", "run.json"]


def test_a_reader_of_events_that_went_away_does_not_cost_the_summary(tmp_path):
    for name in ("a.wav", "b.wav", "c.wav"):
        write_music(tmp_path / "in" / name, seconds=0.2 if name == "a.wav" else 20.0)
    command = [*COMMAND, "in", "-o", "out", "--json", "--summary", "run.json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        for line in process.stdout:
            if json.loads(line)["event"] == "track_finished":
                break
        process.stdout.close()
        assert process.wait(timeout=60) == 141
    summary = summary_of(tmp_path / "run.json")
    assert summary["exit_code"] == 141
    assert {name: status for name, status in rows_of(summary).items() if name == "c.wav"} == {"c.wav": "not-tried"}


@pytest.mark.parametrize("place", ["no/such/run.json", "folder", "pipe"])
def test_a_place_that_takes_none_is_refused_before_anything_starts(mixed, tmp_path, capsys, place):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    code = main(["separate", str(mixed), "-o", str(tmp_path / "out"), "--summary", str(tmp_path / place)])
    captured = capsys.readouterr()
    assert (code, captured.err.count("\n")) == (6, 1)
    assert "`--summary`" in captured.err
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "pipe").is_fifo()


def test_rows_do_not_fill_memory(tmp_path):
    summary = Summary(tmp_path / "run.json")
    tracemalloc.start()
    path = Path("music/song.wav")  # one: paths themselves stay interned for a while
    for _ in range(20_000):
        summary(TrackSkipped(path, "unchanged"))
    peak = tracemalloc.get_traced_memory()[1]
    summary(RunFinished(exit_code=0, skipped=20_000))
    tracemalloc.stop()
    assert peak < 200_000  # bytes; the rows are 2.6 MB
    assert len(summary_of(tmp_path / "run.json")["tracks"]) == 20_000


def test_a_disk_that_fills_is_told_at_the_end_and_the_old_summary_stands(tmp_path):
    (tmp_path / "run.json").write_text("old")
    summary = Summary(tmp_path / "run.json")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        for number in range(1000):
            summary(TrackFailed(Path(f"{number}.wav"), 3, "no sound", None))
        with pytest.raises(OutputError, match="run.json: cannot write: larger than the file system allows"):
            summary(RunFinished(exit_code=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("run.json", "old")]


def test_a_track_that_ended_as_the_signal_came_has_one_row(tmp_path):
    summary = Summary(tmp_path / "run.json")
    summary(TrackSkipped(Path("a.wav"), "unchanged"))
    summary(TrackNotTried(Path("a.wav")))
    summary(TrackNotTried(Path("b.wav")))
    summary(RunFinished(exit_code=143))
    assert rows_of(summary_of(tmp_path / "run.json")) == {"a.wav": "skipped", "b.wav": "not-tried"}
