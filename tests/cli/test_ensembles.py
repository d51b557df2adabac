"""Models of others and ensembles of models, through the commands."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from evaluate_runs import evaluate, results
from made_songs import STEMS, write_folder
from mss_cli.batch.room import TrackLength, scratch_bytes, stored_bytes_per_second
from mss_cli.main import main
from mss_cli.weights.store import Card, load_checkpoint, save_checkpoint
from mss_models.catalog import build, configuration_of
from open_unmix_peer import randomize
from signals import write_music

FORMULA = Path(__file__).parents[2].parent / "shared" / "checkpoints" / "formula-weights"
SETTINGS = {
    "open-unmix": {
        "stems": list(STEMS), "sample_rate": 44100, "channels": 2, "n_fft": 1024, "hop_length": 256,
        "heard_bins": 300, "hidden_size": 8, "wiener_frames": 100,
    },
    "hybrid-demucs": {
        "stems": list(STEMS), "width": 4, "depth": 2, "segment_samples": 30_000,
        "residual": {"in_decoder": True, "compression": 2, "lstm_from": None, "attention_from": None},
        "transformer": {"bottom_channels": 8, "layers": 2, "heads": 2},
    },
}  # fmt: skip


def checkpoint(path, architecture, *, name=None, **changes):
    """Save a tiny network with random weights."""
    torch.manual_seed(1)
    network = build(architecture, SETTINGS[architecture] | changes).eval()
    for place, member in enumerate(getattr(network, "members", ())):
        randomize(member, place)
    made = configuration_of(network)
    card = Card(
        name or path.stem, made.architecture, made.settings, network.stems, network.sample_rate, "a test", "MIT"
    )
    save_checkpoint(path, network.state_dict(), card)
    return path


@pytest.fixture
def models(tmp_path):
    (tmp_path / "models").mkdir()
    return {name: checkpoint(tmp_path / "models" / f"{name}.safetensors", name) for name in SETTINGS}


@pytest.fixture
def song(tmp_path):
    return write_music(tmp_path / "song.wav", seconds=2.0, subtype="FLOAT")


def separate(song, output, *flags):
    return main(
        ["separate", str(song), "-o", str(output), "--depth", "float32", "--device", "cpu", "-q", *map(str, flags)]
    )


def read(output, stem):
    (path,) = output.rglob(f"{stem}.wav")
    return soundfile.read(path, dtype="float32")[0].T


def test_open_unmix_hears_the_whole_file(tmp_path, models, song):
    assert separate(song, tmp_path / "out", "--model", models["open-unmix"]) == 0
    separator, _ = load_checkpoint(models["open-unmix"])
    separator.prepare(torch.device("cpu"), "fp32")
    mixture = torch.from_numpy(soundfile.read(song, dtype="float32")[0].T.copy())
    expected = separator.separate(mixture[None])[0].numpy()
    for stem, answer in zip(separator.stems, expected, strict=True):
        if stem != "other":  # takes what the others leave
            np.testing.assert_allclose(read(tmp_path / "out", stem), answer, atol=1e-5 * np.abs(expected).max())


@pytest.mark.skipif(not FORMULA.exists(), reason="no shared/checkpoints/formula-weights")
def test_a_file_of_demucs_gives_what_its_package_gives(tmp_path, monkeypatch):
    monkeypatch.setenv("MSS_CLI_WEIGHTS_DIR", str(tmp_path / "cache"))
    song, model = FORMULA / "input_3s.flac", FORMULA / "tiny_htdemucs.safetensors"
    assert separate(song, tmp_path / "out", "--model", model) == 0
    with np.load(FORMULA / "tiny_htdemucs_known.npz") as known:
        answers = known["normalised_3s"]
    for stem, answer in zip(("drums", "bass", "other", "vocals"), answers, strict=True):
        if stem != "other":  # takes what the others leave
            stem_of_file = read(tmp_path / "out", stem)[:, ::8]
            np.testing.assert_allclose(stem_of_file, answer, atol=2e-5 * np.abs(answers).max(), rtol=0)


def test_two_stems_of_a_whole_file_add_up_to_it(tmp_path, models, song):
    assert separate(song, tmp_path / "out", "--model", models["open-unmix"], "--two-stems", "vocals") == 0
    mixture = soundfile.read(song, dtype="float32")[0].T
    both = read(tmp_path / "out", "vocals") + read(tmp_path / "out", "no_vocals")
    np.testing.assert_allclose(both, mixture, atol=1e-6)


def test_an_ensemble_is_the_mean_of_its_models(tmp_path, models, song):
    joint = f"{models['open-unmix']}+{models['hybrid-demucs']}"
    outputs = {}
    for name, model in {**models, "both": joint}.items():
        outputs[name] = tmp_path / name
        assert separate(song, outputs[name], "--model", model) == 0
    for stem in ("vocals", "drums", "bass"):
        one, other = read(outputs["open-unmix"], stem), read(outputs["hybrid-demucs"], stem)
        np.testing.assert_allclose(read(outputs["both"], stem), (one + other) / 2, atol=1e-5)


def test_an_ensemble_has_a_name_a_record_and_is_not_done_twice(tmp_path, models, song, capsys):
    joint = f"{models['open-unmix']}+{models['hybrid-demucs']}"
    flags = ["--model", joint, "--filename", "{model}/{track}/{stem}.{ext}", "--json"]
    assert main(["separate", str(song), "-o", str(tmp_path / "out"), "--device", "cpu", *flags]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ready = next(event for event in events if event["event"] == "weights_ready")
    assert (ready["model"], ready["architecture"]) == ("open-unmix+hybrid-demucs", "ensemble")
    assert (tmp_path / "out" / "open-unmix+hybrid-demucs" / "song" / "vocals.wav").is_file()
    assert main(["separate", str(song), "-o", str(tmp_path / "out"), "--device", "cpu", *flags]) == 0
    events = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert "track_skipped" in events
    checkpoint(models["hybrid-demucs"], "hybrid-demucs", name="hybrid-demucs", width=8)
    assert main(["separate", str(song), "-o", str(tmp_path / "out"), "--device", "cpu", *flags]) == 0
    events = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert "track_finished" in events


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stems": ["vocals", "drums"]}, "must have the same stems; `other` has vocals, drums; `hybrid-demucs` has"),
        ({"sample_rate": 22050}, "must work at the same rate; `other` works at 22050 Hz, `hybrid-demucs` at 44100 Hz"),
    ],
)
def test_models_that_do_not_go_together_are_a_usage_error(tmp_path, models, song, capsys, changes, message):
    other = checkpoint(tmp_path / "other.safetensors", "open-unmix", **changes)
    assert separate(song, tmp_path / "out", "--model", f"{other}+{models['hybrid-demucs']}") == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("model", "code", "message"),
    [
        ("classical+", 2, "has an empty name"),
        ("classical+classical", 2, "names a model twice"),
        ("classical+clasical", 2, "no model is called `clasical`; did you mean `classical`?"),
    ],
)
def test_ensembles_that_name_nothing_are_a_usage_error(tmp_path, song, capsys, model, code, message):
    assert separate(song, tmp_path / "out", "--model", model) == code
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_file_with_a_plus_in_its_name_is_one_model(tmp_path, models, song):
    one = shutil.copy(models["open-unmix"], tmp_path / "a+b.safetensors")
    assert separate(song, tmp_path / "out", "--model", one, "--stems", "vocals") == 0


def test_an_ensemble_with_a_method_without_weights(tmp_path, models, song):
    assert separate(song, tmp_path / "out", "--model", f"classical+{models['open-unmix']}", "--stems", "vocals") == 0


def test_room_counts_what_an_ensemble_puts_away(models):
    per_second = stored_bytes_per_second([models["open-unmix"]])
    assert per_second == pytest.approx(4 * (8 * (4 + 4) + 4 * 4) * 44100 / 256)
    assert stored_bytes_per_second([models["hybrid-demucs"]]) == 0
    assert stored_bytes_per_second(list(models.values())) == per_second
    minute = TrackLength(60.0, 44100, 2)
    more = scratch_bytes(minute, stems=4, stored_per_second=per_second) - scratch_bytes(minute, stems=4)
    assert more == pytest.approx(60 * per_second, abs=1)


def test_evaluate_tells_a_whole_track_from_segments(tmp_path, models):
    write_folder(tmp_path / "songs" / "one", seconds=2.1)
    flags = ["--model", str(models["open-unmix"]), "--device", "cpu", "-q"]
    scores = []
    for more in ([], ["--segment-seconds", "1"]):
        assert evaluate(tmp_path / "songs", tmp_path / "scores", *flags, *more) == 0
        made = results(tmp_path / "scores")
        scores.append(made["tracks"])
    assert scores[0] != scores[1]
