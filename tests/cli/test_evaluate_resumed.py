import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from evaluate_runs import evaluate, events, results, write_estimates
from made_songs import stems, write, write_folder

ROOT = Path(__file__).resolve().parents[2]


def test_other_settings_of_a_model_are_scored_again(songs, tiny, tmp_path, capsys):
    flags = ("--tracks", "one", "--model", str(tiny), "--json")
    for settings, kept in (((), False), ((), True), (("--overlap", "0.5"), False), (("--shifts", "1"), False)):
        assert evaluate(songs, tmp_path / "out", *flags, *settings) == 0
        assert [event["kept"] for event in events(capsys) if event["event"] == "track_scored"] == [kept]


def test_finished_tracks_are_kept_and_changed_ones_done_again(songs, tmp_path, capsys):
    folder = write_estimates(songs, tmp_path / "mine")
    flags = ("--estimates", str(folder), "--json")

    def kept():
        return {event["track"]: event["kept"] for event in events(capsys) if event["event"] == "track_scored"}

    assert evaluate(songs, tmp_path / "out", *flags) == 0
    assert kept() == {"one": False, "two": False, "three": False}
    before = (tmp_path / "out" / "results.json").read_bytes()
    assert evaluate(songs, tmp_path / "out", *flags) == 0
    assert kept() == {"one": True, "two": True, "three": True}
    assert (tmp_path / "out" / "results.json").read_bytes() == before
    write(folder / "test" / "two" / "bass.wav", 0.5 * stems(1, 2.1)["bass"], subtype="FLOAT")
    write(songs / "three" / "drums.wav", stems(5, 2.1)["drums"])
    assert evaluate(songs, tmp_path / "out", *flags) == 0
    assert kept() == {"one": True, "two": False, "three": False}
    assert evaluate(songs, tmp_path / "out", *flags, "--scenario", "four-stems") == 0
    assert kept() == {"one": False, "two": False, "three": False}


def test_a_run_with_fewer_tracks_leaves_no_file_of_the_others_and_they_come_back_unscored(songs, tmp_path, capsys):
    output = tmp_path / "out"
    assert evaluate(songs, output, "--baseline-mixture") == 0
    before = {path.name: path.read_bytes() for path in (output / "test").iterdir()}
    assert sorted(before) == ["one.json", "three.json", "two.json"]
    (output / "test" / "notes.json").write_text("a user's own")
    assert evaluate(songs, output, "--baseline-mixture", "--tracks", "two", "--overlap", "0.5") == 0
    assert sorted(path.name for path in (output / "test").iterdir()) == ["notes.json", "two.json"]
    capsys.readouterr()
    assert evaluate(songs, output, "--baseline-mixture", "--json") == 0
    assert all(event["kept"] for event in events(capsys) if event["event"] == "track_scored")
    assert {name: (output / "test" / name).read_bytes() for name in before} == before


def test_a_damaged_record_is_no_record(songs, tmp_path):
    assert evaluate(songs, tmp_path / "out", "--baseline-mixture", "--tracks", "one") == 0
    before = (tmp_path / "out" / "results.json").read_bytes()
    for path in (tmp_path / "out" / ".finished").rglob("*.json"):
        path.write_text(path.read_text()[:50])
    assert evaluate(songs, tmp_path / "out", "--baseline-mixture", "--tracks", "one") == 0
    assert (tmp_path / "out" / "results.json").read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="needs kill -9")
def test_a_killed_run_goes_on_where_it_was(tmp_path, capsys):
    for seed in range(3):
        write_folder(tmp_path / "songs" / f"song {seed}", seed=seed, seconds=4.0)
    output = tmp_path / "out"
    flags = ("--oracle", "irm1", "--scenario", "vocals-accompaniment", "--json")
    line = [sys.executable, "-m", "mss_cli", "evaluate", "--dataset", "folders", "-o", str(output)]
    line += ["--root", str(tmp_path / "songs"), "--scores", "full", *flags]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        for text in process.stdout:
            if json.loads(text)["event"] == "track_scored":
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert not (output / "results.json").exists()
    assert (output / "test" / "song 0.json").is_file()
    assert evaluate(tmp_path / "songs", output, *flags, scores="full") == 0
    scored = [event for event in events(capsys) if event["event"] == "track_scored"]
    assert [event["kept"] for event in scored] == [True, False, False]
    assert evaluate(tmp_path / "songs", tmp_path / "fresh", *flags, scores="full") == 0
    assert (output / "results.json").read_bytes() == (tmp_path / "fresh" / "results.json").read_bytes()


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_broken_track_is_reported_and_does_not_stop_the_rest(songs, tmp_path, capsys, jobs):
    (songs / "two" / "bass.wav").write_text("this is no audio\n" * 100)
    assert evaluate(songs, tmp_path / "out", "--baseline-mixture", "--json", "--jobs", jobs) == 1
    seen = events(capsys)
    failed = [event for event in seen if event["event"] == "track_failed"]
    assert [(event["code"], Path(event["path"]).name) for event in failed] == [(3, "two")]
    assert "bass.wav: not an audio file" in failed[0]["message"]
    assert seen[-1]["exit_code"] == 1
    assert (seen[-1]["done"], seen[-1]["failed"]) == (2, 1)
    assert [track["name"] for track in results(tmp_path / "out")["tracks"]] == ["one", "three"]
    write(songs / "two" / "bass.wav", stems(1, 2.1)["bass"])
    assert evaluate(songs, tmp_path / "out", "--baseline-mixture", "--json", "--jobs", jobs) == 0
    assert events(capsys)[-1]["skipped"] == 2


def test_a_worker_that_dies_costs_its_track(songs, tmp_path, capsys, monkeypatch):
    from mss_cli.datasets.catalog import open_dataset
    from mss_cli.evaluation.request import SystemRequest
    from mss_cli.evaluation.track_job import Job
    from mss_cli.evaluation.workers import Workers

    tracks = open_dataset("folders", root=songs).tracks
    job = Job(SystemRequest("baseline", threads=1), tmp_path / "out", "auto", "sdr")
    (tmp_path / "out").mkdir()
    outcomes = {}
    with Workers(job, 1) as workers:
        for track, outcome in workers.run(tracks):
            if not outcomes:
                for process, _ in list(workers._running.values()):
                    os.kill(process.pid, signal.SIGKILL)
            outcomes[track.name] = outcome
    assert len(outcomes) == 3
    dead = [outcome.failure for outcome in outcomes.values() if outcome.failure is not None]
    assert len(dead) == 1
    assert "its worker died (exit status -9)" in dead[0].message


def test_a_run_that_fails_leaves_no_results_of_an_earlier_one(songs, tmp_path):
    output = tmp_path / "out"
    assert evaluate(songs, output, "--baseline-mixture") == 0
    for song in songs.iterdir():
        (song / "bass.wav").write_text("this is no audio\n" * 100)
    assert evaluate(songs, output, "--baseline-mixture") == 3
    assert not (output / "results.json").exists()
    assert not (output / "scores.csv").exists()


def test_a_refused_run_leaves_the_results_as_they_were(songs, tmp_path):
    output = tmp_path / "out"
    assert evaluate(songs, output, "--baseline-mixture") == 0
    before = (output / "results.json").read_bytes()
    assert evaluate(songs, output, "--baseline-mixture", "--fail-under", "vocal=1") == 2
    assert (output / "results.json").read_bytes() == before


def test_a_folder_of_another_system_or_data_set_is_refused_and_kept(songs, tmp_path, capsys):
    output = tmp_path / "out"
    assert evaluate(songs, output, "--oracle", "irm1") == 0
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert evaluate(songs, output, "--oracle", "irm2") == 2
    said = capsys.readouterr().err
    assert "holds scores of oracle `irm1` on folders, not of oracle `irm2` on folders" in said
    assert said.count("\n") == 1
    write_folder(tmp_path / "hq" / "test" / "A - B", seconds=0.6)
    assert evaluate(tmp_path / "hq", output, "--oracle", "irm1", dataset="musdb18hq") == 2
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before


def test_a_run_that_scored_nothing_does_not_keep_the_folder(songs, tmp_path):
    assert evaluate(songs, tmp_path / "out", "--estimates", str(tmp_path / "typing-error")) == 3
    folder = write_estimates(songs, tmp_path / "mine")
    assert evaluate(songs, tmp_path / "out", "--estimates", str(folder)) == 0
    assert evaluate(songs, tmp_path / "out", "--estimates", str(folder) + "/") == 0
