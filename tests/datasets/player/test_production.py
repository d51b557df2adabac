"""What makes a record of tracks: each effect against a known answer or SciPy."""

import numpy as np
import pytest
import scipy.signal
import torch

from mss_cli.datasets.player.filters import sweep
from mss_cli.datasets.player.production import (
    amplified,
    band_passed,
    compression_gain,
    ducking_gain,
    echoed,
    limiter_gain,
    normalised,
    saturated,
    shaped,
    widened,
)
from mss_cli.datasets.player.voice_effects import chorused, distorted, telephoned
from sample_packs import RATE, voice_like

FLAT = np.zeros(8)


def stereo(signal):
    return torch.from_numpy(np.asarray(signal, dtype=np.float32)).repeat(2, 1)


def tone(hertz, samples=RATE):
    return stereo(np.sin(2 * np.pi * hertz * np.arange(samples) / RATE))


def noise(samples, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((2, samples)).astype(np.float32))


def level_db(track):
    """RMS in the middle, away from the edges; 0 dB is that of a full-scale sine."""
    middle = track[:, RATE // 4 : -RATE // 4]
    return 10 * np.log10(2 * float(middle.square().mean()))


def test_a_flat_curve_without_a_room_changes_nothing():
    track = noise(30000)
    torch.testing.assert_close(shaped(track, eq_db=FLAT), track, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("hertz", "expected"), [(200.0, 5.0), (1200.0, -7.0), (600.0, (500.0, 1200.0))])
def test_the_equaliser_has_its_gains_at_its_frequencies_and_lines_between(hertz, expected):
    eq = np.array([0, 0, 5, 3, -7, 0, 0, 0], dtype=np.float64)
    if isinstance(expected, tuple):
        low, high = expected
        expected = 3 - 10 * np.log(hertz / low) / np.log(high / low)
    assert abs(level_db(shaped(tone(hertz), eq_db=eq)) - expected) < 0.05


def test_the_cut_offs_fall_by_three_decibels_where_they_are():
    assert abs(level_db(shaped(tone(150), eq_db=FLAT, high_pass_hz=150)) + 3.01) < 0.05
    assert abs(level_db(shaped(tone(9000), eq_db=FLAT, low_pass_hz=9000)) + 3.01) < 0.05
    assert level_db(shaped(tone(75), eq_db=FLAT, high_pass_hz=150)) < -23.5


def test_a_room_is_a_convolution():
    track, room = noise(20000), noise(3000, seed=1) * 0.02
    expected = track.numpy() + 0.4 * scipy.signal.fftconvolve(track.numpy(), room.numpy(), axes=1)[:, :20000]
    torch.testing.assert_close(
        shaped(track, eq_db=FLAT, room=room, wet=0.4), torch.from_numpy(expected), atol=2e-4, rtol=0
    )


@pytest.mark.parametrize("hertz", [120.0, 400.0, 1000.0, 3000.0, 9000.0])
def test_a_band_has_the_slopes_of_butterworth_filters(hertz):
    response = 1.0
    for cutoff, kind in ((400, "highpass"), (3000, "lowpass")):
        b, a = scipy.signal.butter(2, 2 * np.pi * cutoff, kind, analog=True)
        response *= abs(scipy.signal.freqs(b, a, worN=[2 * np.pi * hertz])[1][0])
    out = level_db(band_passed(tone(hertz), low_hz=400, high_hz=3000))
    assert abs(out - 20 * np.log10(response)) < 0.05


@pytest.mark.parametrize("ping_pong", [False, True])
def test_echoes_of_a_click_come_in_time_each_weaker(ping_pong):
    click = torch.zeros(2, 4000)
    click[:, 0] = 1
    out = echoed(click, seconds=1000 / RATE, feedback=0.5, level=0.4, ping_pong=ping_pong)
    for number in (1, 2, 3):
        there = [0.4 * 0.5 ** (number - 1) * (not ping_pong or number % 2 == side) for side in (0, 1)]
        np.testing.assert_allclose(out[:, 1000 * number], there, atol=1e-6)
    assert out.count_nonzero() == 2 + (3 if ping_pong else 6)


def test_saturation_is_the_same_at_all_levels_and_bends_loud_samples_most():
    track = noise(20000)
    torch.testing.assert_close(saturated(track * 0.01, drive=4.0), saturated(track, drive=4.0) * 0.01)
    ratio = saturated(track, drive=4.0) / track
    assert ratio[track.abs() < 0.05].min() > 0.99
    assert ratio[track.abs() > 3].max() < 0.6


def test_a_limited_mixture_stays_below_the_ceiling():
    mixture = noise(30000, seed=1)
    mixture[:, 12345] = 20
    assert (mixture * limiter_gain(mixture, ceiling=0.8)).abs().max() <= 0.8 + 1e-5


def test_a_compressor_leaves_quiet_parts_and_silence():
    silence = torch.zeros(2, 1000)
    assert (compression_gain(silence, threshold_db=-6, ratio=4, attack=0.01, release=0.1) == 1).all()
    gain = compression_gain(stereo(voice_like(200, 1.0)), threshold_db=-12, ratio=4, attack=0.005, release=0.1)
    # 12 dB above the threshold become 3 dB: 9 dB less.
    assert abs(20 * np.log10(float(gain[20000])) + 9) < 1


def test_ducking_is_deepest_at_the_kick_and_over_in_time():
    gain = ducking_gain(2 * RATE, [0.5], depth=0.75, release=0.4)
    assert gain.shape == (2 * RATE,)
    assert abs(float(gain[round(0.5 * RATE) :].min()) - 0.25) < 0.03
    assert (gain[: round(0.48 * RATE)] == 1).all()
    assert (gain[round(0.92 * RATE) :] == 1).all()


def test_widening_leaves_the_left_side_and_delays_the_right():
    track = noise(5000)
    out = widened(track, seconds=100 / RATE, share=1.0)
    torch.testing.assert_close(out[0], track[0])
    torch.testing.assert_close(out[1, 100:], track[1, :-100])


def test_an_open_sweep_changes_nothing_and_a_low_one_takes_treble():
    voice = stereo(voice_like(200, 0.4))
    torch.testing.assert_close(sweep(voice, np.array([1e7, 1e7], dtype=np.float32)), voice, atol=1e-4, rtol=0)
    hiss = noise(20000)
    assert sweep(hiss, np.array([200, 200], dtype=np.float32)).std() < 0.3 * hiss.std()


def test_normalised_tracks_have_the_level_and_silence_stays():
    loud = normalised(noise(30 * 1024), level_db=-6.0)
    assert abs(20 * np.log10(float(loud.square().mean().sqrt())) + 26) < 0.1
    assert not normalised(torch.zeros(2, 100), level_db=0.0).any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_effects_on_a_gpu_are_those_on_the_cpu():
    track, room = noise(RATE), noise(8000, seed=1) * 0.02
    effects = (
        lambda x: shaped(x, eq_db=np.arange(8.0), high_pass_hz=80, low_pass_hz=15000, room=room, wet=0.5),
        lambda x: band_passed(x, low_hz=300, high_hz=4000),
        lambda x: echoed(x, seconds=0.1, feedback=0.5, level=0.5, ping_pong=True),
        lambda x: saturated(x, drive=4.0),
        lambda x: x * compression_gain(x, threshold_db=-6, ratio=4, attack=0.01, release=0.1),
        lambda x: x * limiter_gain(x, ceiling=0.8),
        lambda x: amplified(x, np.random.default_rng(0), drive=3.0),
        lambda x: sweep(x, np.array([300, 9000], dtype=np.float32), resonance=2.0),
        lambda x: distorted(x, drive=5.0, share=0.5),
        lambda x: chorused(x, np.random.default_rng(0), share=0.5),
        lambda x: telephoned(x, np.random.default_rng(0)),
        lambda x: widened(x, seconds=0.01, share=0.7),
        lambda x: normalised(x, level_db=-3.0),
    )
    for effect in effects:
        torch.testing.assert_close(effect(track.cuda()).cpu(), effect(track), atol=2e-4, rtol=1e-3)
