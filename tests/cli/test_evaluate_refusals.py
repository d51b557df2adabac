import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evaluate_runs import evaluate, write_estimates
from made_songs import STEMS, stems, write, write_folder
from mss_cli.main import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("flags", "code", "line"),
    [
        ([], 2, "nothing to evaluate is named; give exactly one of --model, --estimates, --oracle, --baseline-mixture"),
        (["--oracle", "irm1", "--baseline-mixture"], 2, "--oracle and --baseline-mixture are given"),
        (["--oracle", "irm3"], 2, "`--oracle irm3` is not known; use one of irm1"),
        (["--model", "clasical"], 2, "did you mean `classical`?"),
        (["--baseline-mixture", "--dataset", "musdb"], 2, "no data set is called `musdb`"),
        (["--baseline-mixture", "--scenario", "both"], 2, "`--scenario both` is not known"),
        (["--baseline-mixture", "--scores", "fast"], 2, "`--scores fast` is not known"),
        (["--baseline-mixture", "--fail-under", "vocals"], 2, "`--fail-under vocals` has another form"),
        (
            ["--baseline-mixture", "--fail-under", "vocal=1"],
            2,
            "`vocal`, which is not scored here; did you mean `vocals`",
        ),
        (["--baseline-mixture", "--fail-under", "vocals.sir=1"], 2, "`--scores sdr` does not make SIR"),
        (["--baseline-mixture", "--fail-under", "bass=1", "--scenario", "vocals-accompaniment"], 2, "stem `bass`"),
        (["--baseline-mixture", "--fail-under", "accompaniment=1", "--scenario", "four-stems"], 2, "not scored here"),
        (["--oracle", "irm1", "--device", "foo"], 2, "no device is called `foo`; use `auto`"),
        (["--oracle", "irm1", "--device", "cuda"], 2, "`--device cuda` is for `--model`"),
        (["--model", "classical", "--device", "cuda:x"], 2, "no device is called `cuda:x`"),
        (["--baseline-mixture", "--tracks", "one,two,"], 2, "`--tracks one,two,` has an empty name"),
        (["--baseline-mixture", "--tracks", ""], 2, "`--tracks ` has an empty name"),
        (["--baseline-mixture", "--against", "irm9"], 2, "neither a file nor a published system"),
        (["--baseline-mixture", "--against", "irm1", "--tolerance", "inf"], 2, "`--tolerance inf` is no finite number"),
        (["--baseline-mixture", "--against", "irm1", "--tolerance", "nan"], 2, "--tolerance"),
        (["--baseline-mixture", "--against", "irm1", "--tolerance", "-0.1"], 2, "--tolerance"),
        (["--model", "classical", "--segment-seconds", "inf"], 2, "`--segment-seconds inf` is no finite number"),
        (["--model", "classical", "--overlap", "nan"], 2, "--overlap"),
        (["--baseline-mixture", "--compare", "no.json"], 3, "no.json: cannot be read"),
        (["--baseline-mixture", "--root", "nowhere"], 8, "nowhere: no such folder"),
        (["--baseline-mixture", "--root", "empty"], 8, "empty: no track of folders found; it should hold"),
        (["--baseline-mixture", "--tracks", "four"], 8, "no track is called `four`"),
        (["--estimates", "nowhere"], 3, "nowhere: no such folder"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(songs, tmp_path, capsys, monkeypatch, flags, code, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert evaluate(songs, tmp_path / "out", *flags) == code
    captured = capsys.readouterr()
    assert line in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out" / "results.json").exists()


def test_tracks_without_the_reference_they_need_end_with_8(tmp_path, capsys):
    write_folder(tmp_path / "songs" / "a", seconds=0.5, names=("drums", "bass"))
    flags = ("--baseline-mixture", "--scenario", "vocals-accompaniment")
    assert evaluate(tmp_path / "songs", tmp_path / "out", *flags) == 8
    assert "nothing to score: vocals and another stem needed" in capsys.readouterr().err
    write(tmp_path / "bare" / "b" / "mixture.wav", stems(0, 0.5)["bass"])
    assert evaluate(tmp_path / "bare", tmp_path / "out", "--baseline-mixture") == 8
    assert "no reference" in capsys.readouterr().err


def test_missing_estimates_of_a_track_are_an_error_of_that_track(songs, tmp_path, capsys):
    folder = write_estimates(songs, tmp_path / "mine")
    shutil.rmtree(folder / "test" / "two")
    assert evaluate(songs, tmp_path / "out", "--estimates", str(folder)) == 1
    assert "two: no estimates there; expected <subset>/<track>/<stem>.wav" in capsys.readouterr().err


def test_estimates_at_another_rate_are_resampled_and_of_other_channels_refused(songs, tmp_path, capsys):
    folder = write_estimates(songs, tmp_path / "mine")
    for stem in STEMS:
        low = folder / "test" / "one" / f"{stem}.wav"
        write(low, stems(0, 2.1)[stem][:, ::2], rate=22050, subtype="FLOAT")
        write(folder / "test" / "two" / f"{stem}.wav", stems(1, 2.1)[stem][:1], subtype="FLOAT")
    assert evaluate(songs, tmp_path / "out", "--estimates", str(folder)) == 1
    said = capsys.readouterr().err
    assert "at 22050 Hz: resampled to the 44100 Hz of the references" in said
    assert "1 channels, the references have 2" in said


def test_help_and_usage_errors_import_no_torch():
    code = "import sys; from mss_cli.main import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    for flags in (["evaluate", "--help"], ["evaluate"], ["evaluate", "--model", "clasical"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *flags], capture_output=True, text=True, check=True, cwd=ROOT
        )
        assert done.stdout.rstrip().endswith("False")


def test_what_is_evaluated_is_never_written_over(songs, tmp_path, capsys):
    arguments = ["evaluate", "--baseline-mixture", "--dataset", "folders", "--root", str(songs), "--scores", "sdr"]
    assert main([*arguments, "-o", str(tmp_path / "a"), "--save-estimates", str(songs)]) == 2
    assert "would write over what is evaluated" in capsys.readouterr().err
    own = tmp_path / "a" / "results.json"
    assert main([*arguments, "-o", str(tmp_path / "a")]) == 0
    assert main([*arguments, "-o", str(tmp_path / "a"), "--against", str(own)]) == 2
    assert "would replace the results it is compared with" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="pipes of a POSIX shell")
def test_a_reader_that_goes_away_ends_the_run_silently_by_141(songs, tmp_path):
    line = [sys.executable, "-m", "mss_cli", "evaluate", "--baseline-mixture", "--dataset", "folders"]
    line += ["--root", str(songs), "-o", str(tmp_path / "out"), "--published", "all", "--scores", "sdr"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 141
    assert "error" not in errors
    assert "Traceback" not in errors
    assert (tmp_path / "out" / "results.json").is_file()
