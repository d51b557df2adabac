import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from made_songs import STEMS, stems, write, write_folder, write_pair, write_stem_file
from mss_cli.main import main

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"


@pytest.fixture
def songs(tmp_path):
    for seed, name in enumerate(("one", "two", "three")):
        write_folder(tmp_path / "songs" / name, seed=seed, seconds=2.1)
    return tmp_path / "songs"


def evaluate(root, output, *flags, scores="sdr", dataset="folders"):
    arguments = ["evaluate", "--dataset", dataset, "--root", str(root), "-o", str(output), "--scores", scores]
    return main([*arguments, "--published", "none", *flags])


def events(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def results(output):
    return json.loads((output / "results.json").read_text())


def write_estimates(songs, folder, gain=0.9):
    for song in sorted(path for path in songs.iterdir() if path.is_dir()):
        for stem in STEMS:
            made = stems(("one", "two", "three").index(song.name), 2.1)[stem]
            write(folder / "test" / song.name / f"{stem}.wav", gain * made, subtype="FLOAT")
    return folder


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


@pytest.fixture
def tiny(tmp_path):
    """A checkpoint of two stems with random weights."""
    import torch

    from mss_cli.weights.store import Card, save_checkpoint
    from mss_models.catalog import build, configuration_of

    torch.manual_seed(0)
    separator = build("unet", {
        "stems": ["vocals", "drums"], "sample_rate": 8192, "channels": 1, "n_fft": 256, "hop_length": 128, "bins": 128,
        "head": "sigmoid", "segment_frames": 64, "levels": 2, "base_channels": 4, "dropout_layers": 0,
    })  # fmt: skip
    made = configuration_of(separator)
    card = Card("tiny", made.architecture, made.settings, separator.stems, separator.sample_rate, "none", "MIT")
    save_checkpoint(tmp_path / "tiny.safetensors", separator.state_dict(), card)
    return tmp_path / "tiny.safetensors"


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


def test_other_settings_of_a_model_are_scored_again(songs, tiny, tmp_path, capsys):
    flags = ("--tracks", "one", "--model", str(tiny), "--json")
    for settings, kept in (((), False), ((), True), (("--overlap", "0.5"), False), (("--shifts", "1"), False)):
        assert evaluate(songs, tmp_path / "out", *flags, *settings) == 0
        assert [event["kept"] for event in events(capsys) if event["event"] == "track_scored"] == [kept]


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
        (["--baseline-mixture", "--against", "irm9"], 2, "neither a file nor a published system"),
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
    assert re.search(r"vocals SDR +19\.90 +20\.00 +-0\.10 +FELL", capsys.readouterr().out)
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


def test_help_and_usage_errors_import_no_torch():
    code = "import sys; from mss_cli.main import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    for flags in (["evaluate", "--help"], ["evaluate"], ["evaluate", "--model", "clasical"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *flags], capture_output=True, text=True, check=True, cwd=ROOT
        )
        assert done.stdout.rstrip().endswith("False")


@pytest.fixture
def shell(tmp_path):
    """A folder with `songs/` and a command `mss-cli`, as a CI machine has them."""
    for seed, name in enumerate(("one", "two")):
        write_folder(tmp_path / "songs" / name, seed=seed, seconds=1.6)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "mss-cli"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m mss_cli "$@"\n')
    command.chmod(0o755)
    path = os.pathsep.join([str(ROOT), str(ROOT / "models")])
    env = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    def run(line):
        return subprocess.run(line, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    return run


def documented(language):
    page = (ROOT / "docs" / "evaluate.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


def test_the_documented_action_passes_and_fails_on_a_drop(shell, tmp_path):
    yaml = pytest.importorskip("yaml")
    (text,) = documented("yaml")
    steps = yaml.safe_load(text)["jobs"]["scores"]["steps"]
    (line,) = [step["run"] for step in steps if step.get("run", "").startswith("mss-cli evaluate")]
    words = shlex.split(line)
    gates = words.index("--against")
    first = shell(shlex.join(words[:gates]).replace("--output scores", "--output expected"))
    assert first.returncode == 0, first.stderr
    done = shell(line)
    assert done.returncode == 0, done.stderr
    assert any(
        step.get("uses", "").startswith("actions/upload-artifact") and step["if"] == "always()" for step in steps
    )
    path = tmp_path / "expected" / "results.json"
    document = json.loads(path.read_text())
    for track in document["tracks"]:
        frames = track["stems"]["vocals"]["frames"]
        frames["SDR"] = [value if value is None else value + 0.1 for value in frames["SDR"]]
    path.write_text(json.dumps(document))
    done = shell(line)
    assert done.returncode == 1
    assert "vocals SDR" in done.stderr


def test_the_documented_lines_are_commands_that_parse(shell):
    (text,) = documented("sh")
    lines = text.strip().splitlines()
    assert len(lines) == 4
    done = shell(lines[3])
    assert done.returncode == 0, done.stderr
    for line in lines[:3]:
        assert "no such folder" in shell(line.replace("--root songs", "--root nowhere")).stderr


def test_what_is_evaluated_is_never_written_over(songs, tmp_path, capsys):
    arguments = ["evaluate", "--baseline-mixture", "--dataset", "folders", "--root", str(songs), "--scores", "sdr"]
    assert main([*arguments, "-o", str(tmp_path / "a"), "--save-estimates", str(songs)]) == 2
    assert "would write over what is evaluated" in capsys.readouterr().err
    own = tmp_path / "a" / "results.json"
    assert main([*arguments, "-o", str(tmp_path / "a")]) == 0
    assert main([*arguments, "-o", str(tmp_path / "a"), "--against", str(own)]) == 2
    assert "would replace the results it is compared with" in capsys.readouterr().err
