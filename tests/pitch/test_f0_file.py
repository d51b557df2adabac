import numpy as np
import pytest
import torch

from mss_cli.errors import ExitCode, InputError, OutputError
from mss_cli.pitch.estimate import MOST_VOICES, read_pitches
from mss_cli.pitch.f0_file import read_f0, save_f0
from mss_cli.pitch.picture import save_picture
from mss_models.salience import render

HOP = 0.01


def salience(*voices):
    """Salience of voices given in Hz per frame, each a tenth less salient than the one before it."""
    ridges = [(1 - 0.1 * n) * render(torch.tensor([voice]))[0] for n, voice in enumerate(voices)]
    return torch.stack(ridges).amax(dim=0).numpy()


def estimated(*voices, cuts=()):
    pieces = np.split(salience(*voices), cuts, axis=1)
    return read_pitches(pieces, hop_seconds=HOP, threshold=0.4)


def test_one_line_a_frame_with_0_hz_where_there_is_no_pitch(tmp_path):
    save_f0(estimated([32.7 * 2, 0.0, 32.7 * 4]), tmp_path / "a.f0.csv")
    lines = (tmp_path / "a.f0.csv").read_text().splitlines()
    assert lines == [
        "time,frequency,confidence",
        "0.000000000,65.400,1.0000",
        "0.010000000,0.000,0.0000",
        "0.020000000,130.800,1.0000",
    ]


def test_further_voices_stand_in_further_columns(tmp_path):
    save_f0(estimated([65.4, 65.4], [0.0, 130.8]), tmp_path / "a.csv")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] == "time,frequency,confidence,frequency2,confidence2"
    assert lines[1] == "0.000000000,65.400,1.0000,0.000,0.0000"
    assert lines[2] == "0.010000000,65.400,1.0000,130.800,0.9000"


def test_an_unvoiced_frame_keeps_its_confidence():
    estimate = read_pitches([0.3 * salience([65.4])], hop_seconds=HOP, threshold=0.4)
    assert estimate.frequencies.tolist() == [[0.0]]
    assert estimate.confidences[0, 0] == pytest.approx(0.3)


def test_how_the_salience_was_cut_changes_nothing():
    voices = [110.0] * 30, [0.0] * 20 + [220.0] * 10
    whole, cut = estimated(*voices), estimated(*voices, cuts=[1, 7, 25])
    np.testing.assert_array_equal(whole.frequencies, cut.frequencies)
    np.testing.assert_array_equal(whole.confidences, cut.confidences)
    np.testing.assert_array_equal(whole.columns, cut.columns)


def test_only_the_most_salient_voices_are_kept():
    voices = [[60.0 * 1.5**n] for n in range(8)]
    estimate = estimated(*voices)
    np.testing.assert_allclose(estimate.frequencies[:, 0], [v[0] for v in voices[:MOST_VOICES]], rtol=1e-3)


def test_a_long_track_needs_no_larger_picture():
    frames = 5000
    piece = np.zeros((360, frames), np.float32)
    piece[100, 4321] = 0.7
    estimate = read_pitches([piece], hop_seconds=HOP, threshold=0.4)
    assert estimate.columns.shape[1] <= 2048
    assert estimate.columns[100, 4321 // estimate.frames_per_column] == np.float32(0.7)
    assert np.count_nonzero(estimate.columns) == 1


def test_the_file_reads_back_and_mir_eval_reads_it_too(tmp_path):
    mir_eval = pytest.importorskip("mir_eval")
    pitch = [0.0, 220.0, 221.5, 0.0, 880.25]
    save_f0(estimated(pitch), tmp_path / "a.csv")
    times, frequencies = read_f0(tmp_path / "a.csv")
    np.testing.assert_allclose(times, HOP * np.arange(5))
    np.testing.assert_allclose(frequencies, pitch, rtol=1e-5)
    (tmp_path / "plain.csv").write_text("".join(f"{t},{f}\n" for t, f in zip(times, frequencies, strict=True)))
    theirs = mir_eval.io.load_time_series(str(tmp_path / "plain.csv"), delimiter=",")
    np.testing.assert_allclose(np.stack(theirs), np.stack(read_f0(tmp_path / "plain.csv")))
    scores = mir_eval.melody.evaluate(*theirs, times, np.array(pitch))
    assert scores["Raw Pitch Accuracy"] == scores["Overall Accuracy"] == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [("time,frequency\n0,x\n", "line 2 is no time and frequency"), ("0.5\n", "line 1"), ("", "no frames")],
)
def test_what_is_no_f0_file_is_refused_with_its_line(tmp_path, text, reason):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(InputError, match=rf"bad.csv: cannot read pitches: .*{reason}"):
        read_f0(tmp_path / "bad.csv")


def test_a_picture_is_a_png_of_any_title(tmp_path):
    pytest.importorskip("matplotlib")
    for name in ("plain", "a $b$ [live] ü.mp3", "\udcff"):
        save_picture(estimated([110.0, 0.0, 220.0]), tmp_path / "a.png", title=name)
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    save_picture(estimated([0.0]), tmp_path / "b.png", title="silence")
    assert (tmp_path / "b.png").stat().st_size > 0


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"nowhere/a.csv: cannot write") as caught:
        save_f0(estimated([110.0]), tmp_path / "nowhere" / "a.csv")
    assert caught.value.code == ExitCode.OUTPUT
