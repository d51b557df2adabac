"""One track of an evaluation: whatever goes wrong with it is its own failure, and nothing stale passes for it."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from made_songs import STEMS, stems, write, write_folder
from mss_cli.datasets.folders import folder_track
from mss_cli.datasets.track import Part, Signal, Track
from mss_cli.errors import ExitCode
from mss_cli.evaluation import track_job
from mss_cli.evaluation.request import SystemRequest
from mss_cli.evaluation.saved_estimates import saved_by
from mss_cli.evaluation.track_job import Job, Scorer
from mss_cli.events import InternalError, Warned
from mss_cli.main import main

SECONDS = 0.5


@pytest.fixture
def song(tmp_path):
    write_folder(tmp_path / "songs" / "song", seconds=SECONDS)
    return folder_track(tmp_path / "songs" / "song", "test", required=STEMS)


@pytest.fixture
def score(tmp_path):
    def run(track, kind="baseline", name="", **more):
        job = Job(SystemRequest(kind, name, threads=1), tmp_path / "out", more.pop("scenario", "auto"), "sdr", **more)
        return Scorer(job).run(track)

    return run


def write_estimates(folder, names=STEMS, gain=0.9):
    for name in names:
        write(folder / "test" / "song" / f"{name}.wav", gain * stems(0, SECONDS)[name], subtype="FLOAT")
    return str(folder)


def warnings(outcome):
    return [event.message for event in outcome.events if isinstance(event, Warned)]


def bug(*arguments):
    raise ZeroDivisionError("in a score")


def test_a_track_without_a_stem_of_its_data_set_fails_with_8_and_names_it(song, score):
    (song.path / "bass.wav").unlink()
    outcome = score(folder_track(song.path, "test", required=STEMS))
    assert outcome.scores is None
    assert (outcome.failure.code, outcome.failure.path) == (ExitCode.DATASET, str(song.path))
    assert outcome.failure.message == "no reference `bass`"


def test_a_missing_estimate_is_said_each_time_with_its_stem(song, score, tmp_path):
    folder = write_estimates(tmp_path / "mine", ("vocals", "drums"))
    for kept in (False, True):
        outcome = score(song, "estimates", folder)
        assert outcome.kept is kept
        assert warnings(outcome) == ["no estimate of `bass`, `other`: not scored, nor part of a summed accompaniment"]
        assert [event.path for event in outcome.events] == [song.path]


def test_nothing_is_missing_where_vocals_and_accompaniment_are_asked_for(song, score, tmp_path):
    folder = write_estimates(tmp_path / "mine", ("vocals",))
    assert warnings(score(song, "estimates", folder, scenario="vocals-accompaniment")) == []


def test_a_fault_of_the_listing_is_the_failure_of_the_track(song, score):
    write(song.path / "vocals.flac", stems(0, SECONDS)["vocals"])
    failure = score(folder_track(song.path, "test")).failure
    assert (failure.code, failure.message) == (ExitCode.DATASET, "holds `vocals.flac` and `vocals.wav`")


def test_any_exception_is_the_failure_of_its_track_and_the_next_goes_on(song, tmp_path):
    impossible = Part(Path("a\0b.wav"))  # the system refuses the name with ValueError, which nobody expects
    track = Track("odd", "test", tmp_path, Signal((impossible,)), (("vocals", Signal((impossible,))),))
    scorer = Scorer(Job(SystemRequest("baseline", threads=1), tmp_path / "out", "auto", "sdr"))
    outcome = scorer.run(track)
    assert outcome.failure.code == ExitCode.INTERNAL
    assert outcome.failure.message.startswith("internal error: ValueError: ")
    (event,) = [event for event in outcome.events if isinstance(event, InternalError)]
    assert event.path == tmp_path
    saved = Path(outcome.failure.hint.split("`")[1])
    assert event.traceback in saved.read_text()
    assert scorer.run(track).failure.hint == outcome.failure.hint  # the same bug is saved once
    saved.unlink()
    assert scorer.run(song).failure is None


def test_lack_of_memory_is_no_bug(song, score, monkeypatch):
    def exhausted(*arguments):
        raise MemoryError

    monkeypatch.setattr(track_job, "plan_groups", exhausted)
    outcome = score(song)
    assert (outcome.failure.code, outcome.failure.message) == (ExitCode.MEMORY, "out of memory")
    assert not outcome.events


@pytest.mark.parametrize("debug", [False, True])
def test_debug_shows_the_traceback_of_a_track_and_the_run_goes_on(song, tmp_path, capsys, monkeypatch, debug):
    write_folder(tmp_path / "songs" / "zone", seconds=SECONDS)
    whole = track_job.museval_json
    monkeypatch.setattr(
        track_job, "museval_json", lambda scores, **more: bug() if scores.name == "song" else whole(scores, **more)
    )
    line = ["evaluate", "--baseline-mixture", "--dataset", "folders", "--root", str(tmp_path / "songs")]
    line += ["-o", str(tmp_path / "out"), "--scores", "sdr", *(["--debug"] if debug else [])]
    assert main(line) == 1
    said = capsys.readouterr().err
    assert ("Traceback (most recent call last)" in said) is debug
    assert "song: internal error: ZeroDivisionError: in a score; this is a bug; please report it with `" in said
    Path(said.split("report it with `")[1].split("`")[0]).unlink()
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [track["name"] for track in document["tracks"]] == ["zone"]


def test_scores_of_other_estimates_are_gone_when_the_track_fails(song, score, tmp_path):
    folder = write_estimates(tmp_path / "mine")
    target = tmp_path / "out" / "test" / "song.json"
    assert score(song, "estimates", folder).failure is None
    assert target.is_file()
    (tmp_path / "mine" / "test" / "song" / "bass.wav").write_text("no audio\n" * 99)
    assert score(song, "estimates", folder).failure.code == ExitCode.INPUT
    assert not target.exists()


@pytest.mark.parametrize("damage", ["replaced", "removed"])
def test_a_file_of_other_scores_is_written_anew_from_the_record(song, score, tmp_path, damage):
    target = tmp_path / "out" / "test" / "song.json"
    score(song)
    right = target.read_bytes()
    if damage == "removed":
        target.unlink()
    else:
        target.write_text(right.decode().replace("SDR", "RDS"))
    assert score(song).kept
    assert target.read_bytes() == right


def saved_gain(folder):
    vocals, _ = soundfile.read(folder / "vocals.wav", dtype="float32")
    return round(float(np.abs(vocals).sum() / np.abs(stems(0, SECONDS)["vocals"]).sum()), 4)


def test_saved_estimates_are_those_of_the_run_that_was_last(song, score, tmp_path):
    kept = tmp_path / "kept"
    folder = kept / "test" / "song"
    for name, gain in (("first", 0.5), ("second", 0.25), ("first", 0.5)):
        source = write_estimates(tmp_path / name, gain=gain)
        outcome = score(song, "estimates", source, save_estimates=kept)
        assert outcome.failure is None
        assert saved_gain(folder) == gain
        assert saved_by(folder) == outcome.system


def test_saved_estimates_that_were_touched_are_made_again(song, score, tmp_path):
    kept = tmp_path / "kept"
    source = write_estimates(tmp_path / "mine", gain=0.5)
    folder = kept / "test" / "song"
    assert not score(song, "estimates", source, save_estimates=kept).kept
    assert score(song, "estimates", source, save_estimates=kept).kept
    write(folder / "vocals.wav", stems(0, SECONDS)["vocals"], subtype="FLOAT")
    assert saved_by(folder) is None
    assert not score(song, "estimates", source, save_estimates=kept).kept
    assert saved_gain(folder) == 0.5
    (folder / "bass.wav").unlink()
    assert not score(song, "estimates", source, save_estimates=kept).kept
    assert (folder / "bass.wav").is_file()


def test_stems_that_a_system_does_not_have_are_removed_with_those_of_the_earlier_one(song, score, tmp_path):
    kept = tmp_path / "kept"
    assert score(song, save_estimates=kept).failure is None
    assert (kept / "test" / "song" / "accompaniment.wav").is_file()
    source = write_estimates(tmp_path / "mine", ("vocals", "drums"))
    assert score(song, "estimates", source, save_estimates=kept).failure is None
    assert sorted(path.name for path in (kept / "test" / "song").glob("*.*")) == [
        ".estimates.json", "drums.wav", "vocals.wav"
    ]  # fmt: skip


def test_stems_of_unknown_origin_are_neither_removed_nor_taken_for_the_systems(song, score, tmp_path):
    foreign = write(tmp_path / "kept" / "test" / "song" / "bass.flac", stems(0, SECONDS)["bass"])
    failure = score(song, save_estimates=tmp_path / "kept").failure
    assert failure.code == ExitCode.OUTPUT
    assert failure.message == "holds `bass.flac`, which would pass for an estimate"
    assert failure.hint == "choose an empty folder for `--save-estimates`"
    assert foreign.is_file()


def test_a_failed_save_leaves_no_half_stem_and_no_proof(song, score, tmp_path, monkeypatch):
    from mss_cli.evaluation import saved_estimates

    kept = tmp_path / "kept"
    whole, made = saved_estimates.encode, []

    def one_then_none(*arguments, **more):
        made.append(arguments[1])
        return whole(*arguments, **more) if len(made) == 1 else bug()

    monkeypatch.setattr(saved_estimates, "encode", one_then_none)
    failure = score(song, save_estimates=kept).failure
    Path(failure.hint.split("`")[1]).unlink()
    assert [path.name for path in (kept / "test" / "song").iterdir()] == [".estimates.json"]
    assert saved_by(kept / "test" / "song") is None
    monkeypatch.undo()
    assert score(song, save_estimates=kept).failure is None
    assert saved_by(kept / "test" / "song").kind == "baseline"


def test_a_bug_while_a_worker_opens_the_system_ends_the_run(song, tmp_path, monkeypatch):
    from mss_cli.evaluation.workers import _outcome

    monkeypatch.setattr(track_job, "open_system", bug)
    scorer = Scorer(Job(SystemRequest("baseline", threads=1), tmp_path / "out", "auto", "sdr"))
    failure = _outcome(scorer, song).failure
    assert failure.fatal
    assert failure.message == "internal error: ZeroDivisionError: in a score"
    assert failure.hint == "this is a bug; run with `--jobs 1` to save a traceback"
