"""Open-Unmix as separators: known answers, laws, equations, crossings, folding, weights, settings."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import crossed_open_unmix_twin as twin
from mss_models.catalog import build, configuration_of
from mss_models.centered_stft import centered_stft
from mss_models.configuration import ConfigurationError
from mss_models.errors import StateMismatch
from mss_models.networks.open_unmix.network import (
    OpenUnmix,
    bin_statistics,
    crossed_factors,
    crossnet_states,
    published_state,
)
from mss_models.networks.open_unmix.separator import OpenUnmixSeparator, OpenUnmixSettings
from mss_models.presets import shipped
from mss_models.stft import StftSettings
from open_unmix_peer import KNOWN, KNOWN_SETTINGS, randomize
from overfitting import sdr_db
from parity_rows import ParityRow
from separators import check_separator

CPU = torch.device("cpu")
SMALL = OpenUnmixSettings(
    ("vocals", "drums", "bass"), 8000, 2, StftSettings(128, 32), 40, hidden_size=12, layers=2, segment_frames=64
)
VARIANTS = {
    "stereo": SMALL,
    "average": dataclasses.replace(SMALL, crossing="average"),
    "concatenate": dataclasses.replace(SMALL, crossing="concatenate", residual="rest"),
    "one direction": dataclasses.replace(SMALL, bidirectional=False, wiener_softmask=True),
    "mono": dataclasses.replace(SMALL, channels=1, stft=StftSettings(128, 64), wiener_iterations=2),
    "one stem": dataclasses.replace(SMALL, network_stems=("vocals",), wiener_iterations=0, wiener_frames=0),
    "whole": dataclasses.replace(SMALL, wiener_frames=0, layers=1),
}
VALUES = configuration_of(OpenUnmixSeparator(SMALL)).settings


def separator(chosen: OpenUnmixSettings, *, seed: int = 0) -> OpenUnmixSeparator:
    """In evaluation mode, with norms and standardisations that are not the identity."""
    torch.manual_seed(seed)
    made = OpenUnmixSeparator(chosen).eval()
    for place, network in enumerate(made.members):
        randomize(network, seed + place)
    return made


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("filtered", [True, False])
def test_known_weights_give_what_the_package_gave(filtered):
    known = np.load(KNOWN)
    settings = KNOWN_SETTINGS if filtered else dataclasses.replace(KNOWN_SETTINGS, wiener_iterations=0)
    ours = OpenUnmixSeparator(settings).eval()
    for stem, network in zip(settings.network_stems, ours.members, strict=True):
        state = network.state_dict()
        sizes = [state[key].numel() for key in sorted(state)]
        parts = torch.from_numpy(known[stem]).split(sizes)
        pairs = zip(sorted(state), parts, strict=True)
        network.load_state_dict({key: part.to(state[key].dtype).view(state[key].shape) for key, part in pairs})
    ours.prepare(CPU, "fp32")
    expected = torch.from_numpy(known["filtered" if filtered else "unfiltered"])
    actual = ours.separate(torch.from_numpy(known["mixture"]).float())
    assert_close(actual, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_laws_of_separators_hold(variant):
    check_separator(separator(VARIANTS[variant]), samples=3000)


def test_the_laws_hold_in_half_precision():
    check_separator(separator(SMALL), precision="bf16", samples=2000)


@pytest.mark.parametrize("variant", VARIANTS)
def test_folded_networks_give_the_factors_of_the_networks(variant):
    made = separator(VARIANTS[variant])
    magnitudes = noise(1, made.channels, 30, 65).abs()
    with torch.no_grad():
        expected = crossed_factors(made.members, magnitudes, made.settings.crossing)[0]
        made.prepare(CPU, "fp32")
        signals = made.folded.encode(magnitudes)
        actual = made.folded.decode(signals[:, 0], made.folded.recur(signals)[:, 0])
    assert_close(actual, expected, rtol=0, atol=1e-5 * float(expected.max()))


@pytest.mark.parametrize("variant", ["stereo", "average", "concatenate"])
def test_without_a_filter_the_fast_way_gives_what_training_sees(variant):
    made = separator(dataclasses.replace(VARIANTS[variant], wiener_iterations=0))
    mixture = noise(2, 2, 2000)
    made.prepare(CPU, "fp32")
    with torch.no_grad():
        expected = made(mixture)
    assert_close(made.separate(mixture), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_uncrossed_networks_do_not_depend_on_each_other_and_crossed_ones_do():
    magnitudes = noise(1, 2, 20, 65).abs()
    for crossing, depends in (("none", False), ("average", True), ("concatenate", True)):
        made = separator(dataclasses.replace(SMALL, crossing=crossing))
        with torch.no_grad():
            before = crossed_factors(made.members, magnitudes, crossing)[:, 0]
            made.members[1].bn1.bias.add_(0.3)
            after = crossed_factors(made.members, magnitudes, crossing)[:, 0]
        assert torch.equal(before, after) != depends


@pytest.mark.parametrize("directions", [True, False], ids=["both", "one"])
@pytest.mark.parametrize("crossing", ["none", "average", "concatenate"])
def test_crossed_networks_are_their_slow_twin(crossing, directions, record_property):
    made = separator(dataclasses.replace(SMALL, crossing=crossing, bidirectional=directions))
    magnitudes = noise(1, 2, 20, 65).abs()
    states = [{key: value.double().numpy() for key, value in one.state_dict().items()} for one in made.members]
    expected = torch.from_numpy(twin.crossed_factors(states, magnitudes[0].double().numpy(), crossing))
    with torch.no_grad():
        actual = crossed_factors(made.members, magnitudes, crossing)[0].double()
    difference = float((actual - expected).abs().max() / expected.abs().max())
    count = sum(weight.numel() for weight in made.parameters())
    name = f"{crossing} crossing, {'both directions' if directions else 'one direction'}"
    ParityRow("Open-Unmix", name, "slow twin in double precision", count, difference).record(record_property)
    assert difference < 1e-5


def test_averaging_equal_networks_changes_nothing():
    made = separator(SMALL)
    for network in made.members[1:]:
        network.load_state_dict(made.members[0].state_dict())
    magnitudes = noise(1, 2, 20, 65).abs()
    with torch.no_grad():
        plain, averaged = (crossed_factors(made.members, magnitudes, crossing) for crossing in ("none", "average"))
    assert_close(plain, averaged, rtol=1e-5, atol=1e-5)


def test_the_second_linear_layer_sees_all_signals_in_the_order_of_the_stems_and_then_its_own_recurrence():
    made = separator(dataclasses.replace(SMALL, crossing="concatenate"))
    magnitudes = noise(1, 2, 20, 65).abs()
    with torch.no_grad():
        signals = [network.encode(magnitudes) for network in made.members]
        own = made.members[2].recur(signals[2])
        expected = made.members[2].decode(torch.cat([*signals, own], dim=-1))
        assert torch.equal(crossed_factors(made.members, magnitudes, "concatenate")[:, 2], expected)


def test_in_one_direction_the_future_changes_no_factor():
    made = separator(VARIANTS["one direction"])
    magnitudes = noise(1, 2, 30, 65).abs()
    later = magnitudes.clone()
    later[:, :, 20:] *= 3
    with torch.no_grad():
        before, after = made.members[0](magnitudes), made.members[0](later)
    assert_close(before[:, :, :20], after[:, :, :20])
    assert not torch.equal(before[:, :, 20:], after[:, :, 20:])


def test_bins_above_those_it_hears_change_nothing_it_gives():
    made = separator(SMALL)
    magnitudes = noise(1, 2, 30, 65).abs()
    higher = magnitudes.clone()
    higher[..., 40:] += 1
    with torch.no_grad():
        assert torch.equal(made.members[0](magnitudes), made.members[0](higher))


def test_a_residual_without_a_filter_is_what_the_others_leave():
    made = separator(dataclasses.replace(SMALL, residual="rest", wiener_iterations=0))
    made.prepare(CPU, "fp32")
    mixture = noise(1, 2, 3000)
    estimates = made.separate(mixture)
    assert made.stems == ("vocals", "drums", "bass", "rest")
    assert made.network_stems == ("vocals", "drums", "bass")
    assert_close(estimates.sum(dim=1), mixture, rtol=0, atol=1e-5 * float(estimates.abs().max()))
    with torch.no_grad():
        assert_close(made(mixture), estimates, rtol=0, atol=1e-5 * float(estimates.abs().max()))


def test_standardisation_is_measured_per_bin_over_all_mixtures():
    magnitudes = [noise(7, 5).abs(), noise(2, 11, 5, seed=1).abs(), noise(0, 5)]
    rows = torch.cat([part.flatten(0, -2) for part in magnitudes])
    mean, deviation = bin_statistics(magnitudes)
    assert_close(mean, rows.mean(dim=0))
    assert_close(deviation, rows.std(dim=0, correction=0))
    with pytest.raises(ValueError, match="no frame"):
        bin_statistics([noise(0, 5)])


def test_after_standardisation_the_first_layer_sees_mean_0_and_deviation_1():
    made = OpenUnmixSeparator(SMALL)
    mixtures = [noise(1, 2, 8000, seed=seed).cumsum(dim=-1) for seed in range(3)]
    mixtures = [mixture - mixture.mean(dim=-1, keepdim=True) for mixture in mixtures]
    made.standardize(mixtures)
    network = made.members[1]
    magnitudes = torch.cat([centered_stft(mixture, SMALL.stft).abs().mean(dim=1)[0] for mixture in mixtures])
    standard = (magnitudes[:, :40] + network.input_mean) * network.input_scale
    assert_close(standard.mean(dim=0), torch.zeros(40), rtol=0, atol=1e-4)
    assert_close(standard.std(dim=0, correction=0), torch.ones(40), rtol=0, atol=1e-3)


def test_silent_mixtures_leave_the_standardisation_finite():
    made = OpenUnmixSeparator(SMALL)
    made.standardize([torch.zeros(1, 2, 1000)])
    assert all(torch.isfinite(value).all() for value in made.state_dict().values())


def test_one_example_is_learned_by_heart():
    settings = dataclasses.replace(SMALL, network_stems=("low", "high"), hidden_size=32, layers=1, wiener_iterations=0)
    torch.manual_seed(0)
    made = OpenUnmixSeparator(settings)
    time = torch.arange(4000) / 8000
    low = torch.sin(2 * torch.pi * 300 * time) * (time < 0.3)
    high = torch.sin(2 * torch.pi * 1200 * time) * (time > 0.15)
    targets = torch.stack([low, high])[None, :, None].expand(-1, -1, 2, -1)
    mixture = targets.sum(dim=1)
    made.standardize([mixture])
    optimizer = torch.optim.Adam(made.parameters(), lr=5e-3)
    for _ in range(80):
        optimizer.zero_grad()
        (made(mixture) - targets).square().mean().backward()
        optimizer.step()
    made.eval()
    made.prepare(CPU, "fp32")
    estimates = made.separate(mixture)
    assert sdr_db(targets, estimates) > sdr_db(targets, (mixture / 2).unsqueeze(1).expand_as(targets)) + 10


def test_early_published_files_hold_a_window_and_a_rate_that_are_no_weights():
    made = OpenUnmix(SMALL.network)
    state = {**made.state_dict(), "stft.window": noise(8), "transform.0.window": noise(8), "sample_rate": noise(1)}
    assert published_state(state).keys() == made.state_dict().keys()


def test_a_published_crossed_network_is_sorted_by_stem():
    made = separator(VARIANTS["average"])
    names = {"fc1": "layer_enc.{}.enc.0", "bn1": "layer_enc.{}.enc.1", "lstm": "layer_lstm.{}"}
    names |= {"fc2": "layer_dec.{}.dec.0", "bn2": "layer_dec.{}.dec.1"}
    names |= {"fc3": "layer_dec.{}.dec.3", "bn3": "layer_dec.{}.dec.4"}
    published = {"encoder.0.window": noise(8), "decoder.window": noise(8)}
    for stem in SMALL.network_stems:
        for key, value in made.networks[stem].state_dict().items():
            part, _, rest = key.partition(".")
            place = f"{names[part].format(stem)}.{rest}" if rest else f"mean_scale.{key}_{stem}"
            published[place] = value
    states = crossnet_states(published, SMALL.network_stems)
    other = separator(VARIANTS["average"], seed=1)
    for stem in SMALL.network_stems:
        other.networks[stem].load_state_dict(states[stem])
    assert all(torch.equal(value, made.state_dict()[key]) for key, value in other.state_dict().items())


def test_weights_of_another_size_are_refused():
    wide = OpenUnmixSeparator(dataclasses.replace(SMALL, hidden_size=14))
    with pytest.raises(StateMismatch, match=r"networks\.vocals\.fc1\.weight"):
        OpenUnmixSeparator(SMALL).load_state_dict(wide.state_dict())


def test_weights_that_change_must_be_prepared_again():
    made = separator(SMALL)
    made.prepare(CPU, "fp32")
    made.load_state_dict(separator(SMALL, seed=3).state_dict())
    with pytest.raises(RuntimeError, match="call `prepare`"):
        made.separate(noise(1, 2, 500))


@pytest.mark.parametrize("name", ["umx", "umxl", "umxse", "xumx", "umx-crossed", "umx-realtime"])
def test_shipped_settings_are_built_and_come_back(name):
    with torch.device("meta"):
        made = build("open-unmix", shipped(name).settings)
    again = configuration_of(made)
    assert again.architecture == "open-unmix"
    with torch.device("meta"):
        assert configuration_of(build("open-unmix", again.settings)) == again


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"stems": []}, "stems must be different names"),
        ({"stems": ["a", "a"]}, "stems must be different names"),
        ({"stems": ["a.b", "c"]}, "without dots"),
        ({"stems": ["keys", "c"]}, "without dots that Python does not use"),
        ({"residual": "vocals"}, "different names"),
        ({"residual": 3}, "residual must be a name or null"),
        ({"channels": 3}, "channels must be 1 or 2"),
        ({"sample_rate": 0}, "sample_rate must be positive"),
        ({"hop_length": 80}, r"hop_length must be in \[1, 64\], got 80"),
        ({"heard_bins": 66}, r"heard_bins must be in \[1, 65\], got 66"),
        ({"hidden_size": 13}, "hidden_size must be even"),
        ({"layers": 0}, "layers and skips must be at least 1"),
        ({"crossing": "sum"}, "crossing: expected one of none, average, concatenate"),
        ({"stems": ["vocals"]}, "wiener_iterations must be 0 for one stem"),
        ({"wiener_frames": -1}, "wiener_frames must be at least 0"),
        ({"hiden_size": 3}, "unknown key `hiden_size`, did you mean `hidden_size`"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changed, message):
    with pytest.raises(ConfigurationError, match=message):
        build("open-unmix", {**VALUES, **changed})
