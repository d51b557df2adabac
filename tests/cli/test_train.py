import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from mss_cli.main import main
from mss_cli.training.curves import read_curves
from mss_cli.training.run_folder import held, is_first_process
from mss_cli.training.songs import TrackSongs
from mss_cli.weights.store import read_card
from training_songs import write_songs

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """\
name: tiny
source: our own, for tests
licence: MIT
network:
  architecture: unet
  settings:
    {stems: [vocals], sample_rate: 8000, channels: 1, n_fft: 256, hop_length: 64, bins: 128, head: sigmoid,
     segment_frames: 32, levels: 2, base_channels: 4, dropout_layers: 1}
data:
  train: [{kind: folders, root: ROOT, licence: CC0}]
  valid: [{kind: folders, root: ROOT}]
  stems: {vocals: [vocals], other: ["*"]}
  seconds: 0.3
  valid_examples: 3
  workers: 0
mixing: {coherent: 0.5}
augmentation:
  stem: [{step: gain}]
loss: [{term: magnitude-l1}]
optimizer: {learning_rate: 1e-3}
training: {steps: 6, batch: 2, ema: 0.9, validate_steps: 3, checkpoint_minutes: 0.00001}
"""


@pytest.fixture
def recipe(tmp_path):
    write_songs(tmp_path / "songs", 3)
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE.replace("ROOT", str(tmp_path / "songs")))
    return path


def train(recipe, output, *flags):
    return main(
        ["train", str(recipe), "-o", str(output), "--device", "cpu", "--precision", "fp32", "--threads", "1", *flags]
    )


def test_what_was_trained_separates_and_is_evaluated(recipe, tmp_path, capsys):
    assert train(recipe, tmp_path / "run", "--json") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = [event["event"] for event in events]
    assert names[0] == "run_started"
    assert names.count("validated") == 2
    assert (names[-2], names[-1]) == ("training_finished", "run_finished")
    weights = tmp_path / "run" / "best.safetensors"
    mixture = tmp_path / "songs" / "song 0" / "mixture.wav"
    assert main(["separate", str(mixture), "-o", str(tmp_path / "stems"), "--model", str(weights), "-q"]) == 0
    assert {path.name for path in (tmp_path / "stems").rglob("*.wav")} >= {"vocals.wav"}
    flags = ["--dataset", "folders", "--root", str(tmp_path / "songs"), "--scores", "sdr", "--published", "none", "-q"]
    assert main(["evaluate", "--model", str(weights), *flags, "-o", str(tmp_path / "scores")]) == 0


def test_the_card_tells_data_minutes_steps_scores_and_licence(recipe, tmp_path):
    assert train(recipe, tmp_path / "run", "-q") == 0
    card = read_card(tmp_path / "run" / "last.safetensors")
    assert (card.name, card.licence, card.steps, card.is_random) == ("tiny", "MIT", 6, False)
    assert card.minutes is not None
    assert card.data == ("folders songs (CC0)",)
    assert set(card.scores) == {"vocals"}


def test_the_run_keeps_its_recipe_its_facts_and_its_curves(recipe, tmp_path):
    run = tmp_path / "run"
    assert train(recipe, run, "-q", "--set", "training.steps=4") == 0
    assert yaml.safe_load((run / "recipe.yaml").read_text())["training"]["steps"] == 4
    facts = json.loads((run / "run.json").read_text())
    assert facts["versions"]["torch"] == torch.__version__
    assert set(facts) == {"command", "seed", "versions", "git"}
    points = read_curves(run / "curves.csv")
    assert {point.step for point in points} == {1, 2, 3, 4}
    assert {point.name for point in points if point.kind == "train"} >= {"magnitude-l1", "total", "learning_rate"}
    assert list((run / "tensorboard").iterdir())
    again = main(["train", str(run / "recipe.yaml"), "-o", str(tmp_path / "again"), "--device", "cpu", "-q"])
    assert again == 0


def test_a_run_killed_twice_ends_with_the_bits_of_an_uninterrupted_one(recipe, tmp_path):
    assert train(recipe, tmp_path / "whole", "-q", "--set", "training.steps=40") == 0
    command = [
        sys.executable, "-m", "mss_cli", "train", str(recipe), "-o", str(tmp_path / "killed"), "--device", "cpu",
        "--precision", "fp32", "-q", "--set", "training.steps=40", "--threads", "1",
    ]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "models")])}
    curves = tmp_path / "killed" / "curves.csv"
    for after in (3, 9):
        child = subprocess.Popen(command, env=env)
        while child.poll() is None and not (curves.exists() and last_step(curves) >= after):
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert subprocess.run(command, env=env, check=False).returncode == 0
    whole, killed = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "killed"))
    assert whole.keys() == killed.keys()
    assert all(torch.equal(whole[key], killed[key]) for key in whole)
    steps = [point.step for point in read_curves(curves) if point.name == "total"]
    assert steps == list(range(1, 41))


def last_step(curves):
    return max((point.step for point in read_curves(curves)), default=0)


def test_the_time_limit_ends_cleanly_and_the_next_call_goes_on(recipe, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(recipe, run, "--json", "--max-minutes", "0.0000001") == 0
    finished = json.loads(capsys.readouterr().out.splitlines()[-2])
    assert (finished["event"], finished["out_of_time"], finished["step"]) == ("training_finished", True, 1)
    assert train(recipe, run, "--json") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert next(event["step"] for event in events if event["event"] == "training_started") == 1
    assert events[-2]["step"] == 6


def test_the_time_limit_counts_the_preparation_of_songs(recipe, tmp_path, monkeypatch):
    """Only opening a song takes time here: ten minutes each."""
    now, load = [0.0], TrackSongs.load

    def slow(songs, number):
        now[0] += 600
        return load(songs, number)

    monkeypatch.setattr(TrackSongs, "load", slow)
    monkeypatch.setattr("mss_cli.training.clock.time.monotonic", lambda: now[0])
    for step in (1, 6):  # the second time all songs are there
        assert train(recipe, tmp_path / "run", "-q", "--max-minutes", "15") == 0
        assert last_step(tmp_path / "run" / "curves.csv") == step


@pytest.mark.parametrize("minutes", ["nan", "inf", "-1"])
def test_a_time_limit_that_is_no_time_is_refused(recipe, tmp_path, capsys, minutes):
    assert train(recipe, tmp_path / "run", "--max-minutes", minutes) == 2
    assert "--max-minutes" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_that_its_time_limit_ends_before_a_validation_has_the_best_weights_too(recipe, tmp_path):
    flags = ["--set", "training.validate_steps=100", "--set", "training.steps=200", "--max-minutes", "0.0000001"]
    assert train(recipe, tmp_path / "run", "-q", *flags) == 0
    card = read_card(tmp_path / "run" / "best.safetensors")
    assert (card.steps, set(card.scores)) == (1, {"vocals"})


def test_weights_that_are_gone_come_back_from_the_state_of_a_finished_run(recipe, tmp_path):
    run = tmp_path / "run"
    assert train(recipe, run, "-q") == 0
    before = load_file(run / "last.safetensors")
    for name in ("best", "last"):
        (run / f"{name}.safetensors").unlink()
    assert train(recipe, run, "-q") == 0
    after = load_file(run / "last.safetensors")
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert read_card(run / "best.safetensors").steps == 6


def test_a_run_of_another_recipe_is_not_continued(recipe, tmp_path, capsys):
    assert train(recipe, tmp_path / "run", "-q") == 0
    assert train(recipe, tmp_path / "run", "--set", "training.batch=3") == 2
    assert "holds a run of another recipe (changed: training)" in capsys.readouterr().err
    assert train(recipe, tmp_path / "run", "-q", "--set", "training.batch=3", "--resume", "never") == 0


def test_a_finished_run_can_be_given_more_steps(recipe, tmp_path):
    assert train(recipe, tmp_path / "run", "-q") == 0
    assert train(recipe, tmp_path / "run", "-q", "--set", "training.steps=8") == 0
    assert read_card(tmp_path / "run" / "last.safetensors").steps == 8


def test_a_damaged_state_is_told_in_one_line(recipe, tmp_path, capsys):
    assert train(recipe, tmp_path / "run", "-q") == 0
    state = tmp_path / "run" / "state.ckpt"
    state.write_bytes(state.read_bytes()[:1000])
    assert train(recipe, tmp_path / "run", "--set", "training.steps=8") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "state.ckpt: is not the state of a training, or is damaged" in lines[0]


@pytest.mark.parametrize(
    ("content", "code", "told"),
    [
        (b"\xff", 2, "recipe.yaml: is no recipe any more"),
        (b"a: [b", 2, "recipe.yaml: is no recipe any more"),
        (b"data: 3", 2, "recipe.yaml: is no recipe any more"),
    ],
)
def test_a_damaged_recipe_of_a_run_is_told_in_one_line(recipe, tmp_path, capsys, content, code, told):
    run = tmp_path / "run"
    run.mkdir()
    (run / "state.ckpt").touch()
    (run / "recipe.yaml").write_bytes(content)
    assert train(recipe, run) == code
    assert told in capsys.readouterr().err


def test_damaged_curves_do_not_stop_a_run(recipe, tmp_path):
    run = tmp_path / "run"
    assert train(recipe, run, "-q") == 0
    kept = (run / "curves.csv").read_bytes()
    (run / "curves.csv").write_bytes(kept + b"\xff\xfe\0junk,,,\r1,2\n")
    assert train(recipe, run, "-q", "--set", "training.steps=7") == 0
    assert (run / "curves.csv").read_bytes().startswith(kept)
    assert {point.step for point in read_curves(run / "curves.csv")} == set(range(1, 8))


def test_a_state_that_is_not_there_leaves_no_folder_behind(recipe, tmp_path, capsys):
    assert train(recipe, tmp_path / "run", "--resume", str(tmp_path / "nowhere.ckpt")) == 2
    assert "no such state to resume from" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_stem_that_no_song_has_is_told_before_anything_is_written(recipe, tmp_path, capsys):
    flags = ["--set", "data.stems={vocals: [voice], other: [drums]}"]
    assert train(recipe, tmp_path / "run", *flags) == 2
    assert train(recipe, tmp_path / "run", *flags, "--dry-run") == 2
    assert capsys.readouterr().err.count("no source gives the stem `vocals`") == 2
    assert not (tmp_path / "run").exists()


def test_weights_that_find_no_room_are_told_with_the_exit_code_for_output(recipe, tmp_path, capsys):
    resource = pytest.importorskip("resource", reason="limits on the size of a file are of POSIX systems")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (140 * 1024, before[1]))
    try:
        code = train(recipe, tmp_path / "run", "-q", "--set", "network.settings.base_channels=64")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 6
    assert "last.safetensors: cannot write" in capsys.readouterr().err
    assert not list((tmp_path / "run").glob("*.safetensors"))


@pytest.mark.parametrize("package", ["lightning", "tensorboard"])
def test_a_package_that_training_needs_is_named_with_the_extra_that_brings_it(recipe, monkeypatch, capsys, package):
    there = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else there(name))
    assert main(["train", str(recipe), "--print-config"]) == 2
    assert f"training needs the package `{package}`; install `mss-cli[train]`" in capsys.readouterr().err


def test_two_do_not_train_in_one_folder(recipe, tmp_path, capsys):
    run = tmp_path / "run"
    with held(run):
        assert train(recipe, run) == 75
    assert "run: another process trains there" in capsys.readouterr().err
    assert not (run / "recipe.yaml").exists()
    (run / ".state.ckpt.0.1.part").touch()  # of a killed process
    assert train(recipe, run, "-q") == 0
    assert not list(run.glob(".*"))


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"])
def test_one_of_several_processes_writes_the_run(monkeypatch, name):
    for other in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(other, raising=False)
    assert is_first_process()
    monkeypatch.setenv(name, "1")
    assert not is_first_process()


@pytest.mark.slow
def test_a_run_on_two_devices_gives_one_stream_of_events(recipe, tmp_path):
    """The second process begins by itself, with the command line of the first."""
    command = [
        sys.executable, "-m", "mss_cli", "train", str(recipe), "-o", str(tmp_path / "run"), "--device", "cpu",
        "--precision", "fp32", "--threads", "1", "--devices", "2", "--json", "--max-minutes", "0.0001",
        "--set", "training.steps=1000",
    ]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "models")])}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    names = [json.loads(line)["event"] for line in ended.stdout.splitlines()]
    assert (names[0], names[-1]) == ("run_started", "run_finished")
    assert [names.count(name) for name in ("run_started", "training_started", "run_finished")] == [1, 1, 1]
    assert json.loads(ended.stdout.splitlines()[-2])["out_of_time"]


def test_the_effective_recipe_is_printed_as_a_recipe(recipe, tmp_path, capsys):
    assert main(["train", str(recipe), "--print-config", "--set", "training.seed=7"]) == 0
    printed = tmp_path / "printed.yaml"
    printed.write_text(capsys.readouterr().out)
    assert main(["train", str(printed), "--print-config"]) == 0
    assert capsys.readouterr().out == printed.read_text()
    assert yaml.safe_load(printed.read_text())["training"]["seed"] == 7


def test_a_dry_run_opens_recipe_and_data_and_writes_nothing(recipe, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert main(["train", str(recipe), "-o", str(tmp_path / "run"), "--device", "cpu", "--dry-run"]) == 0
    assert sorted(tmp_path.rglob("*")) == before
    shown = capsys.readouterr().out
    assert "tiny: our own, for tests" in shown
    assert "3 songs, licence CC0" in shown


def test_data_that_are_missing_are_told_before_anything_is_written(recipe, tmp_path, capsys):
    flags = ["--set", f"data.train.0.root={tmp_path / 'nowhere'}"]
    assert train(recipe, tmp_path / "run", *flags) == 8
    assert "nowhere" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_five_mistakes_are_told_at_once_with_their_lines(recipe, tmp_path, capsys):
    wrong = recipe.read_text()
    for right, mistake in (
        ("head: sigmoid", "head: sigmoit"), ("seconds: 0.3", "second: 0.3"), ("term: magnitude-l1", "term: magnitude"),
        ("batch: 2", "batch: 0"), ("step: gain", "step: gian"),
    ):  # fmt: skip
        assert right in wrong
        wrong = wrong.replace(right, mistake)
    recipe.write_text(wrong)
    assert train(recipe, tmp_path / "run") == 2
    shown = capsys.readouterr().err
    for word in ("sigmoid", "did you mean `seconds`", "magnitude-l1", "batch", "did you mean `gain`"):
        assert word in shown
    numbers = {number for number in range(1, 30) if f"tiny.yaml:{number}:" in shown}
    assert len(numbers) >= 5


def test_another_precision_than_there_is_ends_with_usage(recipe, tmp_path, capsys):
    assert main(["train", str(recipe), "-o", str(tmp_path / "run"), "--device", "cpu", "--precision", "fp16"]) == 2
    assert "fp16 is for CUDA" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_run_resumed_on_a_gpu_keeps_its_curve(recipe, tmp_path):
    def on_gpu(output, *flags):
        return main(["train", str(recipe), "-o", str(output), "--device", "cuda", "--precision", "fp32", "-q", *flags])

    assert on_gpu(tmp_path / "whole") == 0
    assert on_gpu(tmp_path / "parts", "--max-minutes", "0.0000001") == 0
    assert on_gpu(tmp_path / "parts") == 0
    curves = [
        [point.value for point in read_curves(tmp_path / name / "curves.csv") if point.name == "total"]
        for name in ("whole", "parts")
    ]
    assert curves[1] == pytest.approx(curves[0], rel=1e-3)


def test_a_folder_with_a_name_that_no_disk_takes_is_told_in_one_line(recipe, tmp_path, capsys):
    assert train(recipe, tmp_path / ("n" * 300), "-q") == 6
    assert "internal" not in capsys.readouterr().err


def test_a_file_where_the_curves_of_tensorboard_go_is_told(recipe, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tensorboard").write_text("a file")
    assert train(recipe, tmp_path / "run", "-q") == 6
    assert "tensorboard: cannot write" in capsys.readouterr().err


def test_a_run_begun_anew_shows_no_curve_of_the_old_one(recipe, tmp_path):
    assert train(recipe, tmp_path / "run", "-q", "--set", "training.steps=1") == 0
    old = set((tmp_path / "run" / "tensorboard").glob("events.*"))
    assert train(recipe, tmp_path / "run", "-q", "--set", "training.steps=1", "--resume", "never") == 0
    assert not old & set((tmp_path / "run" / "tensorboard").glob("events.*"))
