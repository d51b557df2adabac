import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mss_models.errors import ShapeError
from mss_models.salience import BINS, best_pitch, frequencies, pitches, render, render_notes


def cents(a, b):
    return 1200 * torch.log2(torch.as_tensor(a, dtype=torch.float64) / torch.as_tensor(b, dtype=torch.float64))


def hz(bin_number):
    return 32.7 * 2 ** (bin_number / 60)


def test_the_grid_is_360_bins_of_20_cents_from_c1():
    grid = frequencies(dtype=torch.float64)
    assert grid.shape == (BINS,)
    assert float(grid[0]) == 32.7
    assert_close(grid[60], torch.tensor(65.4, dtype=torch.float64))
    assert_close(cents(grid[1:], grid[:-1]), torch.full((359,), 20.0, dtype=torch.float64))


def test_a_pitch_on_a_bin_is_a_gaussian_of_25_cents():
    salience = render(torch.tensor([[hz(100)]], dtype=torch.float64))[0, :, 0]
    for step in range(-4, 5):
        assert float(salience[100 + step]) == pytest.approx(math.exp(-0.5 * (20 * step / 25) ** 2))


def test_a_silent_voice_draws_nothing():
    assert not render(torch.tensor([[0.0, -220.0, math.nan]])).any()


def test_voices_that_overlap_share_the_larger_value():
    voices = torch.tensor([[[220.0], [223.0]]])
    assert_close(render(voices), torch.maximum(render(voices[:, 0]), render(voices[:, 1])))


@given(pitch=st.floats(34.0, 2000.0))
def test_the_pitch_drawn_is_the_pitch_read(pitch):
    found, confidence = best_pitch(render(torch.tensor([[pitch]], dtype=torch.float64)))
    assert abs(float(cents(found, pitch))) < 0.01
    assert 0.92 < float(confidence) <= 1


def test_a_frame_below_the_threshold_is_unvoiced_but_keeps_its_confidence():
    salience = render(torch.tensor([[220.0, 220.0]])) * torch.tensor([1.0, 0.39])
    found, confidence = best_pitch(salience)
    assert float(found[0, 0]) == pytest.approx(220.0, rel=1e-4)
    assert float(found[0, 1]) == 0.0
    assert float(confidence[0, 1]) == pytest.approx(0.39, rel=1e-3)


def test_guesses_are_negative_where_unvoiced():
    found, _ = best_pitch(0.3 * render(torch.tensor([[220.0]])), guesses=True)
    assert float(found) == pytest.approx(-220.0, rel=1e-4)


def test_pitches_beyond_the_grid_are_read_at_its_edges():
    found, _ = best_pitch(render(torch.tensor([[32.5, 2075.0]])))
    assert_close(found, frequencies()[None, [0, -1]])


def test_every_voice_is_found_the_most_salient_first():
    salience = torch.maximum(render(torch.tensor([[220.0, 0.0]])), 0.6 * render(torch.tensor([[330.0, 262.0]])))
    found, confidence = pitches(salience)
    assert_close(found, torch.tensor([[[220.0, 262.0], [330.0, 0.0]]]), rtol=1e-4, atol=0)
    assert confidence[0, 1, 1] == 0
    assert confidence[0, 0, 0] > confidence[0, 1, 0] > 0.5


@given(bins=st.sets(st.integers(0, 39), min_size=1, max_size=6))
def test_distinct_voices_survive_drawing_and_reading(bins):
    voices = torch.tensor([[[hz(9 * b + 3.3)] for b in bins]], dtype=torch.float64)  # 180 cents apart or more
    found, _ = pitches(render(voices))
    assert_close(found.sort(dim=1).values, voices.sort(dim=1).values, rtol=1e-4, atol=0)


def test_a_plateau_is_one_pitch():
    salience = torch.zeros(1, BINS, 1)
    salience[0, 50:54] = 0.9
    found, _ = pitches(salience)
    assert found.shape == (1, 1, 1)


def test_silence_has_one_voice_that_is_silent():
    found, confidence = pitches(torch.zeros(2, BINS, 3))
    assert found.shape == confidence.shape == (2, 1, 3)
    assert not found.any()


def test_notes_cover_the_frames_from_start_to_before_the_end():
    times = torch.arange(6) * 0.5
    salience = render_notes(torch.tensor([0.5, 1.5]), torch.tensor([1.5, 2.1]), torch.tensor([110.0, 220.0]), times)
    expected = render(torch.tensor([[0.0, 110.0, 110.0, 220.0, 220.0, 0.0]]))[0]
    assert_close(salience, expected)


def test_notes_at_once_are_all_there():
    ones = torch.ones(1, 3)
    salience = render_notes(0 * ones, ones, torch.tensor([[110.0, 220.0, 330.0]]), torch.tensor([0.0]))
    assert_close(salience, render(torch.tensor([[[110.0], [220.0], [330.0]]])))


def test_an_entry_of_0_hz_is_no_note():
    salience = render_notes(torch.zeros(2, 1), torch.ones(2, 1), torch.tensor([[0.0], [110.0]]), torch.tensor([0.5]))
    assert salience.shape == (2, BINS, 1)
    assert not salience[0].any()
    assert salience[1].any()


def test_wrong_shapes_and_deviations_are_refused():
    with pytest.raises(ShapeError, match="frequencies"):
        render(torch.zeros(3))
    with pytest.raises(ShapeError, match="salience"):
        best_pitch(torch.zeros(1, 100, 3))
    with pytest.raises(ShapeError, match="salience"):
        pitches(torch.zeros(BINS, 3))
    with pytest.raises(ShapeError, match="starts"):
        render_notes(torch.zeros(2), torch.zeros(2), torch.ones(3), torch.zeros(1))
    with pytest.raises(ValueError, match="deviation"):
        render(torch.ones(1, 1), deviation_cents=0.0)
