"""Sub-band networks as separators: the laws, equations, known outputs, precision, consistency, catalog, weights."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from mss_models.catalog import build, configuration_of
from mss_models.configuration import ConfigurationError
from mss_models.errors import ShapeError, StateMismatch
from mss_models.networks.front_end import FrontEnd
from mss_models.networks.subband_separator import (
    SubbandSeparator,
    SubbandSettings,
    _Inverse,
    multiply_accumulates,
)
from mss_models.presets import shipped
from mss_models.stft import StftSettings, istft
from separators import check_separator

CPU = torch.device("cpu")
STEMS = ("vocals", "drums", "bass", "other")
FRONT = FrontEnd(8000, 2, StftSettings(256, 64), 96)
SMALL = SubbandSettings(STEMS, FRONT, "shares", 32, sub_bands=4, channels=(6, 8, 10), bottleneck=3, context_size=5)
VARIANTS = [
    SMALL,
    dataclasses.replace(SMALL, head="mask", consistency="equal", skips="concatenate", context="dilated"),
    dataclasses.replace(SMALL, head="mapping", consistency="energy", context="none", bottleneck=0, level="segment"),
    dataclasses.replace(SMALL, stems=("vocals",), front_end=dataclasses.replace(FRONT, channels=1), power=1.0),
]
VALUES = configuration_of(SubbandSeparator(SMALL)).settings


def separator(chosen: SubbandSettings, *, seed: int = 0) -> SubbandSeparator:
    """In evaluation mode, with norms that are not the identity and outputs of the usual size."""
    torch.manual_seed(seed)
    made = SubbandSeparator(chosen).eval()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
    with torch.no_grad():
        made.network.outlet.linear.weight.mul_(10)
    return made


def constant(chosen: SubbandSettings, outputs: Tensor) -> SubbandSeparator:
    """Prepared, with the same outputs (output, stem, channel) in every cell."""
    made = separator(chosen)
    with torch.no_grad():
        made.network.outlet.linear.weight.zero_()
        made.network.outlet.linear.bias.copy_(outputs.flatten().repeat_interleave(chosen.sub_bands))
    made.prepare(CPU, "fp32")
    return made


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(-0.9, 0.9, shape)).float()


def tone(samples: int = 6000) -> Tensor:
    """440 Hz, another phase on each side."""
    phase = torch.arange(samples) * (2 * np.pi * 440 / FRONT.sample_rate)
    return torch.stack([phase.sin(), 0.5 * phase.cos()])[None]


MIDDLE = slice(500, 5500)  # where a tone breaks off it reaches into the bins above


@pytest.mark.parametrize("chosen", VARIANTS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_laws_of_separators_hold(chosen, precision):
    check_separator(separator(chosen), precision=precision, samples=3000)


def test_the_shipped_separator_obeys_the_laws():
    configuration = shipped("subband44")
    check_separator(build(configuration.architecture, configuration.settings).eval(), samples=11_025)


@given(gain_db=st.floats(-60, 40))
@settings(max_examples=12, deadline=None)
def test_with_the_level_of_the_segment_louder_songs_give_louder_stems_and_nothing_else(gain_db):
    made = separator(dataclasses.replace(SMALL, level="segment"))
    made.prepare(CPU, "fp32")
    mixture, gain = noise(1, 2, 3000), 10 ** (gain_db / 20)
    louder = made.separate(mixture * gain) / gain
    plain = made.separate(mixture)
    assert_close(louder, plain, rtol=0, atol=1e-4 * float(plain.abs().max()))


@pytest.mark.parametrize("chosen", VARIANTS)
@settings(max_examples=12, deadline=None)
@given(samples=st.integers(1, 3000))
def test_the_fast_way_agrees_with_the_plain_way_at_every_length(chosen, samples):
    made = separator(chosen)
    made.prepare(CPU, "fp32")
    mixture = noise(2, chosen.front_end.channels, samples)
    with torch.no_grad():
        plain = made(mixture)
    assert plain.shape == (2, len(chosen.stems), chosen.front_end.channels, samples)
    assert_close(made.separate(mixture), plain, rtol=0, atol=1e-5 * max(1.0, float(plain.abs().max())))


def spectrogram(signal: np.ndarray) -> np.ndarray:
    """Frames of 256 every 64 that touch the signal between zeros: (channel, frame, bin)."""
    window = np.hanning(257)[:-1]
    frames = -(-signal.shape[-1] // 64) + 3
    padded = np.zeros((signal.shape[0], 64 * frames + 256 - 64))
    padded[:, 192 : 192 + signal.shape[-1]] = signal
    return np.stack([np.fft.rfft(window * padded[:, 64 * k : 64 * k + 256]) for k in range(frames)], axis=1)


def waveform(spectrum: np.ndarray, samples: int) -> np.ndarray:
    """Overlap-add of (..., frame, bin), divided by the sum of the squared windows, 1.5 at a quarter hop."""
    window = np.hanning(257)[:-1]
    total = np.zeros((*spectrum.shape[:-2], 64 * spectrum.shape[-2] + 192))
    for k in range(spectrum.shape[-2]):
        total[..., 64 * k : 64 * k + 256] += window * np.fft.irfft(spectrum[..., k, :], 256)
    return total[..., 192 : 192 + samples] / 1.5


@pytest.mark.parametrize("head", ["shares", "mask", "mapping"])
def test_estimates_follow_the_equations(head):
    chosen = dataclasses.replace(SMALL, head=head)
    made = separator(chosen)
    made.prepare(CPU, "fp32")
    mixture = noise(1, 2, 2000)
    x = spectrogram(mixture[0].double().numpy())[..., :96]  # (channel, frame, bin)
    u = x / np.sqrt(np.sum(np.hanning(257)[:-1] ** 2))
    seen = np.stack([u.real * np.abs(u) ** -0.6, u.imag * np.abs(u) ** -0.6, np.abs(u) ** 0.4])
    planes = torch.from_numpy(seen.transpose(2, 0, 1, 3).reshape(1, x.shape[1], 6, 96))
    with torch.no_grad():
        outputs = made.double().network(planes)[0].numpy()  # (frame, output * stem * channel, bin)
    o = outputs.reshape(x.shape[1], -1, 4, 2, 96).transpose(1, 2, 3, 0, 4)  # (output, stem, channel, frame, bin)
    scale = np.abs(x) / np.abs(u) ** 0.4
    if head == "shares":
        shares = np.exp(o[0]) / np.exp(o[0]).sum(axis=0)
        y = shares * x + scale * (o[1] + 1j * o[2])
    elif head == "mask":
        free = o[0] + 1j * o[1]
        y = np.tanh(np.abs(free)) * free / np.abs(free) * x
    else:
        y = scale * (o[0] + 1j * o[1])
    expected = waveform(np.pad(y, [(0, 0)] * 3 + [(0, 33)]), 2000)
    found = made.separate(mixture)[0].double().numpy()
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_equal_outputs_share_the_mixture_equally():
    made = constant(SMALL, torch.zeros(3, 4, 2))
    estimates = made.separate(tone())
    assert_close(estimates[..., MIDDLE], (tone() / 4)[:, None, :, MIDDLE].expand(1, 4, 2, -1), rtol=0, atol=1e-5)


def test_stems_and_channels_come_in_the_order_of_the_outputs():
    shares = torch.tensor([[0.1, 0.4], [0.2, 0.3], [0.3, 0.2], [0.4, 0.1]])  # (stem, channel)
    made = constant(SMALL, torch.stack([shares.log(), torch.zeros(4, 2), torch.zeros(4, 2)]))
    expected = shares[None, :, :, None] * tone()[:, None]
    assert_close(made.separate(tone())[..., MIDDLE], expected[..., MIDDLE], rtol=0, atol=1e-5)


def test_a_constant_mask_turns_the_phase_by_a_quarter():
    outputs = torch.stack([torch.zeros(4, 2), torch.full((4, 2), 50.0)])
    made = constant(dataclasses.replace(SMALL, head="mask"), outputs)
    turned = made.separate(tone())[0, 2, 0, MIDDLE]
    phase = torch.arange(6000)[MIDDLE] * (2 * np.pi * 440 / FRONT.sample_rate)
    assert_close(turned, phase.cos().float(), rtol=0, atol=2e-3)  # sin turned by +90 degrees


@pytest.mark.parametrize("head", ["shares", "mask", "mapping"])
@pytest.mark.parametrize("consistency", ["equal", "energy"])
def test_consistent_stems_add_up_to_the_mixture_at_all_frequencies(head, consistency):
    made = separator(dataclasses.replace(SMALL, head=head, consistency=consistency))
    made.prepare(CPU, "fp32")
    mixture = noise(2, 2, 3000)
    estimates = made.separate(mixture)
    assert_close(estimates.sum(dim=1), mixture, rtol=0, atol=1e-5 * float(estimates.abs().max()))
    made.train()
    assert_close(made(mixture).sum(dim=1), mixture, rtol=0, atol=1e-4)


def test_without_consistency_the_bins_above_are_in_no_estimate():
    highest = torch.tensor([1.0, -1.0]).repeat(1500).expand(1, 2, -1)  # half the sample rate
    made = separator(SMALL)
    made.prepare(CPU, "fp32")
    # The bins below hold the rounding of the transform, which the compression raises.
    assert made.separate(highest)[..., 500:-500].abs().max() < 1e-4


@pytest.mark.parametrize("chosen", VARIANTS)
@pytest.mark.parametrize("level", [1e-30, 1e-12, 1e-4, 1e4])
def test_estimates_are_finite_at_every_level(chosen, level):
    made = separator(chosen)
    for precision in ("fp32", "bf16"):
        made.prepare(CPU, precision)
        estimates = made.separate(level * noise(1, chosen.front_end.channels, 1000))
        assert torch.isfinite(estimates).all()


@pytest.mark.parametrize("chosen", VARIANTS)
def test_silence_in_a_batch_leaves_all_gradients_finite(chosen):
    made = separator(chosen).train()
    mixture = noise(2, chosen.front_end.channels, 2000)
    mixture[1] = 0
    mixture.requires_grad_()
    estimates = made(mixture)
    assert not estimates[1].any()
    estimates.square().sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in made.parameters())
    assert torch.isfinite(mixture.grad).all()


@pytest.mark.parametrize("chosen", VARIANTS)
def test_every_weight_gets_a_gradient(chosen):
    made = separator(chosen).train()
    made(noise(2, chosen.front_end.channels, 2000)).square().mean().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in made.parameters())


@pytest.mark.parametrize("head", ["shares", "mask", "mapping"])
@pytest.mark.parametrize("context", ["gru", "dilated"])
def test_bf16_is_40_db_from_fp32_at_the_shipped_size(head, context):
    values = {**shipped("subband44").settings, "head": head, "context": context}
    made = build("subband-unet", values).eval()
    mixture = noise(1, 2, 30_000)
    made.prepare(CPU, "fp32")
    exact = made.separate(mixture)
    made.prepare(CPU, "bf16")
    error = made.separate(mixture) - exact
    assert error.any()
    assert error.square().mean() < 1e-4 * exact.square().mean()
    made.prepare(CPU, "fp32")  # the fall-back after a prepared copy of less precision
    assert torch.equal(made.separate(mixture), exact)


def test_the_shipped_separator_is_small_and_cheap():
    made = build("subband-unet", shipped("subband44").settings)
    assert isinstance(made, SubbandSeparator)
    assert 1.8e6 < sum(weight.numel() for weight in made.parameters()) < 2e6
    assert multiply_accumulates(made.settings) < 2e9
    assert made.settings.front_end.bins * 44_100 / 4096 == pytest.approx(16_537.5)
    assert (made.sample_rate, made.channels, made.stems) == (44_100, 2, STEMS)
    assert made.normalization == "none"


def test_the_cost_grows_with_the_frames_of_a_second():
    half = dataclasses.replace(FRONT, stft=StftSettings(256, 32))
    assert multiply_accumulates(dataclasses.replace(SMALL, front_end=half)) == 2 * multiply_accumulates(SMALL)


@pytest.mark.parametrize("chosen", VARIANTS)
def test_settings_go_into_a_configuration_and_come_back(chosen):
    configuration = configuration_of(SubbandSeparator(chosen))
    again = build(configuration.architecture, configuration.settings)
    assert isinstance(again, SubbandSeparator)
    assert again.settings == chosen


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channel_by_scale": [4]}, "unknown key `channel_by_scale`, did you mean `channels_by_scale`"),
        ({"levels": 3}, "unknown key `levels`"),
        ({"channels_by_scale": 4}, "channels_by_scale: expected a list of integers, got 4"),
        ({"channels_by_scale": [4, 5.0]}, "channels_by_scale: expected a list of integers"),
        ({"channels_by_scale": [4, True]}, "channels_by_scale: expected a list of integers"),
        ({"power": "0.4"}, "power: expected a number, got '0.4'"),
        ({"power": True}, "power: expected a number, got True"),
        ({"power": 1.5}, r"subband-unet: power must be in \(0, 1\], got 1.5"),
        ({"head": "sigmoid"}, "head: expected one of shares, mask, mapping, got 'sigmoid'"),
        ({"consistency": "all"}, "consistency: expected one of none, equal, energy"),
        ({"context": "lstm"}, "context: expected one of none, gru, dilated"),
        ({"skips": True}, "skips: expected one of add, concatenate"),
        ({"bins": 97}, "subband-unet: bins must be a multiple of 16"),
    ],
)
def test_faulty_configurations_are_refused_with_the_key(change, message):
    with pytest.raises(ConfigurationError, match=message):
        build("subband-unet", {**VALUES, **change})


def test_a_missing_key_is_named():
    with pytest.raises(ConfigurationError, match="bins: missing"):
        build("subband-unet", {key: value for key, value in VALUES.items() if key != "bins"})


@pytest.mark.parametrize(
    "change",
    [
        {"stems": ()},
        {"stems": ("vocals", "vocals")},
        {"segment_frames": 3},
        {"power": 0.0},
        {"head": "polar"},
        {"consistency": "some"},
    ],
)
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(ValueError, match="must be"):
        dataclasses.replace(SMALL, **change)


def test_weights_travel_and_new_weights_need_a_new_preparation():
    one, other = separator(SMALL, seed=1), separator(SMALL, seed=2)
    one.prepare(CPU, "fp32")
    other.prepare(CPU, "fp32")
    other.load_state_dict(one.state_dict())
    with pytest.raises(RuntimeError, match="`prepare`"):
        other.separate(noise(1, 2, 100))
    other.prepare(CPU, "fp32")
    assert torch.equal(one.separate(noise(1, 2, 900)), other.separate(noise(1, 2, 900)))
    with pytest.raises(StateMismatch, match=r"missing: network\.inlet\.linear\.weight"):
        other.load_state_dict({})


def test_estimates_may_be_changed_in_place_by_the_caller():
    for chosen in VARIANTS[:2]:
        made = separator(chosen)
        made.prepare(CPU, "fp32")
        estimates = made.separate(noise(1, 2, 900))
        assert_close(estimates.clone().mul_(2), estimates.mul_(2))


@pytest.mark.parametrize("shape", [(1, 1, 100), (1, 2, 0), (2, 100)])
def test_mixtures_of_other_axes_are_refused(shape):
    made = separator(SMALL)
    made.prepare(CPU, "fp32")
    for way in (made.separate, made):
        with pytest.raises(ShapeError, match="mixture"):
            way(torch.zeros(shape))


@pytest.mark.parametrize(("n_fft", "hop_length"), [(16, 4), (16, 5), (16, 8)])
@pytest.mark.parametrize("samples", [1, 23])
def test_the_derivative_of_the_inverse_transform_is_its_transpose(n_fft, hop_length, samples):
    grid = StftSettings(n_fft, hop_length)
    torch.manual_seed(0)
    spectrum = torch.randn(2, grid.bins, grid.frames(samples), dtype=torch.complex128, requires_grad=True)
    weights = torch.randn(2, samples, dtype=torch.float64)
    (istft(spectrum, grid, samples) * weights).sum().backward()
    plain, spectrum.grad = spectrum.grad.clone(), None
    (_Inverse.apply(spectrum, grid, samples) * weights).sum().backward()
    assert_close(spectrum.grad, plain, rtol=0, atol=1e-12)


def test_other_precisions_are_refused():
    with pytest.raises(ValueError, match="fp32, bf16, fp16, got `int8`"):
        separator(SMALL).prepare(CPU, "int8")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_on_a_gpu_the_laws_hold_and_the_estimates_are_those_of_the_cpu(precision, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # its convolutions are off by 1e-3
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    made = build("subband-unet", shipped("subband44").settings).eval()
    check_separator(made, device="cuda", precision=precision, samples=11_025)
    mixture = noise(1, 2, 30_000)
    estimates = made.separate(mixture.cuda()).cpu()
    made.prepare(CPU, "fp32")
    error = estimates - made.separate(mixture)
    assert error.abs().max() < (2e-5 if precision == "fp32" else 0.1)
