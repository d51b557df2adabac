"""Pitch in `mss-cli evaluate`: labels beside true stems, f0 files beside estimates, models that tell it."""

import csv

import numpy as np
import pytest

from evaluate_runs import evaluate, events, results, write_estimates
from mss_cli.evaluation.pitch_scores import score_f0
from mss_cli.main import main

TIMES = 0.01 * np.arange(8)
TRUE = [220.0] * 4 + [0.0] * 4
# Of the voiced frames two are right and one is an octave off; of the others one is voiced.
MADE = [220.0, 221.0, 440.0, 0.0, 0.0, 0.0, 0.0, 100.0]
SHARES = {"RPA": 0.5, "RCA": 0.75, "OA": 0.625, "VR": 0.75, "VFA": 0.25}


def write_f0(path, frequencies):
    rows = zip(TIMES, frequencies, strict=True)
    path.write_text("time,frequency,confidence\n" + "".join(f"{time:.9f},{hz:.3f},0.9\n" for time, hz in rows))


@pytest.fixture
def labelled(songs, tmp_path):
    """Songs of which `one` and `two` have labels, and estimates that tell both."""
    folder = write_estimates(songs, tmp_path / "mine")
    for name, made in (("one", MADE), ("two", TRUE)):
        write_f0(songs / name / "f0.csv", TRUE)
        write_f0(folder / "test" / name / "vocals.f0.csv", made)
    return songs, folder


def test_shares_of_right_frames_stand_in_every_file(labelled, tmp_path, capsys):
    songs, folder = labelled
    assert evaluate(songs, tmp_path / "out", "--estimates", str(folder)) == 0
    shown = capsys.readouterr().out
    assert "pitch of the vocals" in shown
    assert "2 of 3" in shown
    document = results(tmp_path / "out")
    pitch = {track["name"]: track.get("pitch") for track in document["tracks"]}
    assert pitch == {"one": SHARES, "two": {"RPA": 1, "RCA": 1, "OA": 1, "VR": 1, "VFA": 0}, "three": None}
    assert document["pitch"]["RPA"]["mean"] == 0.75
    assert document["pitch"]["OA"]["minimum"] == 0.625
    assert document["pitch"]["OA"]["scored_tracks"] == 2
    with (tmp_path / "out" / "scores.csv").open() as file:
        rows = {(row["track"], row["metric"]): row["mean"] for row in csv.DictReader(file)}
    assert rows["one", "RCA"] == "0.750000"
    assert ("three", "RPA") not in rows
    assert "RPA" not in (tmp_path / "out" / "test" / "one.json").read_text()


def test_without_labels_the_files_say_nothing_of_pitch(songs, tmp_path, capsys):
    assert evaluate(songs, tmp_path / "out", "--baseline-mixture") == 0
    assert "pitch" not in capsys.readouterr().out
    assert "pitch" not in (tmp_path / "out" / "results.json").read_text()


def test_scores_of_pitch_are_kept_until_labels_or_estimates_change(labelled, tmp_path, capsys):
    songs, folder = labelled
    flags = ("--estimates", str(folder), "--json")

    def kept():
        return {event["track"]: event["kept"] for event in events(capsys) if event["event"] == "track_scored"}

    assert evaluate(songs, tmp_path / "out", *flags) == 0
    before = (tmp_path / "out" / "results.json").read_bytes()
    assert not any(kept().values())
    assert evaluate(songs, tmp_path / "out", *flags) == 0
    assert all(kept().values())
    assert (tmp_path / "out" / "results.json").read_bytes() == before
    write_f0(songs / "one" / "f0.csv", MADE)
    write_f0(folder / "test" / "two" / "vocals.f0.csv", [110.0] * 8)
    assert evaluate(songs, tmp_path / "out", *flags) == 0
    assert kept() == {"one": False, "two": False, "three": True}
    scores = {track["name"]: track.get("pitch") for track in results(tmp_path / "out")["tracks"]}
    assert scores["one"]["OA"] == 1
    assert (scores["two"]["RPA"], scores["two"]["RCA"]) == (0, 1)


def test_labels_without_a_voiced_frame_score_no_pitch_and_are_not_averaged(labelled, tmp_path):
    songs, folder = labelled
    write_f0(songs / "one" / "f0.csv", [0.0] * 8)
    assert evaluate(songs, tmp_path / "out", "--estimates", str(folder)) == 0
    document = results(tmp_path / "out")
    first = next(track["pitch"] for track in document["tracks"] if track["name"] == "one")
    assert (first["RPA"], first["VR"], first["OA"]) == (None, None, 0.5)
    over = document["pitch"]["RPA"]
    assert (over["mean"], over["scored_tracks"], over["tracks"]) == (1, 1, 2)


def test_labels_that_cannot_be_read_cost_their_track(labelled, tmp_path, capsys):
    songs, folder = labelled
    (songs / "one" / "f0.csv").write_text("time,frequency\nzero,much\n")
    assert evaluate(songs, tmp_path / "out", "--estimates", str(folder)) == 1
    assert "f0.csv: cannot read pitches: line 2" in capsys.readouterr().err
    assert [track["name"] for track in results(tmp_path / "out")["tracks"]] == ["three", "two"]


@pytest.mark.parametrize(
    ("least", "code", "said"),
    [
        ("vocals.rpa.mean=0.75", 0, ""),
        ("vocals.oa=0.9", 1, "vocals OA median: 0.81, at least 0.90 required"),
        ("vocals.vfa=0.1", 2, "`vfa` is no metric"),
        ("drums.rpa=0.1", 2, "pitch is scored of `vocals` only"),
    ],
)
def test_a_least_pitch_can_be_required(labelled, tmp_path, capsys, least, code, said):
    songs, folder = labelled
    assert evaluate(songs, tmp_path / "out", "--estimates", str(folder), "--fail-under", least) == code
    assert said in capsys.readouterr().err


def test_a_least_pitch_without_labels_is_refused(songs, tmp_path, capsys):
    assert evaluate(songs, tmp_path / "out", "--baseline-mixture", "--fail-under", "vocals.rpa=0.1") == 2
    assert "no track has labels of pitch" in capsys.readouterr().err


@pytest.fixture
def joint(tmp_path):
    """A checkpoint of vocals and pitch with random weights."""
    import torch

    from mss_cli.weights.store import Card, save_checkpoint
    from mss_models.catalog import build, configuration_of

    torch.manual_seed(0)
    separator = build("vocal-pitch-unet", {
        "wiring": "source-to-pitch", "sample_rate": 22050, "channels": 1, "n_fft": 1024, "hop_length": 256,
        "bins": 512, "segment_frames": 32, "levels": 2, "base_channels": 4, "dropout_layers": 0,
        "normalization": "peak",
    })  # fmt: skip
    made = configuration_of(separator)
    card = Card("joint", made.architecture, made.settings, separator.stems, separator.sample_rate, "none", "MIT")
    save_checkpoint(tmp_path / "joint.safetensors", separator.state_dict(), card)
    return tmp_path / "joint.safetensors"


def test_a_model_that_tells_pitch_scores_as_its_own_f0_file_does(songs, joint, tmp_path):
    pytest.importorskip("matplotlib")
    song = songs / "one"
    stems = tmp_path / "stems"
    write_f0(song / "f0.csv", TRUE)
    model = ["--model", str(joint), "--device", "cpu"]
    assert main(["separate", str(song / "mixture.wav"), *model, "-o", str(stems), "--pitch", "-q"]) == 0
    (written,) = stems.rglob("*.f0.csv")
    expected = score_f0(written, song / "f0.csv")
    assert evaluate(songs, tmp_path / "out", "--tracks", "one", *model) == 0
    (track,) = results(tmp_path / "out")["tracks"]
    assert track["pitch"]["RPA"] == pytest.approx(expected.raw_pitch_accuracy, abs=1e-6)
    assert track["pitch"]["OA"] == pytest.approx(expected.overall_accuracy, abs=1e-6)


def test_a_model_that_tells_none_has_no_scores_of_pitch(labelled, tiny, tmp_path):
    songs, _ = labelled
    assert evaluate(songs, tmp_path / "out", "--tracks", "one", "--model", str(tiny), "--device", "cpu") == 0
    assert "pitch" not in results(tmp_path / "out")["tracks"][0]
