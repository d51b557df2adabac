"""SCNet: known answers of hand-made weights, and the laws of every separator."""

import copy
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from mss_models.catalog import build, configuration_of
from mss_models.errors import ShapeError
from mss_models.networks.scnet.dual_path import DualPath
from mss_models.networks.scnet.network import Scnet
from mss_models.networks.scnet.separator import ScnetSeparator
from mss_models.networks.scnet.settings import Bands, ScnetSettings
from mss_models.separator import SegmentFiller
from separators import check_separator

SMALL = ScnetSettings(*(("vocals", "other"), 8000, 2, 4000), n_fft=256, hop_length=64, widths=(4, 8, 12), dual_paths=2)
MASKED = replace(SMALL, masked=True, normalization="deviation", unitary=False)
FOUR = ("drums", "bass", "other", "vocals")
PUBLISHED = ScnetSettings(FOUR, 44_100, 2, 485_100)
LARGE = replace(PUBLISHED, widths=(4, 64, 128, 256), bands=Bands(shares=(0.225, 0.372, 0.403)))


def weights_of(settings):
    with torch.device("meta"):
        return sum(one.numel() for one in Scnet(settings).parameters())


def test_the_published_bands_have_the_bins_of_the_paper_s_shares():
    # 2049 bins: 17.5 % end in bin 358.6, 56.7 % in bin 1161.8, each rounded up.
    assert Bands().lengths(2049) == (359, 803, 887)
    # The low band stays, 803 / 4 and 887 / 16 are rounded up.
    assert Bands().compressed(2049) == (359, 201, 56)


@pytest.mark.parametrize(
    ("settings", "million"),
    [(PUBLISHED, 10.58), (replace(PUBLISHED, masked=True), 10.60)],
    ids=["small", "masked small"],
)
def test_the_published_sizes_have_the_published_number_of_weights(settings, million):
    assert round(weights_of(settings) / 1e6, 2) == million


def test_four_times_the_weights_in_the_large_one():
    # 41.2 million in the paper, whose bands are cut a little otherwise.
    assert round(weights_of(LARGE) / 1e6) in (41, 42)


@pytest.mark.parametrize(("samples", "hops"), [(1, 3), (64 * 3, 5), (64 * 4, 5), (64 * 4 + 1, 5), (64 * 5, 7)])
def test_signals_are_filled_up_to_an_even_number_of_frames(samples, hops):
    assert SMALL.padded_samples(samples) == 64 * hops


def test_the_middle_hands_on_what_it_gets_when_its_layers_are_silent():
    torch.manual_seed(0)
    middle = DualPath(6, layers=4, expansion=1)
    for layer in middle.dp_modules:
        for linear in layer.linear_layers:
            torch.nn.init.zeros_(linear.weight)
            torch.nn.init.zeros_(linear.bias)
    maps = torch.randn(2, 6, 7, 10)
    assert_close(middle(maps), maps, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("real", "imaginary"), [(0.5, 0.0), (0.0, 0.5)])
def test_masks_multiply_the_spectrogram(real, imaginary):
    separator = ScnetSeparator(MASKED)
    last = separator.network.mask_layer[2]
    torch.nn.init.zeros_(last.weight)
    last.bias.data = torch.atanh(torch.tensor([real, imaginary] * 4))  # (stem, channel, part)
    separator.prepare(torch.device("cpu"), "fp32")
    time = torch.arange(64 * 61, dtype=torch.float64) / 256
    phase = 2 * torch.pi * torch.tensor([[20.0], [33.0]]) * time  # (channel, sample)
    mixture, turned = phase.cos()[None].float(), phase.sin()[None].float()
    # Half as loud; times i, a cosine is turned into minus the sine.
    expected = real * mixture - imaginary * turned
    for stem in (0, 1):
        estimate = separator.separate(mixture)[:, stem]
        assert_close(estimate[..., 512:-512], expected[..., 512:-512], rtol=0, atol=1e-5)


@pytest.mark.parametrize("settings", [SMALL, MASKED], ids=["plain", "masked"])
def test_folding_halves_convolutions_and_changes_nothing(settings):
    torch.manual_seed(0)
    network = Scnet(settings).eval()
    folded = copy.deepcopy(network)
    folded.fold()
    planes = torch.randn(1, 4, 129, 8)
    with torch.no_grad():
        assert_close(folded(planes), network(planes), rtol=0, atol=1e-5)
    twice, once = network.decoder[0][0].conv.weight, folded.decoder[0][0].conv.weight
    assert 2 * once.numel() == twice.numel()


@pytest.mark.parametrize(
    "settings",
    [SMALL, MASKED, replace(SMALL, channels=1, widths=(2, 6, 8), stems=("vocals",), expansion=2)],
    ids=["plain", "masked", "mono"],
)
def test_it_obeys_the_laws_of_separators(settings):
    torch.manual_seed(0)
    check_separator(ScnetSeparator(settings))


def test_it_obeys_them_in_bfloat16_too():
    torch.manual_seed(0)
    check_separator(ScnetSeparator(SMALL), precision="bf16")


@pytest.mark.parametrize("settings", [SMALL, MASKED], ids=["plain", "masked"])
def test_training_and_inference_agree(settings):
    torch.manual_seed(0)
    separator = ScnetSeparator(settings).eval()
    separator.prepare(torch.device("cpu"), "fp32")
    mixture = torch.randn(2, 2, 3000)
    estimates = separator(mixture)
    estimates.square().mean().backward()
    assert all(bool(one.grad.isfinite().all()) for one in separator.parameters())
    assert_close(estimates.detach(), separator.separate(mixture), rtol=0, atol=1e-5)


def test_tracks_are_measured_and_filled_up_as_upstream():
    separator = ScnetSeparator(MASKED)
    assert separator.normalization == "deviation"
    assert isinstance(separator, SegmentFiller)
    assert separator.fills_segments


@pytest.mark.parametrize("settings", [SMALL, MASKED, replace(SMALL, bands=Bands(strides=(1, 4, 4), kernels=(5, 4, 4)))])
def test_settings_come_back_from_the_catalogue(settings):
    made = configuration_of(ScnetSeparator(settings))
    again = build(made.architecture, made.settings)
    assert isinstance(again, ScnetSeparator)
    assert again.settings == settings


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"widths": (6, 8)}, "widths must begin with 4"),
        ({"dual_paths": 3}, "dual_paths must be even"),
        ({"kernel": 4}, "kernel must be odd"),
        ({"compression": 9}, "compression must be"),
        ({"n_fft": 8, "hop_length": 2, "bands": Bands(shares=(0.5, 0.4, 0.1))}, "too few for 2 levels"),
        ({"normalization": "peak"}, "normalization must be"),
        ({"hop_length": 200}, "hop_length"),
    ],
)
def test_sizes_that_do_not_go_together_are_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        replace(SMALL, **changes)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"shares": (0.5, 0.5, 0.1)}, "the first two together below 1"),
        ({"strides": (1, 4)}, "must have 3 values"),
        ({"kernels": (2, 4, 16)}, "a kernel must be as long as its stride 1"),
        ({"kernels": (3, 5, 16)}, "a kernel must be as long as its stride 4"),
        ({"depths": (0, 1, 1)}, "at least 1"),
    ],
)
def test_bands_that_cannot_be_are_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        Bands(**changes)


def test_an_odd_number_of_frames_is_refused():
    with pytest.raises(ShapeError, match="even number of frames"):
        Scnet(SMALL)(torch.zeros(1, 4, 129, 7))
