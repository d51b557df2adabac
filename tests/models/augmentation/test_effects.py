"""Each effect against a known answer, or against SciPy's filters and plain loops."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mss_models.augmentation.compression import Compression
from mss_models.augmentation.convolution import fast_length
from mss_models.augmentation.equaliser import Equaliser
from mss_models.augmentation.levels import ChannelSwap, Gain, Polarity, StemDropout
from mss_models.augmentation.modulation import Chorus, Flanger, Phaser, Tremolo
from mss_models.augmentation.oscillator import cosines, delayed
from mss_models.augmentation.reverb import Reverb

RATE = 16_000
ONE = torch.tensor([0])


def sine(frequency, seconds=1.0, amplitude=0.5):
    return amplitude * torch.sin(
        2 * math.pi * frequency * torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    )


def noise(samples, seed=0, scale=0.1):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(samples) * scale)


def applied(step, signal, seeds=ONE):
    """The step on one mono item, as float64 samples."""
    return step(signal.float().view(1, 1, -1), seeds, sample_rate=RATE).flatten().double()


def level_at(signal, frequency):
    """Amplitude of a sine in a signal of whole periods."""
    time = torch.arange(len(signal), dtype=torch.float64) / RATE
    wave = torch.exp(-2j * math.pi * frequency * time)
    return abs((signal * wave).sum().item()) * 2 / len(signal)


@pytest.mark.parametrize("gain_db", [-20.0, 0.0, 6.0])
def test_a_gain_is_in_decibels(gain_db):
    changed = applied(Gain(gain_db=(gain_db, gain_db)), torch.ones(3))
    assert_close(changed, torch.full((3,), 10 ** (gain_db / 20), dtype=torch.float64), rtol=1e-6, atol=0)


def test_gains_fill_their_range():
    gains = 20 * torch.log10(Gain(gain_db=(-12.0, 2.0))(torch.ones(500, 1, 1), torch.arange(500), sample_rate=RATE))
    assert gains.min() >= -12.0 - 1e-4
    assert gains.max() <= 2.0 + 1e-4
    assert abs(gains.mean() + 5.0) < 0.75  # 4 standard errors


def test_swapped_channels_change_places():
    audio = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    swapped = ChannelSwap(probability=1.0)(audio, ONE, sample_rate=RATE)
    assert torch.equal(swapped, torch.tensor([[[3.0, 4.0], [1.0, 2.0]]]))


@pytest.mark.parametrize("step", [ChannelSwap(), Polarity()])
def test_half_of_the_items_are_turned(step):
    audio = torch.tensor([[[1.0], [2.0]]]).expand(400, -1, -1)
    turned = (step(audio, torch.arange(400), sample_rate=RATE) != audio).any(dim=(1, 2))
    assert abs(turned.double().mean() - 0.5) < 0.1  # 4 standard errors


def test_polarity_is_the_sign_alone():
    assert torch.equal(Polarity(probability=1.0)(torch.ones(1, 1, 3), ONE, sample_rate=RATE), -torch.ones(1, 1, 3))


@pytest.mark.parametrize(("keep", "expected"), [(0, 0), (1, 1), (3, 3), (9, 4)])
def test_dropout_keeps_as_many_stems_as_it_says(keep, expected):
    step = StemDropout(probability=1.0, keep=keep)
    sounding = step(torch.ones(20, 4, 1, 2), torch.arange(20), sample_rate=RATE)[..., 0, 0].sum(dim=1)
    assert torch.equal(sounding, torch.full((20,), float(expected)))


def test_dropout_takes_each_stem_as_often_as_its_probability_says():
    step = StemDropout(probability=0.3, keep=0)
    gone = step(torch.ones(1000, 4, 1, 1), torch.arange(1000), sample_rate=RATE)[..., 0, 0] == 0
    assert (gone.double().mean(dim=0) - 0.3).abs().max() < 0.06  # 4 standard errors


@pytest.mark.parametrize("start", [0.0, 2.5])
def test_an_oscillator_is_a_cosine_after_a_minute_as_well(start):
    frequency, samples = torch.tensor([0.37, 7.0], dtype=torch.float64), 60 * RATE
    got = cosines(frequency, torch.full((2,), start).double(), samples, sample_rate=RATE, device=torch.device("cpu"))
    time = torch.arange(samples, dtype=torch.float64) / RATE
    expected = torch.cos(2 * math.pi * frequency[:, None] * time + start)
    assert_close(got.double(), expected, rtol=0, atol=1e-6)


def test_a_delay_between_samples_is_a_straight_line_between_them():
    audio = torch.tensor([[[1.0, 2.0, 4.0, 8.0]]])
    delay = torch.tensor([[0.0, 0.25, 2.0, 1.5]])
    # 1; 2 + (1 - 2) / 4; the sample two before; the middle of 2 and 4.
    assert torch.equal(delayed(audio, delay, 3), torch.tensor([[[1.0, 1.75, 1.0, 3.0]]]))


@pytest.mark.parametrize(("rate_hz", "depth"), [(4.0, 1.0), (7.0, 0.3)])
def test_a_tremolo_moves_the_level_at_its_rate_and_by_its_depth(rate_hz, depth):
    changed = applied(Tremolo(rate_hz=(rate_hz, rate_hz), depth=(depth, depth)), torch.ones(RATE))
    # The level swings by half the depth around 1 - depth / 2, and at no other frequency.
    assert abs(changed.mean().item() - (1 - depth / 2)) < 1e-6
    assert abs(level_at(changed, rate_hz) - depth / 2) < 1e-6
    for other in (1.0, 2 * rate_hz, 3 * rate_hz):
        assert level_at(changed, other) < 1e-6


def test_a_chorus_that_stands_still_adds_an_echo_and_keeps_the_power():
    step = Chorus(voices=1, delay_ms=(10.0, 10.0), depth_ms=(0.0, 0.0), mix=(0.5, 0.5))
    click = torch.zeros(1000).double()
    click[100] = 1.0
    changed, scale = applied(step, click), math.sqrt(1.25)
    expected = torch.zeros(1000).double()
    expected[100], expected[260] = 1 / scale, 0.5 / scale
    assert_close(changed, expected, rtol=0, atol=1e-3)  # a delay of 160 samples is drawn as 160.0 to 1e-4
    power = applied(Chorus(), noise(4 * RATE)).square().mean() / noise(4 * RATE).square().mean()
    assert abs(10 * math.log10(power)) < 1.0


def test_a_chorus_bends_the_pitch_as_far_as_its_delay_moves():
    # The copy of a tone has the frequency f (1 - d'(t)); |d'| is at most 2 pi rate depth: here 3.1 %.
    step = Chorus(voices=1, delay_ms=(20.0, 20.0), depth_ms=(5.0, 5.0), rate_hz=(1.0, 1.0), mix=(1.0, 1.0))
    tone = sine(500.0, 2.0)
    copy = applied(step, tone) * math.sqrt(2) - tone
    spectrum = np.abs(np.fft.rfft(copy[RATE // 2 :].numpy() * np.hanning(len(copy) - RATE // 2)))
    frequencies = np.fft.rfftfreq(len(copy) - RATE // 2, 1 / RATE)
    strong = frequencies[spectrum > 0.1 * spectrum.max()]
    bend = 500 * 2 * math.pi * 1.0 * 0.005
    assert abs(strong.min() - (500 - bend)) < 3
    assert abs(strong.max() - (500 + bend)) < 3


def test_a_flanger_that_stands_still_is_a_comb():
    # Delay 1 ms: 500 Hz meets its copy with the sign turned, 1000 Hz with the same sign.
    step = Flanger(delay_ms=(1.0, 1.0), depth=(0.0, 0.0), mix=(0.5, 0.5), feedback=(0.0, 0.0))
    assert abs(level_at(applied(step, sine(500.0))[RATE // 2 :], 500.0) / 0.5 - 0.5 / 1.5) < 1e-3
    assert abs(level_at(applied(step, sine(1000.0))[RATE // 2 :], 1000.0) / 0.5 - 1.0) < 1e-3


def test_the_echoes_of_a_flanger_fade_by_its_feedback():
    step = Flanger(delay_ms=(2.0, 2.0), depth=(0.0, 0.0), mix=(0.8, 0.8), feedback=(0.5, 0.5))
    click = torch.zeros(200).double()
    click[0] = 1.0
    changed = applied(step, click)[[0, 32, 64, 96, 128]] * (1 + 0.8 / 0.5)
    assert_close(changed, torch.tensor([1.0, 0.8, 0.4, 0.2, 0.0]).double(), rtol=0, atol=1e-3)


def test_a_phaser_that_stands_still_is_scipys_cascade_of_all_pass_filters():
    from scipy.signal import lfilter

    step = Phaser(stages=4, low_hz=(800.0, 800.0), high_hz=(800.0, 800.0), mix=(0.7, 0.7))
    signal = noise(RATE)
    tangent = math.tan(math.pi * 800 / RATE)
    a = (tangent - 1) / (tangent + 1)
    copy = signal.numpy()
    for _ in range(4):
        copy = lfilter([a, 1.0], [1.0, a], copy)
    expected = (signal.numpy() + 0.7 * copy) / 1.7
    error = applied(step, signal).numpy() - expected
    # Windows let a little of what a filter spreads in time out of its frame.
    assert 10 * math.log10(np.square(error).mean() / np.square(expected).mean()) < -40


def test_the_notch_of_a_phaser_sweeps_at_its_rate():
    step = Phaser(stages=2, low_hz=(500.0, 500.0), high_hz=(2000.0, 2000.0), rate_hz=(2.0, 2.0), mix=(1.0, 1.0))
    changed = applied(step, sine(1000.0, 4.0))
    # Two stages meet their notch at the corner itself: twice per sweep, up and down, the tone is put out.
    envelope = changed.view(-1, 160).square().mean(dim=1).sqrt()  # 10 ms
    quiet = envelope < 0.1 * envelope.max()
    begins = (quiet[1:] & ~quiet[:-1]).sum().item()
    assert begins == 4 * 2 * 2


def cookbook(kind, frequency, gain_db, q):
    """Coefficients of the cookbook's digital filters."""
    a, w = 10 ** (gain_db / 40), 2 * math.pi * frequency / RATE
    alpha, c = math.sin(w) / (2 * q), math.cos(w)
    if kind == "peak":
        return [1 + alpha * a, -2 * c, 1 - alpha * a], [1 + alpha / a, -2 * c, 1 - alpha / a]
    sign, root = (1, 2 * math.sqrt(a) * alpha) if kind == "low" else (-1, 2 * math.sqrt(a) * alpha)
    b = [
        a * ((a + 1) - sign * (a - 1) * c + root),
        sign * 2 * a * ((a - 1) - sign * (a + 1) * c),
        a * ((a + 1) - sign * (a - 1) * c - root),
    ]
    return b, [
        (a + 1) + sign * (a - 1) * c + root,
        -sign * 2 * ((a - 1) + sign * (a + 1) * c),
        (a + 1) + sign * (a - 1) * c - root,
    ]


@pytest.mark.parametrize("gain_db", [-7.0, 5.0])
def test_an_equaliser_is_scipys_cascade_of_cookbook_filters(gain_db):
    from scipy.signal import lfilter

    step = Equaliser(
        gain_db=(gain_db, gain_db),
        peaks=2,
        peak_hz=(900.0, 900.0),
        q=(1.3, 1.3),
        low_hz=(120.0, 120.0),
        high_hz=(4000.0, 4000.0),
    )
    signal = noise(RATE)
    expected = signal.numpy()
    for kind, frequency, q in [
        ("low", 120.0, 0.5**0.5),
        ("peak", 900.0, 1.3),
        ("peak", 900.0, 1.3),
        ("high", 4000.0, 0.5**0.5),
    ]:
        expected = lfilter(*cookbook(kind, frequency, gain_db, q), expected)
    assert_close(applied(step, signal), torch.from_numpy(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("frequency", "bands"), [(20.0, 1), (7900.0, 1)])
def test_a_shelf_reaches_its_gain_beyond_its_slope(frequency, bands):
    step = Equaliser(gain_db=(6.0, 6.0), peaks=0, low_hz=(300.0, 300.0), high_hz=(2000.0, 2000.0))
    tone = sine(frequency, 2.0)
    got = level_at(applied(step, tone)[RATE // 2 : -RATE // 2], frequency) / 0.5
    assert abs(20 * math.log10(got) - 6.0 * bands) < 0.1


def test_reverberation_decays_by_sixty_decibels_in_its_time():
    step = Reverb(decay_seconds=(0.5, 0.5), pause_ms=(10.0, 10.0), level_db=(0.0, 0.0))
    click = torch.zeros(64, 1, RATE)
    click[:, :, 0] = 1.0
    wet = step(click, torch.arange(64), sample_rate=RATE).double() - click
    assert not wet[..., :159].abs().gt(1e-6).any()  # 10 ms of pause
    assert_close(wet.square().sum(dim=-1), torch.ones(64, 1).double(), rtol=1e-4, atol=0)
    power = 10 * torch.log10(wet[..., 160:8160].square().mean(dim=(0, 1)).view(20, 400).mean(dim=1))  # per 25 ms
    slope = np.polyfit(np.arange(20) * 0.025, power.numpy(), 1)[0]
    assert abs(slope + 60 / 0.5) < 3
    assert wet[..., 8170:].abs().max() < 1e-6


def test_channels_reverberate_apart_and_stems_in_one_room():
    step, click = Reverb(), torch.zeros(1, 2, 2, RATE)
    click[..., 0] = 1.0
    wet = step(click, ONE, sample_rate=RATE) - click
    assert_close(wet[0, 0], wet[0, 1], rtol=0, atol=1e-6)
    assert abs(torch.corrcoef(wet[0, 0])[0, 1]) < 0.2


@pytest.mark.parametrize(("level_db", "expected_db"), [(-40.0, 0.0), (-23.0, 0.0), (-13.0, -7.5), (-3.0, -15.0)])
def test_a_compressor_follows_its_static_curve(level_db, expected_db):
    # A sine of the amplitude a has the power a^2 / 2. Threshold -23 dB, ratio 4.
    amplitude = math.sqrt(2) * 10 ** (level_db / 20)
    step = Compression(threshold_db=(-23.0, -23.0), ratio=(4.0, 4.0), attack_ms=12.0)
    tone = sine(1000.0, amplitude=amplitude)
    got = level_at(applied(step, tone)[RATE // 2 :], 1000.0) / amplitude
    assert abs(20 * math.log10(got) - expected_db) < 0.05


def test_a_compressor_lets_go_at_its_release():
    # A loud second, then a quiet one 40 dB lower: the gain of -30 dB + 30 / 3 comes back at 60 (1 - 1/3) dB/s.
    step = Compression(threshold_db=(-33.0, -33.0), ratio=(3.0, 3.0), release_db=(60.0, 60.0), attack_ms=12.0)
    tone = torch.cat([sine(1000.0, amplitude=1.0), sine(1000.0, amplitude=0.01)])
    gain = applied(step, tone).view(-1, 160).square().mean(dim=1) / tone.view(-1, 160).square().mean(dim=1)
    gain_db = 10 * torch.log10(gain)
    assert abs(gain_db[90] + 20) < 0.1  # (1 - 1/3) (-3 + 33)
    assert abs((gain_db[140] - gain_db[110]) / 0.3 - 40) < 1
    assert abs(gain_db[-1]) < 0.1


def test_a_compressor_gives_both_channels_one_gain():
    loud, quiet = sine(440.0, amplitude=0.9), sine(300.0, amplitude=0.05)
    step = Compression(threshold_db=(-30.0, -30.0), ratio=(4.0, 4.0))
    stereo = torch.stack([loud, quiet]).float().unsqueeze(0)
    changed = step(stereo, ONE, sample_rate=RATE)[0]
    clear = (stereo[0].abs() > 0.01).all(dim=0)
    gains = (changed / stereo[0])[:, clear]
    assert_close(gains[0], gains[1], rtol=1e-4, atol=0)


@pytest.mark.parametrize("samples", [1, 2, 7, 97, 1023, 1024, 1025, 65537, 132301])
def test_a_fast_length_is_the_next_even_one_of_small_factors(samples):
    def small(length):
        for factor in (2, 3, 5):
            while length % factor == 0:
                length //= factor
        return length == 1

    expected = next(length for length in range(samples, 3 * samples + 3) if length % 2 == 0 and small(length))
    assert fast_length(samples) == expected
