"""Tempo, pitch and speed: tones keep or change their frequency, clicks their place, as the ratio says."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mss_models.augmentation.speed import change_pitch, change_speed, change_tempo, nearest_ratios
from mss_models.augmentation.time_scale import PitchShift, Resampling, TempoChange

RATE = 22_050
RATIOS = [Fraction(1, 2), Fraction(4, 5), Fraction(127, 128), Fraction(9, 8), Fraction(3, 2), Fraction(2)]


def time(samples):
    return torch.arange(samples, dtype=torch.float64) / RATE


def tone(frequency, samples):
    return torch.sin(2 * math.pi * frequency * time(samples)).float().view(1, 1, 1, -1)


def frequency_of(signal):
    """Frequency of a tone, by the interpolated peak of a windowed spectrum."""
    signal = signal.flatten().double().numpy()
    size = 8 * len(signal)
    power = np.log(np.abs(np.fft.rfft(signal * np.hanning(len(signal)), size)) + 1e-12)
    peak = int(power.argmax())
    left, middle, right = power[peak - 1 : peak + 2]
    return (peak + (left - right) / (2 * (left - 2 * middle + right))) * RATE / size


def purity_db(signal, frequency):
    """Power of the best sine of a frequency over what it leaves."""
    signal = signal.flatten().double()
    angle = 2 * math.pi * frequency * time(len(signal))
    waves = torch.stack([angle.cos(), angle.sin()], dim=1)
    fit = waves @ torch.linalg.lstsq(waves, signal.unsqueeze(1)).solution
    rest = signal - fit.flatten()
    return 10 * math.log10(fit.square().sum() / rest.square().sum())


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("frequency", [110.0, 997.0, 4000.0])
def test_speed_moves_a_tone_by_its_ratio_and_leaves_it_pure(ratio, frequency):
    changed = change_speed(tone(frequency, 60_000), [ratio], 22_050)[..., 1000:-1000]
    expected = torch.sin(2 * math.pi * frequency * float(ratio) * time(22_050)).float()
    # In phase from the first sample on; the filter's stop band is 90 dB down.
    assert_close(changed.flatten(), expected[1000:-1000], rtol=0, atol=2e-4)


def test_speed_lets_nothing_fold_back():
    too_high = tone(9000.0, 60_000)
    assert change_speed(too_high, [Fraction(3, 2)], 22_050)[..., 1000:-1000].abs().max() < 2e-4


def test_speed_of_one_is_the_audio_itself():
    audio = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 2, 1, 500))).float()
    assert torch.equal(change_speed(audio, [Fraction(1)] * 2, 400), audio[..., :400])


def test_speed_agrees_with_soxr():
    soxr = pytest.importorskip("soxr")
    random = np.random.default_rng(0).standard_normal(40_000)
    smooth = np.fft.irfft(np.fft.rfft(random) * (np.fft.rfftfreq(40_000) < 0.3), 40_000)
    got = change_speed(torch.from_numpy(smooth).float().view(1, 1, 1, -1), [Fraction(5, 4)], 32_000).flatten()
    expected = soxr.resample(smooth, 5, 4, quality="VHQ")
    assert_close(got[500:-500].double(), torch.from_numpy(expected[500:31_500].copy()), rtol=0, atol=2e-3)


@pytest.mark.parametrize("ratio", [0.7, 0.95, 1.1, 1.5])
@pytest.mark.parametrize("frequency", [220.0, 1234.5])
def test_tempo_leaves_a_tone_its_frequency_and_level(ratio, frequency):
    changed = change_tempo(tone(frequency, 60_000), torch.tensor([ratio]), 30_000, sample_rate=RATE)[..., 3000:-3000]
    assert abs(1200 * math.log2(frequency_of(changed) / frequency)) < 0.5  # cents
    assert purity_db(changed, frequency_of(changed)) > 30
    assert abs(10 * math.log10(2 * changed.square().mean())) < 0.2


@pytest.mark.parametrize("ratio", [0.7, 1.0, 1.25])
def test_tempo_moves_a_burst_to_its_new_time(ratio):
    burst = torch.zeros(1, 1, 1, 60_000)
    burst[..., 20_000:20_800] = tone(1000.0, 800)
    changed = change_tempo(burst, torch.tensor([ratio]), 35_000, sample_rate=RATE).flatten().double().square()
    middle = (changed * torch.arange(35_000)).sum() / changed.sum()
    assert abs(middle - 20_400 / ratio) < 0.005 * RATE


@pytest.mark.parametrize("samples", [1, 255, 5000])
def test_tempo_of_one_is_the_audio_itself(samples):
    audio = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (2, 2, 2, 8000))).float()
    changed = change_tempo(audio, torch.ones(2), samples, sample_rate=RATE)
    assert_close(changed, audio[..., :samples], rtol=0, atol=1e-5)


def test_tempo_keeps_what_stands_between_the_channels():
    left = torch.from_numpy(np.random.default_rng(0).standard_normal(60_000)).float()
    stereo = torch.stack([left, -0.5 * left]).view(1, 1, 2, -1)
    changed = change_tempo(stereo, torch.tensor([0.8]), 30_000, sample_rate=RATE)[0, 0]
    assert_close(changed[1], -0.5 * changed[0], rtol=0, atol=1e-4)


def test_tempo_keeps_the_power_of_noise():
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 1, 1, 80_000))).float()
    for ratio in (0.8, 1.2):
        changed = change_tempo(noise, torch.tensor([ratio]), 50_000, sample_rate=RATE)[..., 3000:-3000]
        assert abs(10 * math.log10(changed.square().mean())) < 2.5


@pytest.mark.parametrize("semitones", [-7.0, -1.5, 3.0, 12.0])
def test_a_pitch_shift_moves_a_tone_by_its_semitones_and_nothing_in_time(semitones):
    step = PitchShift(semitones=(semitones, semitones))
    samples = step.required_samples(40_000, sample_rate=RATE)
    changed = step(tone(440.0, samples)[0], torch.tensor([0]), sample_rate=RATE)
    assert changed.shape == (1, 1, 40_000)
    expected = 440 * 2 ** (semitones / 12)
    assert (
        abs(1200 * math.log2(frequency_of(changed[..., 3000:-3000]) / expected)) < 2.5
    )  # the fraction's rounding: 2/3 at -7
    burst = torch.zeros(1, 1, 60_000)
    burst[..., 20_000:20_800] = tone(1000.0, 800)[0]
    power = step(burst, torch.tensor([0]), sample_rate=RATE).flatten().double().square()
    assert abs((power * torch.arange(len(power))).sum() / power.sum() - 20_400) < 0.005 * RATE


def test_pitches_of_a_batch_change_each_by_its_own_ratio():
    ratios = [Fraction(3, 4), Fraction(1), Fraction(3, 2)]
    changed = change_pitch(tone(440.0, 40_000).expand(3, -1, -1, -1), ratios, 30_000, sample_rate=RATE)
    for item, ratio in zip(changed, ratios, strict=True):
        assert abs(1200 * math.log2(frequency_of(item[..., 3000:-3000]) / (440 * ratio))) < 1.0


@pytest.mark.parametrize(
    "step", [TempoChange(ratio=(1.3, 1.3)), Resampling(ratio=(1.3, 1.3)), PitchShift(semitones=(-4.0, -4.0))]
)
def test_the_margin_is_enough_for_the_last_samples(step):
    required = step.required_samples(10_000, sample_rate=RATE)
    audio = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 1, required + 5000))).float()
    short = step(audio[..., :required], torch.tensor([0]), sample_rate=RATE)
    long = step(audio, torch.tensor([0]), sample_rate=RATE)[..., :10_000]
    assert short.shape[-1] == 10_000
    assert_close(short, long, rtol=0, atol=1e-5)


def test_ratios_are_near_fractions():
    semitones = torch.linspace(-12, 12, 241).double()
    wanted = 2 ** (semitones / 12)
    got = torch.tensor([float(ratio) for ratio in nearest_ratios(wanted)], dtype=torch.float64)
    assert (1200 * torch.log2(got / wanted)).abs().median() < 0.2
    assert (1200 * torch.log2(got / wanted)).abs().max() < 7
