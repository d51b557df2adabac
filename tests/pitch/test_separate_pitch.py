import json
import math
from importlib.util import find_spec as really_find
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file

from mss_cli.main import main
from mss_cli.pitch import teachers
from mss_cli.pitch.f0_file import read_f0
from mss_cli.pitch.separator_teacher import SeparatorTeacher, own_pitch
from mss_models.networks.deep_salience import DeepSalience

PUBLISHED = Path(__file__).parents[2].parent / "shared" / "checkpoints" / "deep-salience"
RATE = 44100
PITCH_FILES = ["vocals.f0.csv", "vocals.mid", "vocals.salience.png"]


@pytest.fixture(autouse=True)
def drawn():
    pytest.importorskip("matplotlib")


@pytest.fixture
def song(tmp_path):
    """Two seconds of a buzzing voice at 220 Hz in the middle of a little noise."""
    times = np.arange(2 * RATE) / RATE
    voice = 0.1 * sum(np.sin(2 * math.pi * 220 * k * times) / k for k in range(1, 10))
    noise = 0.001 * np.random.default_rng(0).standard_normal((len(times), 2))
    soundfile.write(tmp_path / "song.wav", voice[:, None] + noise, RATE)
    return tmp_path / "song.wav"


@pytest.fixture
def untrained(tmp_path):
    torch.manual_seed(0)
    save_file(
        {k: v for k, v in DeepSalience().state_dict().items() if "num_batches" not in k}, tmp_path / "w.safetensors"
    )
    return tmp_path / "w.safetensors"


def separate(song, folder, *options):
    return main(["separate", str(song), "-o", str(folder), "--pitch", *map(str, options)])


def names(folder):
    return sorted(path.name for path in (folder / "song").iterdir() if not path.name.endswith(".mss.json"))


def joint_checkpoint(path, wiring="shared-encoder"):
    from mss_cli.weights.store import Card, save_checkpoint
    from mss_models.catalog import build, configuration_of
    from mss_models.networks.front_end import FrontEnd
    from mss_models.networks.vocal_pitch_separator import VocalPitchSeparator
    from mss_models.networks.vocal_pitch_unet import VocalPitchSettings
    from mss_models.stft import StftSettings

    torch.manual_seed(0)
    front_end = FrontEnd(sample_rate=22050, channels=1, stft=StftSettings(1024, 256), bins=512)
    separator = VocalPitchSeparator(
        VocalPitchSettings(wiring, front_end, 64, levels=3, base_channels=2, dropout_layers=1)
    )
    configuration = configuration_of(separator)
    assert build(configuration.architecture, configuration.settings).stems == ("vocals",)
    card = Card(
        name="joint",
        architecture=configuration.architecture,
        configuration=configuration.settings,
        stems=("vocals",),
        sample_rate=22050,
        training="none",
        licence="none",
    )
    save_checkpoint(path, separator.state_dict(), card)
    return separator


def test_pyin_tells_the_pitch_of_the_vocals(song, tmp_path):
    pytest.importorskip("librosa")
    assert separate(song, tmp_path / "out") == 0
    assert [name for name in names(tmp_path / "out") if not name.endswith(".wav")] == PITCH_FILES
    times, frequencies = read_f0(tmp_path / "out" / "song" / "vocals.f0.csv")
    assert len(times) == 1 + RATE // 256  # two seconds at 22,050 Hz
    assert np.median(frequencies) == pytest.approx(220, rel=0.01)


@pytest.mark.skipif(not PUBLISHED.exists(), reason="shared/checkpoints/deep-salience is absent")
def test_deep_salience_tells_the_pitch_where_its_weights_are_given(song, tmp_path):
    assert separate(song, tmp_path / "out", "--pitch-weights", PUBLISHED / "vocal.safetensors") == 0
    _, frequencies = read_f0(tmp_path / "out" / "song" / "vocals.f0.csv")
    assert np.median(frequencies) == pytest.approx(220, rel=0.01)


def test_the_same_song_gives_the_same_bytes_and_files_follow_the_stems_names(song, tmp_path, untrained):
    for folder in ("a", "b"):
        options = ("--pitch-weights", untrained, "--filename", "{track}-{stem}.{ext}", "--flac", "--stems", "vocals")
        assert separate(song, tmp_path / folder, *options) == 0
    first = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir() if path.suffix != ".json"}
    assert sorted(first) == [f"song-{name}" for name in (*PITCH_FILES[:1], "vocals.flac", *PITCH_FILES[1:])]
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir() if path.suffix != ".json"}


def test_the_event_of_a_finished_track_names_its_pitch_files(song, tmp_path, untrained, capsys):
    assert separate(song, tmp_path / "out", "--pitch-weights", untrained, "--plot", "--json") == 0
    finished = next(line for line in map(json.loads, capsys.readouterr().out.splitlines()) if "extras" in line)
    assert [extra["kind"] for extra in finished["extras"]] == ["picture", "f0", "midi", "salience"]
    for extra in finished["extras"]:
        assert Path(extra["path"]).stat().st_size == extra["size_bytes"] > 0


def test_a_model_that_tells_the_pitch_is_asked_itself(song, tmp_path, monkeypatch):
    monkeypatch.setattr(teachers, "find_spec", lambda name: None)  # no librosa is needed then
    joint_checkpoint(tmp_path / "joint.safetensors")
    assert separate(song, tmp_path / "out", "--model", tmp_path / "joint.safetensors") == 0
    assert names(tmp_path / "out") == [PITCH_FILES[0], *PITCH_FILES[1:], "vocals.wav"]
    header = (tmp_path / "out" / "song" / "vocals.f0.csv").read_text().splitlines()[0]
    assert header.startswith("time,frequency,confidence")


def test_without_vocals_nothing_is_started(song, tmp_path, capsys):
    assert separate(song, tmp_path / "out", "--stems", "drums,bass") == 2
    assert "`--pitch` listens to `vocals`, and only drums, bass would be written" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_librosa_the_extra_is_named_and_nothing_is_started(song, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(teachers, "find_spec", lambda name: None if name == "librosa" else really_find(name))
    assert separate(song, tmp_path / "out") == 2
    assert "mss-cli[research]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "code", "line"),
    [
        (["--pitch", "--pitch-weights", "none.safetensors"], 5, "none.safetensors: no such file"),
        (["--pitch-weights", "none.safetensors"], 2, "`--pitch-weights` needs `--pitch`"),
        (["--pitch", "--stems", "vocals", "-o", "-"], 2, "`--pitch` needs an output folder"),
    ],
)
def test_wrong_words_are_refused(song, tmp_path, capsys, options, code, line):
    assert main(["separate", str(song), "-o", str(tmp_path / "out"), *options]) == code
    assert line in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_damaged_weights_end_the_run_before_a_stem_is_written(song, tmp_path, capsys):
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    assert separate(song, tmp_path / "out", "--pitch-weights", tmp_path / "bad.safetensors", "--json") == 5
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["exit_code"] == 5
    assert not (tmp_path / "out").exists()


def test_a_pitch_file_that_cannot_be_written_leaves_no_stem(song, tmp_path, untrained):
    blocked = tmp_path / "out" / "song" / "vocals.mid"
    blocked.mkdir(parents=True)
    assert separate(song, tmp_path / "out", "--pitch-weights", untrained) == 6
    assert names(tmp_path / "out") == ["vocals.mid"]


class Loudness:
    """A separator whose salience is the level of the sample at the middle of each frame, at bin 100."""

    stems, channels, precisions, normalization = ("vocals",), 1, ("fp32",), "peak"
    sample_rate, segment_samples, salience_hop = 22050, 64, 4

    def prepare(self, device, precision):
        """Nothing."""

    def separate(self, mixture):
        return mixture[:, None]

    def salience(self, mixture):
        assert mixture.shape[-1] <= self.segment_samples
        levels = mixture[:, 0, :: self.salience_hop].abs()
        salience = torch.zeros(mixture.shape[0], 360, levels.shape[-1])
        salience[:, 100] = levels
        return salience


@pytest.mark.parametrize("samples", [1, 63, 64, 65, 400, 1001])
def test_windows_of_a_separator_join_to_every_frame_once(samples):
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, samples).astype(np.float32)
    audio[0] = 0.5
    salience = SeparatorTeacher(Loudness(), torch.device("cpu"))(audio)
    padded = np.append(audio, 0)  # a frame may be centred on the sample after the end
    expected = np.abs(padded[4 * np.arange(1 + samples // 4)]) / 0.5  # peak normalisation
    np.testing.assert_allclose(salience[100], expected, rtol=0, atol=1e-6)
    assert not np.delete(salience, 100, axis=0).any()


def test_a_wiring_of_the_vocals_alone_has_no_pitch_of_its_own(tmp_path):
    separator = joint_checkpoint(tmp_path / "joint.safetensors", wiring="source-only")
    separator.prepare(torch.device("cpu"), "fp32")
    assert own_pitch(separator, torch.device("cpu")) is None
