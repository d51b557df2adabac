"""TFC-TDF v3 (MDX23C): known answers of hand-made weights, and the laws of every separator."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from mss_models.catalog import build, configuration_of
from mss_models.configuration import ConfigurationError
from mss_models.errors import ShapeError
from mss_models.networks.tfc_tdf_v3 import TfcTdfV3, TfcTdfV3Shape
from mss_models.networks.tfc_tdf_v3_separator import TfcTdfV3Separator, TfcTdfV3Settings
from mss_models.separator import SegmentFiller
from mss_models.stft import StftSettings
from separators import check_separator

SHAPE = TfcTdfV3Shape(
    planes=4, targets=2, bins=96, sub_bands=2, scales=2, blocks=1, channels=16, growth=4, bottleneck=3
)
SMALL = TfcTdfV3Settings(("vocals", "other"), 8000, 2, StftSettings(256, 64), 64 * 31, SHAPE)
# Of github.com/ZFTurbo/Music-Source-Separation-Training, configs/config_vocals_mdx23c.yaml.
PUBLISHED = TfcTdfV3Settings(
    *(("vocals", "other"), 44_100, 2, StftSettings(8192, 1024), 261_120),
    TfcTdfV3Shape(
        planes=4, targets=2, bins=4096, sub_bands=4, scales=5, blocks=2, channels=128, growth=128, bottleneck=4
    ),
)


def handing_on(kept_bands):
    """A network of which the first stem is the mixture's lower bins, in some sub-bands, and the second nothing."""
    shape = replace(SHAPE, norm="none", activation="relu")
    separator = TfcTdfV3Separator(replace(SMALL, shape=shape))
    for parameter in separator.parameters():
        parameter.data.zero_()
    planes, bands = shape.planes, shape.sub_bands
    first, last = separator.network.final_conv[0].weight.data, separator.network.final_conv[2].weight.data
    for place in range(planes * bands):
        if place % bands in kept_bands:
            # max(x, 0) and max(-x, 0), whose difference is x.
            first[2 * place, place], first[2 * place + 1, place] = 1, -1
            last[place, 2 * place], last[place, 2 * place + 1] = 1, -1
    separator.prepare(torch.device("cpu"), "fp32")
    return separator


def tone(bin_number, samples=64 * 31):
    """A tone in the middle of a bin; (1, 2, sample)."""
    phase = 2 * torch.pi * bin_number * torch.arange(samples, dtype=torch.float64) / 256
    return torch.stack([phase.sin(), phase.cos()])[None].float()


def middle(signal):
    return signal[..., 512:-512]


def test_a_network_that_hands_on_what_it_sees_gives_the_mixture_without_the_bins_above():
    low, high = tone(40), tone(120)
    estimates = handing_on({0, 1}).separate(low + high)
    assert_close(middle(estimates[:, 0]), middle(low), rtol=0, atol=1e-5)
    assert not estimates[:, 1].any()


def test_sub_bands_are_bands_of_neighbouring_bins():
    low, high = tone(20), tone(70)  # 96 bins: the first band ends below bin 48
    estimates = handing_on({1}).separate(low + high)
    assert_close(middle(estimates[:, 0]), middle(high), rtol=0, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 100, 64 * 31, 64 * 31 + 1, 5000])
def test_signals_of_any_length_come_back_whole(samples):
    mixture = torch.randn(1, 2, samples, generator=torch.Generator().manual_seed(0))
    whole = handing_on({0, 1})
    longer = torch.nn.functional.pad(mixture, (0, SMALL.padded_samples(samples) - samples))
    assert_close(whole.separate(mixture), whole.separate(longer)[..., :samples], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("samples", "padded"), [(261_120, 261_120), (261_121, 261_120 + 32_768), (1, 31 * 1024)])
def test_the_published_network_takes_frames_by_32(samples, padded):
    assert PUBLISHED.padded_samples(samples) == padded


def test_the_published_sizes_have_the_published_number_of_weights():
    with torch.device("meta"):
        network = TfcTdfV3(replace(PUBLISHED.shape, targets=4))
    # 111.99 million, as its publisher counts them for four stems.
    assert round(sum(one.numel() for one in network.parameters()) / 1e6, 2) == 111.99


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"norm": "batch", "activation": "relu"},
        {"norm": "group", "norm_groups": 2, "activation": "elu", "elu_alpha": 0.5},
        {"norm": "none"},
    ],
    ids=str,
)
def test_it_obeys_the_laws_of_separators(changes):
    torch.manual_seed(0)
    check_separator(TfcTdfV3Separator(replace(SMALL, shape=replace(SHAPE, **changes))))


def test_it_obeys_them_in_bfloat16_too():
    torch.manual_seed(0)
    check_separator(TfcTdfV3Separator(SMALL), precision="bf16")


@pytest.mark.parametrize("norm", ["instance", "none"])
def test_training_and_inference_agree(norm):
    torch.manual_seed(0)
    separator = TfcTdfV3Separator(replace(SMALL, shape=replace(SHAPE, norm=norm))).eval()
    separator.prepare(torch.device("cpu"), "fp32")
    mixture = torch.randn(2, 2, 3000)
    estimates = separator(mixture)  # with gradients: nothing is overwritten
    estimates.square().mean().backward()
    assert all(bool(one.grad.isfinite().all()) for one in separator.parameters() if one.grad is not None)
    assert_close(estimates.detach(), separator.separate(mixture), rtol=0, atol=1e-5)


def test_the_last_segment_of_a_track_is_filled_up():
    separator = TfcTdfV3Separator(SMALL)
    assert isinstance(separator, SegmentFiller)
    assert separator.fills_segments
    assert separator.segment_samples == 64 * 31


def test_settings_come_back_from_the_catalogue():
    shape = replace(SHAPE, norm="group", norm_groups=4, activation="elu", elu_alpha=0.25, scale_frames=1)
    for settings in (SMALL, replace(SMALL, shape=shape)):
        made = configuration_of(TfcTdfV3Separator(settings))
        again = build(made.architecture, made.settings)
        assert isinstance(again, TfcTdfV3Separator)
        assert again.settings == settings


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"bins": 98}, "bins must be a multiple of 8"),
        ({"bottleneck": 13}, "bottleneck must be at most 12"),
        ({"norm": "layer"}, "norm must be one of"),
        ({"activation": "tanh"}, "activation must be one of"),
        ({"norm": "group", "norm_groups": 3}, "norm_groups must divide"),
        ({"growth": -1}, "growth at least 0"),
    ],
)
def test_sizes_that_do_not_go_together_are_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        replace(SHAPE, **changes)


def test_an_unknown_key_is_named():
    made = configuration_of(TfcTdfV3Separator(SMALL))
    with pytest.raises(ConfigurationError, match="network_scale"):
        build("tfc-tdf-v3", {**made.settings, "network_scale": 2})


def test_frames_that_cannot_be_halved_are_refused():
    with pytest.raises(ShapeError, match="multiple of 4 frames"):
        TfcTdfV3(SHAPE)(torch.zeros(1, 4, 6, 96))
