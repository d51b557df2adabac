"""Configurations: shipped ones, there and back, and what is refused."""

import json

import pytest
import torch

from mss_models.catalog import build, configuration_of
from mss_models.configuration import Configuration, ConfigurationError
from mss_models.networks.per_stem import PerStemSeparator
from mss_models.presets import SHIPPED, shipped
from separators import check_separator

TINY = {
    "stems": ["vocals"],
    "sample_rate": 8192,
    "channels": 1,
    "n_fft": 256,
    "hop_length": 128,
    "bins": 128,
    "head": "polar",
    "segment_frames": 32,
    "levels": 2,
    "base_channels": 4,
    "dropout_layers": 1,
}
JOINT = {
    **{key: TINY[key] for key in TINY if key not in ("stems", "head")},
    "wiring": "source-to-pitch",
    "n_fft": 1024,
    "hop_length": 256,
    "bins": 512,
}
PAIR = {"networks": [TINY, {**TINY, "stems": ["drums"]}], "residual": "other"}


@pytest.mark.parametrize("name", list(SHIPPED))
def test_shipped_configurations_survive_json_and_come_back(name):
    configuration = shipped(name)
    settings = json.loads(json.dumps(configuration.settings))
    with torch.device("meta"):  # without memory for the weights
        made = build(configuration.architecture, settings)
        again = configuration_of(made)
        assert again.architecture == configuration.architecture
        rebuilt = build(again.architecture, json.loads(json.dumps(again.settings)))
    assert configuration_of(rebuilt) == again
    assert {key: value.shape for key, value in rebuilt.state_dict().items()} == {
        key: value.shape for key, value in made.state_dict().items()
    }


@pytest.mark.parametrize(
    ("name", "rate", "channels", "stems", "normalization", "seconds"),
    [
        ("thesis-vocals", 8192, 1, ("vocals",), "peak", 11.9),
        ("thesis-baseline", 8192, 1, ("vocals",), "peak", 11.9),
        ("thesis-noncomplex", 22_050, 1, ("vocals", "drums", "guitar", "bass", "other"), "none", 5.9),
        ("thesis-complex", 22_050, 1, ("vocals", "drums", "guitar", "bass", "other"), "none", 5.9),
        ("unet44", 44_100, 2, ("vocals", "drums", "bass", "other"), "none", 5.9),
        ("joint-source-pitch-source-pitch", 22_050, 1, ("vocals",), "peak", 5.9),
    ],
)
def test_shipped_separators_are_what_the_thesis_describes(name, rate, channels, stems, normalization, seconds):
    made = build(shipped(name).architecture, shipped(name).settings)
    assert (made.sample_rate, made.channels, made.stems) == (rate, channels, stems)
    assert made.normalization == normalization
    assert round(made.segment_samples / rate, 1) == seconds


def test_the_baseline_differs_from_the_vocal_network_by_its_skips_only():
    vocals, baseline = shipped("thesis-vocals").settings, shipped("thesis-baseline").settings
    assert {key for key in vocals if vocals[key] != baseline[key]} == {"skips"}


def test_every_wiring_of_chapter_5_is_shipped():
    joint = {name: shipped(name) for name in SHIPPED if name.startswith("joint-")}
    assert len(joint) == 10
    assert all(joint[f"joint-{made.settings['wiring']}"] == made for made in joint.values())


@pytest.mark.parametrize(
    ("architecture", "settings"), [("unet", TINY), ("unet-per-stem", PAIR), ("vocal-pitch-unet", JOINT)]
)
def test_built_separators_obey_the_laws(architecture, settings):
    check_separator(build(architecture, settings).eval(), samples=3000)


def test_weights_of_one_fit_another_of_the_same_configuration():
    one, other = build("unet-per-stem", PAIR), build("unet-per-stem", PAIR)
    other.load_state_dict(one.state_dict())
    assert isinstance(one, PerStemSeparator)
    for key, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[key])


@pytest.mark.parametrize(
    ("architecture", "settings", "message"),
    [
        ("unett", TINY, "unknown architecture `unett`, did you mean `unet`"),
        (
            "unet",
            {**TINY, "base_chanels": 4},
            "unknown key `base_chanels`, did you mean `base_channels`.*allowed: stems",
        ),
        ("unet", {key: TINY[key] for key in TINY if key != "head"}, "head: missing"),
        ("unet", {**TINY, "head": "square"}, "head: expected one of sigmoid, polar, cartesian, got 'square'"),
        ("unet", {**TINY, "levels": 2.0}, "levels: expected an integer, got 2.0"),
        ("unet", {**TINY, "levels": True}, "levels: expected an integer, got True"),
        ("unet", {**TINY, "skips": 1}, "skips: expected true or false"),
        ("unet", {**TINY, "stems": "vocals"}, "stems: expected a list of names"),
        ("unet", {**TINY, "stems": []}, "unet: stems must be different names"),
        ("unet", {**TINY, "bins": 130}, r"unet: bins must be in \[1, 129\]"),
        ("unet", {**TINY, "window": "boxcar"}, "window: expected one of hann"),
        ("unet-per-stem", {**PAIR, "networks": TINY["stems"]}, "networks: expected a list of settings"),
        ("unet-per-stem", {**PAIR, "networks": []}, "at least one network"),
        ("unet-per-stem", {**PAIR, "residual": "drums"}, "different names"),
        ("unet-per-stem", {**PAIR, "residual": 3}, "residual: expected a name or null"),
        ("unet-per-stem", {**PAIR, "rest": None}, "unknown key `rest`"),
        ("vocal-pitch-unet", {**JOINT, "wiring": "pitch"}, "wiring: expected one of pitch-only, .*, got 'pitch'"),
        ("vocal-pitch-unet", {**JOINT, "stems": ["vocals"]}, "unknown key `stems`"),
        ("vocal-pitch-unet", {**JOINT, "channels": 2}, "vocal-pitch-unet: channels must be 1"),
        ("vocal-pitch-unet", {key: JOINT[key] for key in JOINT if key != "wiring"}, "wiring: missing"),
    ],
)
def test_faulty_configurations_are_refused_with_the_key(architecture, settings, message):
    with pytest.raises(ConfigurationError, match=message):
        build(architecture, settings)


def test_a_name_that_does_not_exist_lists_what_does():
    with pytest.raises(ConfigurationError, match=r"did you mean `unet44`\?.*allowed: thesis-vocals"):
        shipped("unet4")


def test_configurations_compare_by_value():
    assert Configuration("unet", dict(TINY)) == Configuration("unet", dict(TINY))
