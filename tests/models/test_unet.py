"""U-Net: parity with a plain version written from the papers, sizes, folding, any bins and frames."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from torch import Tensor
from torch.testing import assert_close

from mss_models.errors import ShapeError
from mss_models.networks.unet import Unet, UnetSettings

SMALL = {"levels": 3, "base_channels": 4}
SETTINGS = [
    UnetSettings(**SMALL, dropout_layers=2),
    UnetSettings(**SMALL, dropout_layers=2, skips=False),
    UnetSettings(2, 2, **SMALL, normalize_first=False, dropout_layers=2),
    UnetSettings(4, 16, levels=1, base_channels=3, dropout_layers=0),
]


def network(settings: UnetSettings) -> Unet:
    """Random weights and random statistics, so that no norm is the identity."""
    torch.manual_seed(0)
    unet = Unet(settings).eval()
    for module in unet.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    return unet


def maps(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape)).float()


def plain_unet(state: dict[str, Tensor], settings: UnetSettings, image: Tensor) -> Tensor:
    """The network in the words of the papers, on (batch, channel, frame, bin)."""

    def normalized(x: Tensor, prefix: str) -> Tensor:
        if f"{prefix}.norm.weight" not in state:
            return x
        mean, variance = state[f"{prefix}.norm.running_mean"], state[f"{prefix}.norm.running_var"]
        x = (x - mean[:, None, None]) / torch.sqrt(variance[:, None, None] + 1e-5)
        return x * state[f"{prefix}.norm.weight"][:, None, None] + state[f"{prefix}.norm.bias"][:, None, None]

    outputs = []
    x = image
    for level in range(settings.levels):  # (4.3)
        prefix = f"encoder.{level}"
        x = F.pad(x, (2, 2, 2, 2))
        x = F.conv2d(x, state[f"{prefix}.convolution.weight"], state.get(f"{prefix}.convolution.bias"), stride=2)
        x = normalized(x, prefix)
        x = torch.where(x > 0, x, 0.2 * x)
        outputs.append(x)
    for index in range(settings.levels):  # (4.4)
        prefix = f"decoder.{index}"
        if index and settings.skips:
            x = torch.cat((x, outputs[settings.levels - 1 - index]), dim=1)
        height, width = x.shape[2:]
        # A transposed convolution is a convolution of the image with zeros between its pixels.
        spread = x.new_zeros(*x.shape[:2], 2 * height, 2 * width)
        spread[:, :, ::2, ::2] = x
        kernel = state[f"{prefix}.convolution.weight"].transpose(0, 1).flip(2, 3)
        x = F.conv2d(spread, kernel, state.get(f"{prefix}.convolution.bias"), padding=2)
        if index < settings.levels - 1:
            x = torch.relu(normalized(x, prefix))
    return x


@pytest.mark.parametrize("settings", SETTINGS)
def test_agrees_with_the_plain_network(settings):
    unet = network(settings)
    features = maps(2, settings.in_channels, 32, 24)
    with torch.no_grad():
        actual = unet(features)
        expected = plain_unet(unet.state_dict(), settings, features.transpose(-1, -2)).transpose(-1, -2)
    assert_close(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("settings", SETTINGS)
def test_folding_the_norms_changes_nothing(settings):
    unet = network(settings)
    features = maps(2, settings.in_channels, 32, 24)
    with torch.no_grad():
        before = unet(features)
        unet.fold_batch_norm()
        after = unet(features)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in unet.modules())
    assert_close(after, before, rtol=0, atol=1e-5)


def test_folding_is_refused_while_training():
    with pytest.raises(ValueError, match="evaluation mode"):
        Unet(UnetSettings(**SMALL, dropout_layers=0)).train().fold_batch_norm()


@pytest.mark.parametrize("bins", [1, 7, 8, 9, 33])
@pytest.mark.parametrize("frames", [1, 8, 13])
def test_any_number_of_bins_and_frames_is_as_if_zeros_followed(bins, frames):
    unet = network(SETTINGS[0])
    features = maps(1, 1, bins, frames)
    with torch.no_grad():
        actual = unet(features)
        padded = unet(F.pad(features, (0, -frames % 8, 0, -bins % 8)))
    assert actual.shape == features.shape
    assert_close(actual, padded[:, :, :bins, :frames])


def test_the_memory_order_of_the_input_does_not_matter():
    unet = network(SETTINGS[2])
    features = maps(2, 2, 16, 24)
    with torch.no_grad():
        expected = unet(features)
        last = features.transpose(-1, -2).to(memory_format=torch.channels_last).transpose(-1, -2)
        assert_close(unet.to(memory_format=torch.channels_last)(last), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "millions"),
    [
        (UnetSettings(), 9.82),  # counted for the thesis's vocal network
        (UnetSettings(2, 2, normalize_first=False, dropout_layers=5), 9.82),
        (UnetSettings(4, 8, normalize_first=False, dropout_layers=5), 9.83),  # 44.1 kHz stereo, two stems
    ],
)
def test_sizes_are_those_of_the_published_networks(settings, millions):
    parameters = sum(parameter.numel() for parameter in Unet(settings).parameters())
    assert round(parameters / 1e6, 2) == millions


def test_layers_follow_the_papers():
    first = Unet(UnetSettings())
    assert [layer.convolution.out_channels for layer in first.encoder] == [16, 32, 64, 128, 256, 512]
    assert [layer.convolution.out_channels for layer in first.decoder] == [256, 128, 64, 32, 16, 1]
    assert [isinstance(layer.norm, torch.nn.BatchNorm2d) for layer in first.encoder] == [True] * 6
    assert [isinstance(layer.norm, torch.nn.BatchNorm2d) for layer in first.decoder] == [True] * 5 + [False]
    assert [isinstance(layer.dropout, torch.nn.Dropout2d) for layer in first.decoder] == [True] * 3 + [False] * 3
    sixth = Unet(UnetSettings(2, 2, normalize_first=False, dropout_layers=5))
    assert [isinstance(layer.norm, torch.nn.BatchNorm2d) for layer in sixth.encoder] == [False] + [True] * 5
    assert [isinstance(layer.dropout, torch.nn.Dropout2d) for layer in sixth.decoder] == [True] * 5 + [False]


def test_the_baseline_has_no_way_around_the_bottleneck():
    plain, skipping = network(SETTINGS[1]), network(SETTINGS[0])
    for unet, reached in ((plain, False), (skipping, True)):
        with torch.no_grad():
            unet.encoder[-1].convolution.weight.zero_()  # nothing passes the bottleneck
            difference = (unet(maps(1, 1, 16, 16)) - unet(torch.zeros(1, 1, 16, 16))).abs().max()
        assert bool(difference > 1e-4) == reached


def test_every_parameter_learns():
    unet = Unet(SETTINGS[0]).train()
    unet(maps(2, 1, 16, 16)).square().mean().backward()
    silent = [name for name, value in unet.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


def test_names_in_the_state_can_be_read():
    names = set(Unet(SETTINGS[0]).state_dict())
    assert {"encoder.0.convolution.weight", "encoder.1.norm.running_mean", "decoder.2.convolution.bias"} <= names


def test_wrong_channels_are_refused():
    with pytest.raises(ShapeError, match=r"\(batch, 1, bin, frame\)"):
        network(SETTINGS[0])(maps(1, 2, 8, 8))


@pytest.mark.parametrize("values", [{"levels": 0}, {"in_channels": 0}, {"base_channels": 0}, {"dropout_layers": 6}])
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(ValueError, match="must be"):
        UnetSettings(**values)
