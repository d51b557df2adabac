import numpy as np
import pytest

from mss_cli.errors import InputError
from mss_cli.evaluation.pitch_scores import read_labels, score_f0
from mss_cli.evaluation.pitch_values import PitchScores


def write(path, times, frequencies):
    path.write_text(
        "time,frequency,confidence\n"
        + "".join(f"{t:.9f},{f:.4f},0.9\n" for t, f in zip(times, frequencies, strict=True))
    )
    return path


def test_labels_of_ikala_are_note_numbers_every_32_ms(tmp_path):
    (tmp_path / "10161_chorus.pv").write_text("0\n69\n57.5\n")
    times, frequencies = read_labels(tmp_path / "10161_chorus.pv")
    np.testing.assert_allclose(times, [0, 0.032, 0.064])
    np.testing.assert_allclose(frequencies, [0, 440, 220 * 2 ** (0.5 / 12)])


def test_shares_of_right_frames(tmp_path):
    times = 0.01 * np.arange(8)
    labels = write(tmp_path / "labels.csv", times, [220.0] * 4 + [0.0] * 4)
    estimate = write(tmp_path / "f0.csv", times, [220.0, 225.0, 440.0, 0.0, 0.0, 0.0, 0.0, 100.0])
    scores = score_f0(estimate, labels)
    assert scores.raw_pitch_accuracy == 2 / 4
    assert scores.raw_chroma_accuracy == 3 / 4
    assert scores.overall_accuracy == (2 + 3) / 8


def test_scores_are_those_of_mir_eval_on_another_grid_of_times(tmp_path):
    mir_eval = pytest.importorskip("mir_eval")
    random = np.random.default_rng(0)
    numbers = np.where(random.random(200) < 0.3, 0, 60 + random.normal(0, 0.3, 200))
    (tmp_path / "a.pv").write_text("".join(f"{number}\n" for number in numbers))
    times = 256 / 22050 * np.arange(540)
    found = np.where(random.random(540) < 0.3, 0, 262 * 2 ** (random.normal(0, 0.4, 540) / 12)).round(4)
    scores = score_f0(write(tmp_path / "f0.csv", times, found), tmp_path / "a.pv")
    theirs = mir_eval.melody.evaluate(*read_labels(tmp_path / "a.pv"), times.round(9), found)
    assert scores.raw_pitch_accuracy == pytest.approx(theirs["Raw Pitch Accuracy"])
    assert scores.raw_chroma_accuracy == pytest.approx(theirs["Raw Chroma Accuracy"])
    assert scores.overall_accuracy == pytest.approx(theirs["Overall Accuracy"])


@pytest.mark.parametrize("text", ["", "sixty\n"])
def test_what_are_no_labels_is_refused_by_name(tmp_path, text):
    (tmp_path / "a.pv").write_text(text)
    with pytest.raises(InputError, match=r"a\.pv: cannot read labels"):
        read_labels(tmp_path / "a.pv")


def test_times_that_fall_are_refused_by_name(tmp_path):
    good = write(tmp_path / "good.csv", [0.0, 0.1], [220.0, 220.0])
    bad = write(tmp_path / "bad.csv", [0.1, 0.0], [220.0, 220.0])
    with pytest.raises(InputError, match=r"bad\.csv: times do not rise"):
        score_f0(bad, good)


def test_shares_of_no_frames_are_no_numbers(tmp_path):
    times = [0.0, 0.1]
    silent, voiced = write(tmp_path / "silent.csv", times, [0, 0]), write(tmp_path / "voiced.csv", times, [220, 220])
    of_silence, of_voice = score_f0(voiced, silent), score_f0(voiced, voiced)
    assert np.isnan([of_silence.raw_pitch_accuracy, of_silence.raw_chroma_accuracy, of_silence.voicing_recall]).all()
    assert (of_silence.overall_accuracy, of_silence.voicing_false_alarm) == (0, 1)
    assert np.isnan(of_voice.voicing_false_alarm)
    assert PitchScores.from_json(of_voice.to_json()).raw_pitch_accuracy == 1
