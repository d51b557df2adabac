"""Our Open-Unmix and the package openunmix 1.3.0 with the same random weights.

To run it: ``pip install --no-deps --target DIR openunmix==1.3.0`` and ``PYTHONPATH=DIR``.
"""

import dataclasses

import pytest
import torch
from torch.testing import assert_close

from mss_models.catalog import build
from mss_models.networks.open_unmix.network import OpenUnmix
from mss_models.networks.open_unmix.separator import OpenUnmixSettings
from mss_models.presets import shipped
from mss_models.stft import StftSettings
from open_unmix_peer import build_ours, build_peer, peer_model, randomize
from parity_rows import ParityRow

FOUR = ("vocals", "drums", "bass", "other")
STEREO = OpenUnmixSettings(FOUR, 44_100, 2, StftSettings(256, 64), 80, hidden_size=48)
MONO = OpenUnmixSettings(("speech", "noise"), 16_000, 1, StftSettings(256, 128), 129, hidden_size=32)
CASES = {
    "four stems in stereo, filtered once": STEREO,
    "no filter": dataclasses.replace(STEREO, wiener_iterations=0),
    "filtered twice": dataclasses.replace(STEREO, wiener_iterations=2),
    "from shares of the mixture": dataclasses.replace(STEREO, wiener_softmask=True),
    "all frames in one window": dataclasses.replace(STEREO, wiener_frames=0),
    "a short window": dataclasses.replace(STEREO, wiener_frames=50),
    "a residual": dataclasses.replace(STEREO, residual="rest"),
    "one stem and a residual": dataclasses.replace(STEREO, network_stems=("vocals",), residual="rest"),
    "one layer, all bins heard": dataclasses.replace(STEREO, layers=1, heard_bins=129),
    "in one direction": dataclasses.replace(STEREO, bidirectional=False, layers=2),
    "wide": dataclasses.replace(STEREO, hidden_size=128),
    "mono": MONO,
    "mono, filtered twice with a residual": dataclasses.replace(MONO, wiener_iterations=2, residual="rest"),
}


def music(channels: int, samples: int, *, seed: int = 0) -> torch.Tensor:
    """Noise that falls towards high frequencies, its channels half alike, peak 1; (1, channel, sample)."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(channels + 1, samples + 200, generator=generator).cumsum(dim=-1)
    noise = noise[:, 200:] - noise[:, :-200]
    signal = noise[:channels] + noise[-1:]
    return (signal / signal.abs().max())[None]


def row(network, case, against, actual, expected):
    parameters = sum(one.numel() for one in network.parameters())
    difference = float((actual - expected).abs().max() / expected.abs().max())
    return ParityRow("Open-Unmix", case, against, parameters, difference)


@pytest.mark.parametrize("case", CASES)
def test_estimates_are_those_of_the_package(case, record_property):
    settings = CASES[case]
    peer = build_peer(settings)
    ours = build_ours(settings, peer)
    mixture = music(settings.channels, settings.stft.hop_length * 400)
    # The package rounds more: its filter works in single precision, on small differences of large products.
    expected = peer.double()(mixture.double())
    actual = ours.separate(mixture).double()
    against = "openunmix 1.3.0, in double precision"
    row(ours, case, against, actual, expected).record(record_property)
    assert_close(actual, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("case", CASES)
def test_estimates_are_those_of_the_package_in_single_precision(case, record_property):
    settings = CASES[case]
    peer = build_peer(settings)
    mixture = music(settings.channels, settings.stft.hop_length * 400)
    expected = peer(mixture.clone())
    ours = build_ours(settings, peer)
    actual = ours.separate(mixture)
    row(ours, case, "openunmix 1.3.0", actual, expected).record(record_property)
    assert_close(actual, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("remainder", [1, 30, 63])
def test_any_length_ends_as_the_package_ends(remainder):
    peer = build_peer(STEREO)
    mixture = music(2, 64 * 37 + remainder)
    expected = peer(mixture.clone())
    assert_close(build_ours(STEREO, peer).separate(mixture), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_without_the_filter_training_sees_the_same_estimates():
    settings = CASES["no filter"]
    peer = build_peer(settings)
    mixture = music(2, 64 * 50)
    expected = peer(mixture.clone())
    with torch.no_grad():
        actual = build_ours(settings, peer)(mixture)
    assert_close(actual, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_batch_statistics_and_gradients_of_training_are_those_of_the_package():
    model = peer_model()
    torch.manual_seed(0)
    peer = model.OpenUnmix(nb_bins=33, nb_channels=2, hidden_size=16, nb_layers=1, max_bin=20)
    randomize(peer, 0)
    settings = OpenUnmixSettings(("vocals",), 8000, 2, StftSettings(64, 16), 20, 16, 1, wiener_iterations=0)
    ours = OpenUnmix(settings.network)
    ours.load_state_dict(peer.state_dict())
    magnitudes = torch.rand(3, 2, 33, 25)
    expected = peer(magnitudes.clone())
    actual = (ours(magnitudes.transpose(2, 3)) * magnitudes.transpose(2, 3)).transpose(2, 3)
    assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    expected.square().mean().backward()
    actual.square().mean().backward()
    expected_gradients = {name: one.grad for name, one in peer.named_parameters()}
    gradients = {name: one.grad for name, one in ours.named_parameters()}
    assert_close(gradients, {name: expected_gradients[name] for name in gradients}, rtol=1e-3, atol=1e-5)
    assert_close(dict(ours.named_buffers()), dict(peer.named_buffers()))


@pytest.mark.parametrize("name", ["umx", "umxhq", "umxl", "umxse"])
def test_published_sizes_have_the_names_shapes_and_numbers_of_the_package(name):
    openunmix = peer_model()
    settings = shipped(name).settings
    with torch.device("meta"):
        ours = build("open-unmix", settings).members[0]
        peer = openunmix.OpenUnmix(
            nb_bins=settings["n_fft"] // 2 + 1,
            nb_channels=settings["channels"],
            hidden_size=settings.get("hidden_size", 512),
            max_bin=settings["heard_bins"],
        )
    assert {key: value.shape for key, value in ours.state_dict().items()} == {
        key: value.shape for key, value in peer.state_dict().items()
    }
    assert sum(one.numel() for one in ours.parameters()) == sum(one.numel() for one in peer.parameters())
