"""What real folders hold: mixtures of another form, two tracks of one name, names that are no text, busy folders."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evaluate_runs import evaluate, results
from made_songs import STEMS, stems, write, write_folder
from mss_cli.evaluation.output_folder import held
from mss_cli.evaluation.results import read_results

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("flags", [("--oracle", "irm1"), ("--baseline-mixture",), ("--model", "classical")])
@pytest.mark.parametrize(("form", "line"), [("mono", "1 channels at 44100 Hz"), ("low", "2 channels at 22050 Hz")])
def test_a_mixture_of_another_form_than_its_references_is_refused(tmp_path, capsys, flags, form, line):
    mixture = sum(write_folder(tmp_path / "songs" / "one", seconds=0.6).values())
    if form == "mono":
        write(tmp_path / "songs" / "one" / "mixture.wav", mixture[:1])
    else:
        write(tmp_path / "songs" / "one" / "mixture.wav", mixture[:, ::2], rate=22050)
    assert evaluate(tmp_path / "songs", tmp_path / "out", *flags) == 3
    assert f"mixture.wav: {line}, but reference `vocals` has 2 at 44100 Hz" in capsys.readouterr().err


def test_estimates_need_no_mixture_of_their_form_unless_a_stem_is_made_of_it(tmp_path, capsys):
    mixture = sum(write_folder(tmp_path / "songs" / "one", seconds=0.6).values())
    write(tmp_path / "songs" / "one" / "mixture.wav", mixture[:1])
    for stem in STEMS:
        write(tmp_path / "mine" / "one" / f"{stem}.wav", 0.9 * stems(0, 0.6)[stem], subtype="FLOAT")
    assert evaluate(tmp_path / "songs", tmp_path / "a", "--estimates", str(tmp_path / "mine")) == 0
    for stem in STEMS[1:]:
        (tmp_path / "mine" / "one" / f"{stem}.wav").unlink()
    assert evaluate(tmp_path / "songs", tmp_path / "b", "--estimates", str(tmp_path / "mine")) == 3
    assert "but reference `vocals` has 2 at 44100 Hz" in capsys.readouterr().err


def test_two_tracks_of_one_subset_and_name_are_both_reported_and_stop_no_other(tmp_path, capsys):
    for folder in ("same", "test/same", "other"):
        write_folder(tmp_path / "songs" / folder, seconds=0.6)
    assert evaluate(tmp_path / "songs", tmp_path / "out", "--baseline-mixture") == 1
    said = capsys.readouterr().err
    first, second = tmp_path / "songs" / "same", tmp_path / "songs" / "test" / "same"
    assert f"{first}: has the subset and name of {second}; rename one of them" in said
    assert f"{second}: has the subset and name of {first}; rename one of them" in said
    assert [track["name"] for track in results(tmp_path / "out")["tracks"]] == ["other"]


@pytest.mark.skipif(sys.platform == "darwin" or os.name != "posix", reason="names there are always text")
def test_files_of_scores_are_utf_8_also_where_names_are_not(tmp_path):
    write_folder(tmp_path / "songs" / "a", seconds=0.6)
    name = os.fsdecode(b"b\xff")
    shutil.copytree(tmp_path / "songs" / "a", tmp_path / "songs" / name)
    (tmp_path / "songs" / name / "bass.wav").rename(tmp_path / "songs" / name / f"{name}.wav")
    assert evaluate(tmp_path / "songs", tmp_path / "out", "--baseline-mixture") == 0
    document = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert [(track["name"], track.get("name_b64")) for track in document["tracks"]] == [("a", None), ("b\\xff", "Yv8=")]
    assert "test,b\\xff,vocals" in (tmp_path / "out" / "scores.csv").read_text(encoding="utf-8")
    read = read_results(tmp_path / "out" / "results.json")
    assert [track.name for track in read.tracks] == ["a", name]
    assert name in read.stems


def test_an_output_folder_that_another_run_writes_is_busy_and_left_alone(songs, tmp_path, capsys):
    pytest.importorskip("fcntl")
    with held(tmp_path / "out"):
        line = [sys.executable, "-m", "mss_cli", "evaluate", "--baseline-mixture", "--dataset", "folders", "--json"]
        line += ["--root", str(songs), "-o", str(tmp_path / "out"), "--scores", "sdr"]
        done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 75
    assert f"error: {tmp_path / 'out'}: another run is writing there; wait for it" in done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["exit_code"] == 75
    assert not (tmp_path / "out" / ".finished" / "system.json").exists()
    assert evaluate(songs, tmp_path / "out", "--baseline-mixture", "--tracks", "one") == 0


@pytest.mark.parametrize("flag", ["--report", "--save-estimates"])
def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_scored(songs, tmp_path, capsys, flag):
    if flag == "--report":
        pytest.importorskip("jinja2")
    (tmp_path / "file").write_text("")
    assert evaluate(songs, tmp_path / "out", "--baseline-mixture", flag, str(tmp_path / "file")) == 6
    assert "a file stands where a folder is needed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_report_tells_two_runs_of_one_system_apart(songs, tmp_path):
    pytest.importorskip("jinja2")
    flags = ("--oracle", "irm1", "--tracks", "one")
    assert evaluate(songs, tmp_path / "first", *flags, "--save-estimates", str(tmp_path / "first" / "estimates")) == 0
    compared = ("--compare", str(tmp_path / "first" / "results.json"), "--report", str(tmp_path / "page"))
    assert evaluate(songs, tmp_path / "out", *flags, *compared) == 0
    page = (tmp_path / "page" / "index.html").read_text()
    assert "irm1 (1)" in page
    assert "irm1 (2)" in page
    assert page.count("data:audio/mpeg") == 4 * 4  # stems, versions: mixture, reference, both runs


def test_every_table_names_its_data_and_the_scenario_of_each_stem(songs, tmp_path, capsys):
    flags = ("--oracle", "irm1", "--tracks", "one", "--fail-under", "vocals=-99", "--against", "mix")
    evaluate(songs, tmp_path / "out", *flags, "--published", "some", scores="all")
    text = capsys.readouterr().out
    titles = ("beside published systems", "against MIX", "required scores", "further scores: ")
    assert all(f"\n{title}" in text for title in titles)
    assert text.count("irm1 on folders, 1 tracks") == 1 + len(titles)
    scenario = "scenario: vocals, accompaniment: vocals-accompaniment; drums, bass, other: four-stems"
    assert text.count(scenario) == len(titles)


def test_vocals_alone_say_what_is_missing(tmp_path, capsys):
    write_folder(tmp_path / "songs" / "one", seconds=0.6, names=("vocals",))
    assert evaluate(tmp_path / "songs", tmp_path / "out", "--baseline-mixture") == 8
    assert "vocals and another stem needed; add the stems that vocals are mixed with" in capsys.readouterr().err
