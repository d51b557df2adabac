import numpy as np
import pytest

from mss_cli.datasets.player.bends import bent, draw_bends
from mss_cli.datasets.player.pack import SAMPLE_RATE

SECONDS = 4
SAMPLES = SECONDS * SAMPLE_RATE


def tone(hertz):
    time = np.arange(SAMPLES) / SAMPLE_RATE
    return np.repeat(np.sin(2 * np.pi * hertz * time, dtype=np.float64)[None], 2, axis=0).astype(np.float32)


def crossings_per_second(signal):
    """Frequency in each quarter of a second, from the upward crossings of zero."""
    parts = signal.reshape(4 * SECONDS, -1)
    return 4 * ((parts[:, :-1] < 0) & (parts[:, 1:] >= 0)).sum(axis=1)


def test_no_bend_changes_nothing():
    track = tone(440)
    np.testing.assert_allclose(bent(track, np.zeros(SAMPLES, np.float32)), track, atol=1e-6)


def test_pitch_rises_by_the_cents_that_are_asked_for():
    cents = np.zeros(SAMPLES, np.float32)
    cents[: SAMPLE_RATE // 2] = 1200  # an octave for half a second
    heard = crossings_per_second(bent(tone(1000), cents)[0])
    # What is read ahead decays with a time constant of 1 s: an octave above, less what it comes back by.
    quarter = (1 - np.exp(-0.25)) / 0.25
    assert heard[0] == pytest.approx(1000 * (1 + quarter), abs=8)
    assert heard[1] == pytest.approx(1000 * (1 + quarter * np.exp(-0.25)), abs=8)
    assert heard[2] == pytest.approx(1000 * (1 - (1 - np.exp(-0.5)) * quarter), abs=8)
    assert heard[-2] > 975


def test_a_bent_part_stays_in_time():
    clicks = np.zeros((2, SAMPLES), np.float32)
    places = np.arange(1, 8) * SAMPLE_RATE // 2
    clicks[:, places] = 1
    for seed in range(8):
        moved = bent(clicks, draw_bends(np.random.default_rng(seed), SAMPLES))
        for place in places:
            near = np.abs(moved[0, place - 2600 : place + 2600])
            assert near.max() > 0.2, seed


@pytest.mark.parametrize("samples", [1, 100, SAMPLE_RATE])
def test_drawn_bends_are_finite_and_move_the_pitch(samples):
    for seed in range(20):
        cents = draw_bends(np.random.default_rng(seed), samples)
        assert cents.shape == (samples,)
        assert cents.dtype == np.float32
        assert np.isfinite(cents).all()
        assert np.abs(cents).max() < 800
    deep, half = (draw_bends(np.random.default_rng(3), SAMPLE_RATE, deepest=depth) for depth in (1.0, 0.5))
    assert deep.any()
    np.testing.assert_allclose(half, deep / 2, rtol=1e-6)
