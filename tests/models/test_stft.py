"""STFT and inverse: exact length, bounded ends, and parity with torch."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from mss_models.errors import ShapeError
from mss_models.stft import StftSettings, istft, stft

GRIDS = [(4096, 1024), (1024, 768), (1024, 256), (64, 48), (64, 63 * 3 // 4), (10, 3), (8, 1)]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, shape)).float()


def plain_stft(signal: np.ndarray, n_fft: int, hop: int) -> tuple[np.ndarray, int]:
    """Every frame that touches the signal, one by one in float64; also the first frame's position."""
    window = np.hanning(n_fft + 1)[:-1]
    first = -(math.ceil(n_fft / hop) - 1) * hop
    columns = []
    position = first
    while position < len(signal):
        frame = np.zeros(n_fft)
        for n in range(n_fft):
            if 0 <= position + n < len(signal):
                frame[n] = signal[position + n]
        columns.append(np.fft.rfft(window * frame))
        position += hop
    return np.stack(columns, axis=1), first


def plain_istft(spectrum: np.ndarray, n_fft: int, hop: int, samples: int) -> np.ndarray:
    """Overlap-add with the window sum of *all* frames of a grid without end, in float64."""
    window = np.hanning(n_fft + 1)[:-1]
    first = -(math.ceil(n_fft / hop) - 1) * hop
    signal, total = np.zeros(samples), np.zeros(samples)
    for k in range(-n_fft, spectrum.shape[1] + n_fft):
        frame = np.fft.irfft(spectrum[:, k], n_fft) if 0 <= k < spectrum.shape[1] else np.zeros(n_fft)
        for n in range(n_fft):
            at = first + k * hop + n
            if 0 <= at < samples:
                signal[at] += window[n] * frame[n]
                total[at] += window[n] ** 2
    return signal / total


@pytest.mark.parametrize(("n_fft", "hop"), GRIDS)
@pytest.mark.parametrize("samples", [1, 2, 3, 767, 768, 769, 1023, 1024, 1025, 4095, 4096, 4097, 10_000])
def test_round_trip_has_the_same_length_and_samples(n_fft, hop, samples):
    signal = noise(2, samples)
    grid = StftSettings(n_fft, hop)
    assert_close(istft(stft(signal, grid), grid, samples), signal, rtol=0, atol=2e-6)


@settings(max_examples=60, deadline=None)
@given(samples=st.integers(1, 3000), half=st.integers(2, 256), part=st.floats(0, 0.75))
def test_round_trip_holds_for_any_length_and_hop(samples, half, part):
    grid = StftSettings(2 * half, max(1, int(2 * half * part)))
    signal = noise(samples, seed=samples)
    assert_close(istft(stft(signal, grid), grid, samples), signal, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("n_fft", "hop"), [(64, 16), (64, 48), (10, 3), (8, 1)])
@pytest.mark.parametrize("samples", [1, 7, 64, 150])
def test_agrees_with_the_plain_transform(n_fft, hop, samples):
    signal = noise(samples)
    expected, _ = plain_stft(signal.double().numpy(), n_fft, hop)
    actual = stft(signal, StftSettings(n_fft, hop)).numpy()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("n_fft", "hop"), [(64, 16), (64, 48), (10, 3), (8, 1)])
@pytest.mark.parametrize("samples", [1, 7, 64, 150])
def test_inverse_of_any_spectrogram_agrees_with_the_plain_inverse(n_fft, hop, samples):
    grid = StftSettings(n_fft, hop)
    generator = np.random.default_rng(1)
    shape = (grid.bins, grid.frames(samples))
    spectrum = generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
    expected = plain_istft(spectrum, n_fft, hop, samples)
    actual = istft(torch.from_numpy(spectrum).to(torch.complex64), grid, samples).numpy()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-5)  # window sums down to 0.04 amplify rounding


@pytest.mark.parametrize(("n_fft", "hop"), [(4096, 1024), (1024, 768), (1024, 256)])
def test_is_bit_equal_to_torch_stft_of_the_padded_signal(n_fft, hop):
    signal = noise(3, 20_000)
    grid = StftSettings(n_fft, hop)
    actual = stft(signal, grid)
    lead = (math.ceil(n_fft / hop) - 1) * hop
    tail = (actual.shape[-1] - 1) * hop + n_fft - lead - signal.shape[-1]
    padded = torch.nn.functional.pad(signal, (lead, tail))
    window = torch.hann_window(n_fft, dtype=torch.float64).float()
    expected = torch.stft(padded, n_fft, hop, window=window, center=False, return_complex=True)
    assert torch.equal(actual, expected)


def test_padding_by_whole_windows_adds_only_silent_frames():
    n_fft, hop, samples = 1024, 768, 5000
    grid = StftSettings(n_fft, hop)
    signal = noise(samples)
    padded = torch.nn.functional.pad(signal, (4 * hop, 4 * hop))  # at least a window on both sides, same grid
    actual, wider = stft(signal, grid), stft(padded, grid)
    assert_close(wider[:, 4 : 4 + actual.shape[1]], actual)
    assert wider[:, :4].abs().max() == 0
    assert wider[:, 4 + actual.shape[1] :].abs().max() == 0


def test_inverse_agrees_with_torch_istft_inside():
    grid = StftSettings(4096, 1024)
    spectrum = stft(noise(2, 40_000), grid) * noise(2, grid.bins, grid.frames(40_000)).abs()
    actual = istft(spectrum, grid, 40_000)
    window = torch.hann_window(4096)
    padded = torch.istft(spectrum, 4096, 1024, window=window, center=True)
    # torch cuts n_fft / 2 at the start and ours 3 * hop: one hop between the two.
    assert_close(actual[:, : padded.shape[1] - 1024], padded[:, 1024:][:, :40_000], rtol=0, atol=2e-6)


@pytest.mark.parametrize(("n_fft", "hop", "rate"), [(1024, 768, 8192), (1024, 256, 22_050), (4096, 1024, 44_100)])
def test_a_random_mask_does_not_explode_at_the_ends(n_fft, hop, rate):
    grid = StftSettings(n_fft, hop)
    signal = noise(3 * rate + 17)
    spectrum = stft(signal, grid)
    estimate = istft(spectrum * noise(*spectrum.shape).abs(), grid, signal.shape[0])
    middle = estimate[rate : 2 * rate].square().mean()
    assert estimate[-rate:].square().mean() < 1.5 * middle
    assert estimate[:rate].square().mean() < 1.5 * middle
    ends = torch.cat([estimate[:32], estimate[-32:]])
    assert ends.abs().max() < 1.5 * estimate[rate : 2 * rate].abs().max()


def test_a_tone_divided_by_the_window_sum_has_half_its_amplitude():
    grid = StftSettings(1024, 256)
    tone = torch.cos(torch.arange(8192) * (2 * math.pi * 100 / 1024))
    magnitude = stft(tone, grid).abs() / grid.window_sum
    assert_close(magnitude[100, 10], torch.tensor(0.5))


@given(frames=st.integers(1, 200), grid=st.sampled_from(GRIDS))
def test_samples_is_the_longest_signal_for_so_many_frames(frames, grid):
    grid = StftSettings(*grid)
    samples = grid.samples(frames)
    if samples > 0:
        assert grid.frames(samples) == frames
        assert grid.frames(samples + 1) == frames + 1


def test_silence_stays_exact_silence():
    grid = StftSettings(1024, 768)
    assert torch.equal(istft(stft(torch.zeros(5000), grid), grid, 5000), torch.zeros(5000))


def test_inputs_are_not_changed():
    grid = StftSettings(64, 16)
    signal = noise(100)
    before = signal.clone()
    spectrum = stft(signal, grid)
    kept = spectrum.clone()
    istft(spectrum, grid, 100)
    assert torch.equal(signal, before)
    assert torch.equal(spectrum, kept)


def test_gradient_flows_through_both_after_use_in_inference_mode():
    grid = StftSettings(32, 24)
    with torch.inference_mode():
        istft(stft(torch.ones(50), grid), grid, 50)
    signal = noise(50).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: istft(stft(x, grid) * 0.5, grid, 50), (signal,))


def test_double_precision_is_kept():
    grid = StftSettings(1024, 768)
    signal = noise(3000).double()
    assert_close(istft(stft(signal, grid), grid, 3000), signal, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("n_fft", "hop"), [(1023, 256), (2, 1), (1024, 0), (1024, 769)])
def test_settings_out_of_range_are_refused(n_fft, hop):
    with pytest.raises(ValueError, match="must be"):
        StftSettings(n_fft, hop)


def test_an_empty_signal_is_refused():
    with pytest.raises(ShapeError, match="at least 1 sample"):
        stft(torch.zeros(2, 0), StftSettings(64, 16))


def test_a_spectrogram_of_another_length_is_refused():
    grid = StftSettings(64, 16)
    with pytest.raises(ShapeError, match="33 bins, 10 frames"):
        istft(stft(torch.zeros(200), grid), grid, 100)
