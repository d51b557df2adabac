"""Mask networks as separators: the laws, known masks, precision, shared transforms, weights."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mss_models.errors import ShapeError, StateMismatch
from mss_models.masks import bounded_complex_mask
from mss_models.networks import per_stem
from mss_models.networks.front_end import FrontEnd, network_features
from mss_models.networks.mask_separator import MaskSeparator, MaskSettings
from mss_models.networks.per_stem import PerStemSeparator
from mss_models.stft import StftSettings, istft, stft
from separators import check_separator

CPU = torch.device("cpu")
TINY = {"levels": 2, "base_channels": 4, "dropout_layers": 1}
VOCALS = FrontEnd(8192, 1, StftSettings(1024, 768), 512, "peak", "window-sum")
MONO = FrontEnd(22_050, 1, StftSettings(1024, 256), 512)
STEREO = FrontEnd(44_100, 2, StftSettings(4096, 1024), 2048)


def settings(front_end: FrontEnd, head: str, *stems: str, **others) -> MaskSettings:
    return MaskSettings(stems or ("vocals",), front_end, head, 32, **{**TINY, **others})


def separator(front_end: FrontEnd, head: str, *stems: str, seed: int = 0, **others) -> MaskSeparator:
    torch.manual_seed(seed)
    made = MaskSeparator(settings(front_end, head, *stems, **others)).eval()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
    return made


def constant(front_end: FrontEnd, head: str, *stems: str, outputs: list[float]) -> MaskSeparator:
    """A separator whose network gives the same outputs everywhere."""
    made = separator(front_end, head, *stems)
    last = made.network.decoder[-1].convolution
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor(outputs))
    made.prepare(CPU, "fp32")
    return made


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(-0.9, 0.9, shape)).float()


@pytest.mark.parametrize(
    ("front_end", "head", "stems"),
    [
        (VOCALS, "sigmoid", ("vocals",)),
        (MONO, "sigmoid", ("vocals",)),
        (MONO, "polar", ("vocals",)),
        (MONO, "cartesian", ("vocals", "drums")),
        (STEREO, "cartesian", ("vocals", "drums", "bass", "other")),
    ],
)
def test_joint_networks_obey_the_laws(front_end, head, stems):
    check_separator(separator(front_end, head, *stems), samples=front_end.sample_rate // 4)


def test_per_stem_networks_obey_the_laws():
    networks = [separator(MONO, "polar", stem, seed=i) for i, stem in enumerate(("vocals", "drums"))]
    check_separator(PerStemSeparator(networks, residual="other"), samples=6000)


def test_bf16_obeys_the_laws():
    check_separator(separator(MONO, "cartesian", "vocals", "drums"), precision="bf16", samples=6000)


def test_a_constant_real_mask_is_a_gain_below_the_dropped_bin():
    made = constant(STEREO, "sigmoid", outputs=[np.log(3.0), -np.log(3.0)])  # left 3/4, right 1/4
    tone = torch.sin(torch.arange(30_000) * (2 * np.pi * 440 / 44_100)).expand(1, 2, -1)
    gains = torch.tensor([0.75, 0.25])[:, None]
    middle = slice(4096, -4096)  # where the tone breaks off it reaches into the dropped bin
    assert_close(made.separate(tone)[0, 0, :, middle], (gains * tone[0])[:, middle], rtol=0, atol=3e-6)


def test_a_constant_complex_mask_turns_the_phase():
    made = constant(MONO, "polar", outputs=[50.0, np.pi / 2])  # gain 1, a quarter turn
    time = torch.arange(30_000) * (2 * np.pi * 1000 / 22_050)
    middle = slice(5000, 25_000)
    assert_close(made.separate(time.cos()[None, None])[0, 0, 0, middle], -time.sin()[middle], rtol=0, atol=2e-3)


def test_stems_and_channels_come_in_the_order_of_the_outputs():
    gains = [0.1, 0.2, 0.3, 0.4]  # vocals left, vocals right, drums left, drums right
    made = constant(STEREO, "cartesian", "vocals", "drums", outputs=[v for g in gains for v in (np.arctanh(g), 0.0)])
    tone = torch.sin(torch.arange(20_000) * (2 * np.pi * 440 / 44_100)).expand(1, 2, -1)
    expected = torch.tensor(gains).view(2, 2, 1) * tone
    middle = slice(4096, -4096)  # where the tone breaks off it reaches into the dropped bin
    assert_close(made.separate(tone)[0, ..., middle], expected[..., middle], rtol=0, atol=3e-6)


def test_the_dropped_bin_is_in_no_estimate_but_in_the_residual():
    highest = torch.tensor([1.0, -1.0]).repeat(6000)[None, None] * 0.5  # half the sample rate: bin 512 of 513
    made = constant(MONO, "sigmoid", outputs=[50.0])
    assert made.separate(highest)[..., 2000:-2000].abs().max() < 0.26  # its neighbours' share of the window
    spectrum = stft(highest, MONO.stft)
    assert made.masks(spectrum)[..., 512, :].abs().max() == 0
    with_residual = PerStemSeparator([made], residual="other")
    with_residual.prepare(CPU, "fp32")
    assert_close(with_residual.separate(highest).sum(dim=1), highest, rtol=0, atol=1e-6)


@pytest.mark.parametrize("head", ["sigmoid", "polar", "cartesian"])
@pytest.mark.parametrize("samples", [1, 500, 20_000])
def test_the_fast_way_agrees_with_the_plain_way(head, samples):
    made = separator(STEREO, head, "vocals", "drums", normalize_first=False)
    made.prepare(CPU, "fp32")
    mixture = noise(2, 2, samples)
    with torch.no_grad():
        assert_close(made.separate(mixture), made(mixture), rtol=0, atol=2e-6)


@pytest.mark.parametrize("head", ["sigmoid", "polar", "cartesian"])
def test_estimates_follow_the_equations(head):
    made = separator(MONO, head)
    made.prepare(CPU, "fp32")
    mixture = noise(1, 1, 9000)
    x = stft(mixture, MONO.stft)
    gain = 1 / np.sqrt(np.sum(np.hanning(1025)[:-1] ** 2))
    seen = x.abs() if head == "sigmoid" else torch.cat([x.real, x.imag], dim=1)
    with torch.no_grad():
        output = made.network(gain * seen[:, :, :512])
    if head == "sigmoid":
        estimate = torch.sigmoid(output) * x.abs()[:, :, :512] * torch.exp(1j * x.angle()[:, :, :512])  # (6.5, 6.6)
    else:
        estimate = bounded_complex_mask(output[:, :1], output[:, 1:], head=head) * x[:, :, :512]  # (6.9)
    expected = istft(torch.nn.functional.pad(estimate, (0, 0, 0, 1)), MONO.stft, 9000)
    assert_close(made.separate(mixture)[:, 0], expected, rtol=0, atol=1e-5)


def test_a_waveform_of_peak_1_gives_features_within_0_and_1():
    loudest = torch.ones(1, 1, 8000)
    features = network_features(
        stft(loudest, VOCALS.stft), VOCALS, complex_parts=False, multiple=64, dtype=torch.float32
    )
    assert features.min() == 0
    assert_close(features.max(), torch.tensor(1.0))


def test_white_noise_of_power_1_gives_complex_features_of_power_1():
    signal = noise(1, 1, 200_000) * (3**0.5 / 0.9)
    features = network_features(stft(signal, MONO.stft), MONO, complex_parts=True, multiple=1, dtype=torch.float32)
    assert features.shape[:2] == (1, 2)
    assert abs(2 * features.square().mean() - 1) < 0.02


def test_features_are_padded_with_zeros_and_lie_channels_last():
    features = network_features(
        stft(noise(1, 2, 5000), STEREO.stft), STEREO, complex_parts=True, multiple=64, dtype=torch.bfloat16
    )
    assert features.shape == (1, 4, 2048, 64)
    assert features.transpose(-1, -2).is_contiguous(memory_format=torch.channels_last)
    assert not features[..., STEREO.stft.frames(5000) :].any()


@pytest.mark.parametrize("front_end", [VOCALS, MONO, STEREO])
def test_a_segment_fills_the_network_without_padding(front_end):
    made = separator(front_end, "sigmoid")
    assert front_end.stft.frames(made.segment_samples) == 32


def test_bf16_is_near_fp32_and_transforms_stay_in_fp32():
    made = separator(STEREO, "cartesian", "vocals", "drums")
    mixture = noise(1, 2, 30_000)
    made.prepare(CPU, "fp32")
    exact = made.separate(mixture)
    made.prepare(CPU, "bf16")
    error = made.separate(mixture) - exact
    assert error.any()
    assert error.square().mean() < 1e-3 * exact.square().mean()
    made.prepare(CPU, "fp32")  # the fall-back after a prepared copy of less precision
    assert torch.equal(made.separate(mixture), exact)


def test_the_way_for_training_gives_every_weight_a_gradient():
    made = separator(MONO, "polar").train()
    made(noise(2, 1, 6000)).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in made.parameters())


def test_estimates_may_be_changed_in_place_by_the_caller():
    made = separator(MONO, "sigmoid")
    made.prepare(CPU, "fp32")
    estimates = made.separate(noise(1, 1, 2000))
    before = estimates.clone()
    torch.testing.assert_close(estimates.mul_(2).add_(1), 2 * before + 1)


def test_the_residual_is_what_the_networks_leave():
    networks = [separator(MONO, "polar", stem, seed=i) for i, stem in enumerate(("vocals", "drums"))]
    both = PerStemSeparator(networks, residual="other")
    both.prepare(CPU, "fp32")
    mixture = noise(2, 1, 6000)
    estimates = both.separate(mixture)
    assert both.stems == ("vocals", "drums", "other")
    for i, network in enumerate(networks):
        assert_close(estimates[:, i], network.separate(mixture)[:, 0], rtol=0, atol=1e-6)
    assert_close(estimates.sum(dim=1), mixture, rtol=0, atol=1e-6)


def test_networks_with_one_front_end_share_one_transform(monkeypatch):
    calls = []

    def counted(signal: Tensor, grid: StftSettings) -> Tensor:
        calls.append(grid)
        return stft(signal, grid)

    monkeypatch.setattr(per_stem, "stft", counted)
    other = dataclasses.replace(MONO, stft=StftSettings(2048, 512))
    mixed = PerStemSeparator(
        [separator(MONO, "polar", "a"), separator(other, "polar", "b"), separator(MONO, "sigmoid", "c")], residual=None
    )
    mixed.prepare(CPU, "fp32")
    estimates = mixed.separate(noise(1, 1, 3000))
    assert calls == [MONO.stft, other.stft]
    assert_close(estimates[:, 2], mixed.members[2].separate(noise(1, 1, 3000))[:, 0], rtol=0, atol=1e-6)


def test_weights_travel_and_new_weights_need_a_new_preparation():
    one, other = separator(MONO, "polar", seed=1), separator(MONO, "polar", seed=2)
    one.prepare(CPU, "fp32")
    other.prepare(CPU, "fp32")
    other.load_state_dict(one.state_dict())
    with pytest.raises(RuntimeError, match="`prepare`"):
        other.separate(noise(1, 1, 100))
    other.prepare(CPU, "fp32")
    assert torch.equal(one.separate(noise(1, 1, 3000)), other.separate(noise(1, 1, 3000)))


def test_weights_that_do_not_fit_are_refused_by_name():
    made = separator(MONO, "polar")
    state = made.state_dict()
    state["extra"] = state.pop("network.decoder.1.convolution.bias")
    state["network.encoder.0.convolution.weight"] = torch.zeros(3)
    with pytest.raises(StateMismatch) as fault:
        made.load_state_dict(state)
    assert "1 missing: network.decoder.1.convolution.bias" in str(fault.value)
    assert "1 unexpected: extra" in str(fault.value)
    assert "network.encoder.0.convolution.weight (3,) instead of (4, 2, 5, 5)" in str(fault.value)
    with pytest.raises(StateMismatch, match=r"missing: separators\.vocals"):
        PerStemSeparator([made], residual=None).load_state_dict({})


def test_networks_that_do_not_go_together_are_refused():
    vocals = separator(MONO, "polar", "vocals")
    with pytest.raises(ValueError, match="different names"):
        PerStemSeparator([vocals, separator(MONO, "polar", "vocals")], residual=None)
    with pytest.raises(ValueError, match="same sample_rate"):
        PerStemSeparator([vocals, separator(VOCALS, "sigmoid", "drums")], residual=None)
    with pytest.raises(ValueError, match="at least one"):
        PerStemSeparator([], residual="other")


@pytest.mark.parametrize("shape", [(1, 2, 100), (1, 1, 0), (1, 100)])
def test_mixtures_of_other_axes_are_refused(shape):
    made = separator(MONO, "polar")
    made.prepare(CPU, "fp32")
    with pytest.raises(ShapeError, match="mixture"):
        made.separate(torch.zeros(shape))


@pytest.mark.parametrize(
    "make",
    [
        lambda: dataclasses.replace(MONO, bins=514),
        lambda: dataclasses.replace(MONO, channels=3),
        lambda: dataclasses.replace(MONO, sample_rate=0),
        lambda: settings(MONO, "polar", "vocals", "vocals"),
        lambda: dataclasses.replace(settings(MONO, "polar"), segment_frames=3),
        lambda: settings(MONO, "polar", dropout_layers=2),
        lambda: separator(MONO, "polar").prepare(CPU, "int8"),
    ],
)
def test_settings_out_of_range_are_refused(make):
    with pytest.raises(ValueError, match="must be"):
        make()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_on_a_gpu_the_laws_hold_and_the_estimates_are_those_of_the_cpu(precision, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # its convolutions are off by 1e-3
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    made = separator(STEREO, "cartesian", "vocals", "drums")
    check_separator(made, device="cuda", precision=precision, samples=11_025)
    mixture = noise(1, 2, 30_000)
    estimates = made.separate(mixture.cuda()).cpu()
    made.prepare(CPU, "fp32")
    error = estimates - made.separate(mixture)
    assert error.abs().max() < (2e-5 if precision == "fp32" else 0.1)
