"""Files of X-UMX: the networks of all stems with their settings, as the package asteroid writes them."""

import dataclasses
import json

import pytest
import torch
from torch.testing import assert_close
from torch.torch_version import TorchVersion

from mss_cli.errors import WeightsError
from mss_cli.weights.families import x_umx
from mss_cli.weights.families.contents import Part
from mss_cli.weights.families.open_unmix import read
from mss_cli.weights.store import load
from mss_models.networks.open_unmix.separator import OpenUnmixSeparator, OpenUnmixSettings
from mss_models.stft import StftSettings
from open_unmix_peer import randomize

SIZES = OpenUnmixSettings(
    ("bass", "vocals"), 8000, 2, StftSettings(64, 16), 20, hidden_size=8, layers=2, crossing="average"
)
ARGUMENTS = {
    "window_length": 64, "in_chan": 64, "n_hop": 16, "sample_rate": 8000, "sources": ["bass", "vocals"],
    "hidden_size": 8, "nb_channels": 2, "input_mean": None, "input_scale": None, "max_bin": 20, "nb_layers": 2,
    "bidirectional": True, "spec_power": 1, "return_time_signals": False,
}  # fmt: skip
PLACES = {"fc1": "layer_enc.{}.enc.0", "bn1": "layer_enc.{}.enc.1", "lstm": "layer_lstm.{}",
          "fc2": "layer_dec.{}.dec.0",
          "bn2": "layer_dec.{}.dec.1", "fc3": "layer_dec.{}.dec.3", "bn3": "layer_dec.{}.dec.4"}  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MSS_CLI_WEIGHTS_DIR", str(tmp_path / "cache"))


def separator(settings=SIZES):
    torch.manual_seed(0)
    made = OpenUnmixSeparator(settings).eval()
    for place, network in enumerate(made.members):
        randomize(network, place)
    made.prepare(torch.device("cpu"), "fp32")
    return made


def package(made, **arguments):
    state = {"encoder.0.window": torch.hann_window(64), "decoder.window": torch.hann_window(64)}
    for stem in made.settings.network_stems:
        for key, value in made.networks[stem].state_dict().items():
            part, _, rest = key.partition(".")
            state[f"{PLACES[part].format(stem)}.{rest}" if rest else f"mean_scale.{key}_{stem}"] = value
    versions = {"torch_version": TorchVersion("1.8.1"), "asteroid_version": "0.4.4"}
    infos = {"software_versions": versions, "dataset": "musdb18"}
    return {"model_name": "XUMX", "state_dict": state, "model_args": {**ARGUMENTS, **arguments}, "infos": infos}


def written(content, path):
    torch.save(content, path)
    return path


def test_a_file_becomes_the_separator_whose_weights_it_holds(tmp_path):
    made = separator()
    path = written(package(made), tmp_path / "pretrained_xumx.pth")
    loaded, card = load(str(path))
    assert card.architecture == "open-unmix"
    assert loaded.stems == ("bass", "vocals")
    loaded.prepare(torch.device("cpu"), "fp32")
    mixture = torch.randn(1, 2, 3000, generator=torch.Generator().manual_seed(1))
    assert_close(loaded.separate(mixture), made.separate(mixture), rtol=0, atol=1e-7)


def test_what_the_file_does_not_say_has_the_defaults_of_the_package(tmp_path):
    settings = dataclasses.replace(
        SIZES, sample_rate=44_100, stft=StftSettings(4096, 1024), hidden_size=512, layers=3, heard_bins=1487
    )
    with torch.device("meta"):
        content = package(OpenUnmixSeparator(settings))
    content["model_args"] = {"sources": ["bass", "vocals"], "max_bin": 1487}
    content["state_dict"] = {key: torch.zeros(value.shape) for key, value in content["state_dict"].items()
                             if "mean" in key or "scale" in key}  # fmt: skip
    configuration = x_umx.read(content, tmp_path / "x.pth").configuration
    shown = {"n_fft": 4096, "hop_length": 1024, "sample_rate": 44_100, "hidden_size": 512, "layers": 3, "channels": 2}
    assert configuration.items() >= {**shown, "heard_bins": 1487, "crossing": "average"}.items()
    json.dumps(configuration)


def test_stems_come_in_the_order_that_is_asked_for(tmp_path):
    path = written(package(separator()), tmp_path / "x.pth")
    assert read([Part(path)], ("vocals", "bass")).stems == ("vocals", "bass")
    with pytest.raises(WeightsError, match="stems bass, vocals instead of drums"):
        read([Part(path)], ("drums",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec_power": 2}, "only magnitudes"),
        ({"window_length": 32}, "only magnitudes"),
        ({"window": "hamming"}, "its setting `window` is not known"),
        ({"sources": "bass"}, "its stems are no names"),
        ({"sources": ["bass", "drums"]}, "it lacks the weights of a stem"),
        ({"hidden_size": 8.5}, "`hidden_size` is no whole number"),
        ({"hidden_size": None}, "`hidden_size` is no whole number"),
    ],
)
def test_settings_that_are_not_known_are_refused(tmp_path, changes, message):
    path = written(package(separator(), **changes), tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=message):
        read([Part(path)])


def test_a_file_without_settings_is_refused(tmp_path):
    path = written({**package(separator()), "model_args": None}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match="how large its networks are"):
        read([Part(path)])
