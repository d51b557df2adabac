from pathlib import Path

import numpy as np
import pytest

from evaluate_runs import evaluate, events, results, write_estimates
from made_songs import STEMS, stems, write_folder, write_pair, write_stem_file
from mss_cli.main import main

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"


def test_the_mixture_as_estimate_is_scored_and_everything_is_written(songs, tmp_path, capsys):
    assert evaluate(songs, tmp_path / "out", "--baseline-mixture") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")) == [
        "results.json", "scores.csv", "test"
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "out" / "test").iterdir()) == ["one.json", "three.json", "two.json"]
    assert not list((tmp_path / "out").rglob("*.part"))
    document = results(tmp_path / "out")
    mixture = sum(stems(0, 2.1).values())
    vocals = stems(0, 2.1)["vocals"]
    expected = 10 * np.log10(np.square(vocals).sum() / np.square(np.rint(mixture * 32768) / 32768 - vocals).sum())
    track = next(track for track in document["tracks"] if track["name"] == "one")
    assert track["stems"]["vocals"]["usdr"] == pytest.approx(expected, abs=1e-3)
    table = capsys.readouterr().out
    assert "mixture on folders, 3 tracks" in table
    assert "vocals-accompaniment" in table
    assert "four-stems" in table


def test_estimates_of_nine_tenths_score_twenty_decibels(songs, tmp_path):
    folder = write_estimates(songs, tmp_path / "mine")
    assert evaluate(songs, tmp_path / "out", "--estimates", str(folder)) == 0
    document = results(tmp_path / "out")
    assert (document["system"]["kind"], document["system"]["name"]) == ("estimates", "mine")
    for stem in (*STEMS, "accompaniment"):
        assert document["summary"][stem]["SDR"]["median_of_medians"] == pytest.approx(20.0, abs=1e-3)


def test_a_model_and_its_saved_estimates_have_the_same_scores(songs, tiny, tmp_path, capsys):
    kept = str(tmp_path / "kept")
    flags = ("--tracks", "one,two")
    assert evaluate(songs, tmp_path / "a", "--model", str(tiny), "--save-estimates", kept, "--json", *flags) == 0
    seen = events(capsys)
    assert [event["model"] for event in seen if event["event"] == "weights_ready"] == ["tiny"]  # loaded once
    assert evaluate(songs, tmp_path / "b", "--estimates", kept, *flags) == 0
    first, second = results(tmp_path / "a"), results(tmp_path / "b")
    assert (first["system"]["name"], first["system"]["settings"]["overlap"]) == ("tiny", 0.25)
    assert set(first["summary"]) == {"vocals", "drums", "accompaniment"}
    assert first["tracks"] == second["tracks"]
    assert first["summary"] == second["summary"]


def test_a_model_in_several_processes_gives_the_same_scores(songs, tiny, tmp_path):
    flags = ("--model", str(tiny), "--threads", "1")
    assert evaluate(songs, tmp_path / "a", *flags) == 0
    assert evaluate(songs, tmp_path / "b", *flags, "--jobs", "2") == 0
    assert (tmp_path / "a" / "results.json").read_bytes() == (tmp_path / "b" / "results.json").read_bytes()


def test_the_full_set_has_four_metrics_and_museval_reads_its_files(songs, tmp_path):
    from real_museval import museval_or_skip

    assert evaluate(songs, tmp_path / "out", "--oracle", "irm2", "--tracks", "one", scores="full") == 0
    summary = results(tmp_path / "out")["summary"]
    assert all({"SDR", "ISR", "SIR", "SAR"} <= set(summary[stem]) for stem in STEMS)
    store = museval_or_skip().EvalStore()
    store.add_eval_dir(tmp_path / "out")
    medians = store.agg_frames_tracks_scores()
    for stem in STEMS:
        for metric in ("SDR", "ISR", "SIR", "SAR"):
            assert medians[stem][metric] == pytest.approx(summary[stem][metric]["median_of_medians"], abs=1.1e-5)


def test_several_jobs_give_the_same_bytes(songs, tmp_path):
    assert evaluate(songs, tmp_path / "a", "--oracle", "irm1") == 0
    assert evaluate(songs, tmp_path / "b", "--oracle", "irm1", "--jobs", "2") == 0
    for name in ("results.json", "scores.csv", "test/one.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_fewer_tracks_than_published_are_said_and_stand_in_the_table(tmp_path, capsys):
    write_folder(tmp_path / "hq" / "test" / "A - B", seconds=1.2)
    assert evaluate(tmp_path / "hq", tmp_path / "out", "--baseline-mixture", dataset="musdb18hq") == 0
    captured = capsys.readouterr()
    assert "warning: 1 tracks; published scores of this subset are over 50" in captured.err
    assert "mixture on musdb18hq test, 1 of the published 50 tracks" in captured.out


def test_stem_files_are_scored_without_an_ffmpeg_program(tmp_path, monkeypatch):
    pytest.importorskip("yaml")
    write_stem_file(tmp_path / "musdb" / "test" / "A - B.stem.mp4", seconds=1.5)
    monkeypatch.setenv("PATH", "")
    assert evaluate(tmp_path / "musdb", tmp_path / "out", "--oracle", "irm1", dataset="musdb18") == 0
    document = results(tmp_path / "out")
    assert set(document["summary"]) == {*STEMS, "accompaniment"}
    assert "libavcodec" in document["decoder"]


def test_clips_with_the_voice_on_one_side_are_scored_as_a_pair(tmp_path):
    write_pair(tmp_path / "mir1k" / "Wavfile" / "a_1.wav", seconds=1.5)
    assert evaluate(tmp_path / "mir1k", tmp_path / "out", "--oracle", "irm2", dataset="mir1k", scores="full") == 0
    summary = results(tmp_path / "out")["summary"]
    assert set(summary) == {"vocals", "accompaniment"}
    assert {entry["scenario"] for entry in summary.values()} == {"vocals-accompaniment"}


def test_the_largest_numbers_of_columns_fit_a_pipe(songs, tmp_path, capsys):
    line = ["evaluate", "--oracle", "irm1", "--dataset", "folders", "--root", str(songs), "--tracks", "one"]
    assert main([*line, "-o", str(tmp_path / "out"), "--published", "all", "--scores", "sdr"]) == 0
    text = capsys.readouterr().out
    assert "…" not in text
    assert "BS-RoFormer L=12 *" in text


def test_track_names_may_be_anything_a_file_system_holds(tmp_path):
    for name in ("[live] ü", "AC-DC 'x'; rm"):
        write_folder(tmp_path / "songs" / name, seconds=0.6)
    assert evaluate(tmp_path / "songs", tmp_path / "out", "--baseline-mixture") == 0
    assert {track["name"] for track in results(tmp_path / "out")["tracks"]} == {"[live] ü", "AC-DC 'x'; rm"}


def test_scores_of_the_shared_songs_equal_their_own_table(tmp_path):
    folder = SHARED / "data" / "eval-v1"
    if not folder.exists():
        pytest.skip("the shared songs are not here")
    import csv

    assert evaluate(folder, tmp_path / "out", "--baseline-mixture", "--tracks", "caesium,sodium") == 0
    usdr = {(t["name"], s): e["usdr"] for t in results(tmp_path / "out")["tracks"] for s, e in t["stems"].items()}
    with (folder / "baseline.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["song"] in ("caesium", "sodium")]
    assert len(rows) == 7
    for row in rows:
        assert usdr[row["song"], row["stem"]] == pytest.approx(float(row["sdr_mixture"]), abs=0.006)


def test_all_scores_stand_in_a_table_of_their_own_and_can_be_required(songs, tmp_path, capsys):
    flags = ("--oracle", "irm1", "--tracks", "one", "--fail-under", "vocals.nsdr=0", "--fail-under", "bass.fullness=1")
    assert evaluate(songs, tmp_path / "out", *flags, scores="all") == 0
    captured = capsys.readouterr()
    assert "further scores: irm1 on folders, 1 tracks" in captured.out
    assert "GNSDR" in captured.out
    (track,) = results(tmp_path / "out")["tracks"]
    kinds = {"SDR v3", "SIR v3", "SAR v3", "NSDR", "log-WMSE", "bleedless", "fullness"}
    for stem in track["stems"].values():
        assert {kind for kind, value in stem["further"].items() if value is not None} == kinds
    assert {"SDR", "ISR", "SIR", "SAR"} <= set(track["stems"]["bass"]["frames"])
    assert evaluate(songs, tmp_path / "out", *flags, "--fail-under", "vocals.log_wmse=73.68", scores="all") == 1
    assert "vocals log-WMSE median: " in capsys.readouterr().err
    assert evaluate(songs, tmp_path / "out", *flags[:4], scores="full") == 0
    assert "further" not in results(tmp_path / "out")["tracks"][0]["stems"]["vocals"]
