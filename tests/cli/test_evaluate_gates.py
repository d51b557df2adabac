import json
import re

import pytest

from evaluate_runs import evaluate, results, write_estimates


def test_gates_end_with_1_and_say_what_was_missed(songs, tmp_path, capsys):
    folder = write_estimates(songs, tmp_path / "mine")
    flags = ("--estimates", str(folder))
    assert (
        evaluate(songs, tmp_path / "out", *flags, "--fail-under", "vocals=19.9", "--fail-under", "bass.usdr.mean=19.9")
        == 0
    )
    capsys.readouterr()
    assert evaluate(songs, tmp_path / "out", *flags, "--fail-under", "vocals=20.1") == 1
    captured = capsys.readouterr()
    assert "vocals SDR median: 20.00 dB, at least 20.10 dB required" in captured.err
    assert "MISSED" in captured.out


def test_a_drop_of_a_tenth_of_a_decibel_fails(songs, tmp_path, capsys):
    good = write_estimates(songs, tmp_path / "good", gain=0.9)
    worse = write_estimates(songs, tmp_path / "worse", gain=1 - 0.1 * 10 ** (0.1 / 20))
    assert evaluate(songs, tmp_path / "a", "--estimates", str(good)) == 0
    expected = str(tmp_path / "a" / "results.json")
    assert evaluate(songs, tmp_path / "b", "--estimates", str(good), "--against", expected) == 0
    capsys.readouterr()
    assert evaluate(songs, tmp_path / "c", "--estimates", str(worse), "--against", expected) == 1
    assert re.search(r"vocals SDR +19\.90 +20\.00 +-0\.10 +3 of 3 +FELL", capsys.readouterr().out)
    assert evaluate(songs, tmp_path / "c", "--estimates", str(worse), "--against", expected, "--tolerance", "0.2") == 0


def test_runs_are_compared_in_pairs(songs, tmp_path, capsys):
    good = write_estimates(songs, tmp_path / "good", gain=0.9)
    worse = write_estimates(songs, tmp_path / "worse", gain=0.8)
    assert evaluate(songs, tmp_path / "a", "--estimates", str(worse)) == 0
    capsys.readouterr()
    assert evaluate(songs, tmp_path / "b", "--estimates", str(good), "--compare", str(tmp_path / "a/results.json")) == 0
    assert re.search(r"good - worse +vocals +3 +\+6\.02", capsys.readouterr().out)


def test_a_report_of_two_runs_can_be_heard(songs, tmp_path, capsys):
    pytest.importorskip("jinja2")
    write_estimates(songs, tmp_path / "first" / "estimates", gain=0.8)
    assert evaluate(songs, tmp_path / "first", "--estimates", str(tmp_path / "first" / "estimates")) == 0
    flags = ("--oracle", "irm1", "--compare", str(tmp_path / "first" / "results.json"))
    assert evaluate(songs, tmp_path / "out", *flags, "--report", str(tmp_path / "page")) == 0
    page = (tmp_path / "page" / "index.html").read_text()
    assert (tmp_path / "out" / "estimates" / "test" / "one" / "bass.wav").is_file()
    assert page.count("data:audio/mpeg") == 3 * 4 * 4  # tracks, stems, versions: mixture, reference, both runs
    assert str(tmp_path) not in page


def test_a_report_never_plays_stems_that_another_system_saved(songs, tmp_path, capsys):
    pytest.importorskip("jinja2")
    assert evaluate(songs, tmp_path / "first", "--oracle", "irm1") == 0
    other = ("--oracle", "ibm1", "--save-estimates", str(tmp_path / "first" / "estimates"))
    assert evaluate(songs, tmp_path / "other", *other) == 0
    flags = ("--oracle", "irm2", "--compare", str(tmp_path / "first" / "results.json"))
    assert evaluate(songs, tmp_path / "out", *flags, "--report", str(tmp_path / "page")) == 0
    page = (tmp_path / "page" / "index.html").read_text()
    assert page.count("data:audio/mpeg") == 3 * 4 * 3  # not a fourth version: those stems are ibm1's


def without_scores(path):
    """Make every number of a results file null."""
    document = json.loads(path.read_text())
    for track in document["tracks"]:
        for stem in track["stems"].values():
            stem["frames"] = {metric: [None] * len(values) for metric, values in stem["frames"].items()}
    path.write_text(json.dumps(document))
    return path


def test_an_expectation_without_a_finite_score_is_refused(songs, tmp_path, capsys):
    assert evaluate(songs, tmp_path / "a", "--baseline-mixture") == 0
    expected = without_scores(tmp_path / "a" / "results.json")
    assert evaluate(songs, tmp_path / "b", "--baseline-mixture", "--against", str(expected)) == 2
    assert "has no finite score of the tracks and metrics of this run" in capsys.readouterr().err
    assert evaluate(songs, tmp_path / "b", "--baseline-mixture", "--compare", str(expected)) == 2
    assert "has no score of a track of this run" in capsys.readouterr().err
    expected.write_text(expected.read_text().replace("null", "NaN", 1))
    for flag in ("--against", "--compare"):
        assert evaluate(songs, tmp_path / "b", "--baseline-mixture", flag, str(expected)) == 3
        assert "results.json: not a results file: `NaN` where a number or null is needed" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_a_baseline_with_more_metrics_is_compared_where_asked_and_the_rest_named(songs, tmp_path, capsys):
    flags = ("--oracle", "irm1", "--tracks", "one")
    assert evaluate(songs, tmp_path / "a", *flags, scores="full") == 0
    expected = str(tmp_path / "a" / "results.json")
    capsys.readouterr()
    assert evaluate(songs, tmp_path / "b", *flags, "--against", expected, scores="sdr") == 0
    captured = capsys.readouterr()
    line = "not compared, as this run was not asked for them: ISR, SIR, SAR"
    assert f"warning: {line}" in captured.err
    assert line in captured.out


def test_runs_without_a_track_in_common_are_refused_before_scoring(songs, tmp_path, capsys):
    assert evaluate(songs, tmp_path / "a", "--baseline-mixture", "--tracks", "one") == 0
    other = str(tmp_path / "a" / "results.json")
    for flag, line in (("--against", "no track in common"), ("--compare", "has no score of a track of this run")):
        capsys.readouterr()
        assert evaluate(songs, tmp_path / "b", "--baseline-mixture", "--tracks", "two", flag, other) == 2
        assert line in capsys.readouterr().err
        assert not (tmp_path / "b").exists()


def test_runs_of_another_kind_of_score_are_refused_before_scoring(songs, tmp_path, capsys):
    assert evaluate(songs, tmp_path / "a", "--baseline-mixture", "--tracks", "one") == 0
    other = tmp_path / "a" / "results.json"
    other.write_text(other.read_text().replace("bsseval_v4", "bsseval_v3"))
    for flag in ("--against", "--compare"):
        assert evaluate(songs, tmp_path / "b", "--baseline-mixture", flag, str(other)) == 2
        assert "its scores are of another kind (bsseval_v3" in capsys.readouterr().err
        assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(("flag", "line"), [("--against", "vocals SDR: no score, "), ("--compare", "no scored track")])
def test_a_comparison_whose_common_tracks_all_failed_is_no_pass(songs, tmp_path, capsys, flag, line):
    assert evaluate(songs, tmp_path / "a", "--baseline-mixture", "--tracks", "one") == 0
    (songs / "one" / "bass.wav").write_text("this is no audio\n" * 100)
    capsys.readouterr()
    other = str(tmp_path / "a" / "results.json")
    assert evaluate(songs, tmp_path / "b", "--baseline-mixture", flag, other) == 1
    assert line in capsys.readouterr().err
    assert len(results(tmp_path / "b")["tracks"]) == 2


def test_gates_say_over_how_many_tracks_they_were_decided(songs, tmp_path, capsys):
    folder = write_estimates(songs, tmp_path / "mine")
    (songs / "two" / "bass.wav").unlink()
    assert evaluate(songs, tmp_path / "out", "--estimates", str(folder), "--fail-under", "bass=19") == 0
    captured = capsys.readouterr()
    assert "warning: bass SDR median: scored on 2 of 3 tracks" in captured.err
    assert "2 of 3" in captured.out


def test_the_mean_over_frames_can_be_required(songs, tmp_path):
    flags = ("--oracle", "irm1")
    assert evaluate(songs, tmp_path / "a", *flags) == 0
    summary = results(tmp_path / "a")["summary"]["vocals"]["SDR"]
    csv_means = [
        float(row.split(",")[6])
        for row in (tmp_path / "a" / "scores.csv").read_text().splitlines()
        if ",vocals," in row and ",SDR," in row
    ]
    assert summary["mean_of_means"] == pytest.approx(sum(csv_means) / 3, abs=1e-5)
    for rule in ("mean_of_means", "median_of_means", "mean_of_medians"):
        least = summary[rule]
        assert evaluate(songs, tmp_path / "a", *flags, "--fail-under", f"vocals.sdr.{rule}={least - 0.001}") == 0
        assert evaluate(songs, tmp_path / "a", *flags, "--fail-under", f"vocals.sdr.{rule}={least + 0.001}") == 1
