"""The sub-band network: a plain twin with the same weights, folding, cost, gradients, lengths, refusals."""

import dataclasses

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the usual name
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from mss_models.errors import ShapeError
from mss_models.networks.subband_unet import SubbandUnet, SubbandUnetSettings, frame_cost

SMALL = SubbandUnetSettings(
    in_planes=3, out_planes=4, bins=96, sub_bands=4, channels=(6, 8, 10), bottleneck=3, context_size=5
)
VARIANTS = [
    SMALL,
    dataclasses.replace(SMALL, skips="concatenate", context="dilated", convolutions=1),
    dataclasses.replace(SMALL, context="none", bottleneck=0, convolutions=3),
    dataclasses.replace(SMALL, channels=(7,), sub_bands=1, bottleneck=8),
    dataclasses.replace(SMALL, channels=(5, 9), sub_bands=8, skips="concatenate"),
]


def network(settings: SubbandUnetSettings, *, seed: int = 0) -> SubbandUnet:
    """A network in evaluation mode whose norms are not the identity."""
    torch.manual_seed(seed)
    made = SubbandUnet(settings).eval()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.3, 0.3)
    return made


class Twin:
    """The same function from its description: float64, (batch, channel, frame, bin), one step at a time.

    Nothing is folded. Weights come by name from a state dict; shapes follow from them.
    """

    def __init__(self, settings: SubbandUnetSettings, state: dict[str, Tensor]) -> None:
        self.settings = settings
        self.state = {name: value.double() for name, value in state.items()}

    def __call__(self, planes: Tensor) -> Tensor:
        chosen = self.settings
        batch, frames, _, bins = planes.shape
        depth, width = len(chosen.channels) - 1, bins // chosen.sub_bands
        total = -(-frames // 2**depth) * 2**depth
        maps = torch.zeros(batch, chosen.in_planes * chosen.sub_bands, total, width, dtype=torch.float64)
        for plane in range(chosen.in_planes):
            for band in range(chosen.sub_bands):
                part = planes[:, :, plane, band * width : (band + 1) * width]
                maps[:, plane * chosen.sub_bands + band, :frames] = part
        weight = self.state["inlet.linear.weight"]
        maps = self.norm("inlet", torch.einsum("oc,bctf->botf", weight, maps), axis=1).relu()
        kept = []
        for scale in range(depth):
            maps = self.block(f"encoder.{scale}", maps)
            kept.append(maps)
            maps = self.convolved(f"down.{scale}", maps, stride=2)
        maps = self.block("bottom", maps)
        if chosen.context == "gru":
            maps = self.recurrent(maps)
        if chosen.context == "dilated":
            for place, dilation in enumerate((1, 2, 4, 8)):
                name = f"context.steps.{place}"
                inner = self.convolved(f"{name}.0", maps)
                inner = self.convolved(f"{name}.1", inner, padding=(dilation, 0), dilation=(dilation, 1))
                maps = maps + self.convolved(f"{name}.2", inner)
        for place in range(depth):
            weight = self.state[f"up.{place}.convolution.weight"]
            maps = self.norm(f"up.{place}", F.conv_transpose2d(maps, weight, stride=2), axis=1).relu()
            side = kept[depth - 1 - place]
            maps = maps + side if chosen.skips == "add" else torch.cat([maps, side], dim=1)
            maps = self.block(f"decoder.{place}", maps)
        maps = torch.einsum("oc,bctf->botf", self.state["outlet.linear.weight"], maps)
        maps = maps + self.state["outlet.linear.bias"][:, None, None]
        result = torch.zeros(batch, frames, chosen.out_planes, bins, dtype=torch.float64)
        for plane in range(chosen.out_planes):
            for band in range(chosen.sub_bands):
                part = maps[:, plane * chosen.sub_bands + band, :frames]
                result[:, :, plane, band * width : (band + 1) * width] = part
        return result

    def block(self, name: str, maps: Tensor) -> Tensor:
        for place in range(self.settings.convolutions):
            maps = self.convolved(f"{name}.convolutions.{place}", maps, padding=1)
        if not self.settings.bottleneck:
            return maps
        found = maps
        for place in (0, 1):
            part = f"{name}.linears.{place}"
            found = torch.einsum("of,bctf->bcto", self.state[f"{part}.linear.weight"], found)
            found = self.norm(part, found, axis=3).relu()
        return maps + found

    def convolved(self, name: str, maps: Tensor, **options) -> Tensor:
        return self.norm(name, F.conv2d(maps, self.state[f"{name}.convolution.weight"], **options), axis=1).relu()

    def norm(self, name: str, values: Tensor, *, axis: int) -> Tensor:
        shape = [1, 1, 1, 1]
        shape[axis] = -1
        mean, variance, gain, bias = (
            self.state[f"{name}.norm.{part}"].view(shape) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (values - mean) / torch.sqrt(variance + 1e-5) * gain + bias

    def recurrent(self, maps: Tensor) -> Tensor:
        reduced = self.convolved("context.reduce", maps)  # (batch, channel, frame, bin)
        batch, channels, frames, bins = reduced.shape
        seen = reduced.permute(0, 2, 3, 1).reshape(batch, frames, bins * channels)
        told = torch.cat([self.one_way(seen, ""), self.one_way(seen.flip(1), "_reverse").flip(1)], dim=2)
        spread = told @ self.state["context.spread.weight"].T + self.state["context.spread.bias"]
        spread = spread.reshape(batch, frames, bins, channels).permute(0, 3, 1, 2)
        return maps + self.convolved("context.expand", spread)

    def one_way(self, seen: Tensor, suffix: str) -> Tensor:
        """Cho et al. 2014, with the reset gate behind the product, as torch defines its layer."""
        size = self.settings.context_size
        w_in, w_state, b_in, b_state = (
            self.state[f"context.recurrent.{part}_l0{suffix}"]
            for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        state = torch.zeros(seen.shape[0], size, dtype=torch.float64)
        states = []
        for frame in range(seen.shape[1]):
            heard, known = seen[:, frame] @ w_in.T + b_in, state @ w_state.T + b_state
            reset, update = ((heard + known)[:, part * size : (part + 1) * size].sigmoid() for part in (0, 1))
            new = (heard[:, 2 * size :] + reset * known[:, 2 * size :]).tanh()
            state = (1 - update) * new + update * state
            states.append(state)
        return torch.stack(states, dim=1)


@pytest.mark.parametrize("settings", VARIANTS)
@pytest.mark.parametrize("frames", [1, 8, 13])
def test_the_network_is_its_plain_twin(settings, frames):
    made = network(settings)
    planes = torch.randn(2, frames, settings.in_planes, settings.bins)
    expected = Twin(settings, made.state_dict())(planes)
    with torch.no_grad():
        difference = made(planes) - expected
    assert difference.abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("settings", VARIANTS)
def test_folding_changes_nothing_but_the_speed(settings):
    made = network(settings)
    planes = torch.randn(2, 12, settings.in_planes, settings.bins)
    with torch.no_grad():
        before = made(planes)
        made.fold_batch_norm()
        assert not [
            name for name, _ in made.named_modules() if isinstance(_, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)
        ]
        assert (made(planes) - before).abs().max() <= 1e-5 * before.abs().max()
        again = made(planes)
        made.fold_batch_norm()  # once is enough
        assert torch.equal(made(planes), again)


def test_a_network_in_training_is_not_folded():
    with pytest.raises(ValueError, match="evaluation mode"):
        network(SMALL).train().fold_batch_norm()


@pytest.mark.parametrize("settings", VARIANTS)
def test_every_weight_gets_a_gradient_in_training(settings):
    made = network(settings).train()
    made(torch.randn(2, 12, settings.in_planes, settings.bins)).square().mean().backward()
    without = [name for name, weight in made.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert without == []


@pytest.mark.parametrize("settings", VARIANTS)
@pytest.mark.parametrize("folded", [False, True])
def test_the_cost_is_what_a_counter_of_operations_counts(settings, folded):
    made = network(settings)
    if folded:
        made.fold_batch_norm()
    frames = 2 * settings.multiple
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        made(torch.randn(1, frames, settings.in_planes, settings.bins))
    assert counter.get_total_flops() / 2 / frames == frame_cost(settings)


@pytest.mark.parametrize("settings", VARIANTS)
def test_items_of_a_batch_do_not_meet(settings):
    made = network(settings)
    planes = torch.randn(3, 8, settings.in_planes, settings.bins)
    with torch.no_grad():
        together = made(planes)
        for item in range(3):
            assert_close(made(planes[item : item + 1])[0], together[item], rtol=0, atol=1e-6)


def test_the_first_outputs_are_small():
    torch.manual_seed(0)
    made = SubbandUnet(dataclasses.replace(SMALL, channels=(32, 32, 32))).train()
    assert made(torch.randn(4, 16, 3, 96)).std() < 0.15  # a softmax over outputs like these is nearly even


@pytest.mark.parametrize("shape", [(1, 8, 4, 96), (1, 8, 3, 95), (8, 3, 96), (1, 1, 8, 3, 96)])
def test_planes_of_other_axes_are_refused(shape):
    with pytest.raises(ShapeError, match=r"planes.*3 planes, 96 bins"):
        network(SMALL)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"in_planes": 0}, "in_planes must be at least 1"),
        ({"sub_bands": 0}, "sub_bands must be at least 1"),
        ({"convolutions": 0}, "convolutions must be at least 1"),
        ({"context_size": 0}, "context_size must be at least 1"),
        ({"channels": ()}, "channels must be positive, at least one"),
        ({"channels": (4, 0)}, "channels must be positive"),
        ({"bins": 100}, "bins must be a multiple of 16, got 100"),
        ({"bottleneck": 7}, r"bottleneck must be in \[0, 6\], got 7"),
        ({"bottleneck": -1}, "bottleneck must be in"),
        ({"skips": "multiply"}, "skips must be one of add, concatenate"),
        ({"context": "attention"}, "context must be one of none, gru, dilated"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)
