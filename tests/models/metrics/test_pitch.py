"""Pitch scores: known answers by hand, laws, parity with mir_eval."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mss_models.errors import ShapeError
from mss_models.metrics.pitch import PitchTrack, melody_scores, multi_pitch_scores, nearest_frames
from score_peers import mir_eval


def track(frequencies, hop=0.01, start=0.0):
    frequencies = torch.tensor(frequencies, dtype=torch.float64)
    return PitchTrack(times=start + hop * torch.arange(len(frequencies), dtype=torch.float64), frequencies=frequencies)


def cents_above(hz, cents):
    return hz * 2 ** (cents / 1200)


def test_melody_scores_by_hand():
    reference = track([220.0, 220.0, 220.0, 220.0, 0.0, 0.0, 220.0, 220.0])
    estimate = track([cents_above(220, 49), cents_above(220, 51), 440.0, -220.0, 0.0, 100.0, 0.0, 110.0])
    scores = melody_scores(reference, estimate)
    assert scores.raw_pitch_accuracy == 2 / 6  # the first, and the guess behind the unvoiced fourth
    assert scores.raw_chroma_accuracy == 4 / 6
    assert scores.overall_accuracy == 2 / 8  # the first, and the silence of the fifth
    assert scores.voicing_recall == 4 / 6
    assert scores.voicing_false_alarm == 1 / 2


def test_no_voiced_reference_scores_nothing_for_pitch():
    scores = melody_scores(track([0.0, -100.0]), track([0.0, 100.0]))
    assert (scores.raw_pitch_accuracy, scores.raw_chroma_accuracy, scores.overall_accuracy) == (0.0, 0.0, 0.5)


def test_fifty_cents_are_not_less_than_fifty():
    exactly = melody_scores(track([100.0]), track([150.0]), tolerance_cents=1200 * np.log2(1.5))
    assert exactly.raw_pitch_accuracy == 0.0


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_melody_scores_equal_mir_eval(data):
    pitches = st.one_of(st.just(0.0), st.floats(50, 1000), st.floats(-1000, -50), st.just(220.0), st.just(441.0))
    hops = st.sampled_from([0.01, 0.0058, 0.0125])
    starts = st.sampled_from([0.0, 0.003])
    reference, estimate = (
        track(data.draw(st.lists(pitches, min_size=2, max_size=25)), data.draw(hops), data.draw(starts)) for _ in "ab"
    )
    scores = melody_scores(reference, estimate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = mir_eval("melody").evaluate(
            reference.times.numpy(), reference.frequencies.numpy(), estimate.times.numpy(), estimate.frequencies.numpy()
        )
    assert scores.raw_pitch_accuracy == pytest.approx(expected["Raw Pitch Accuracy"], abs=1e-12)
    assert scores.raw_chroma_accuracy == pytest.approx(expected["Raw Chroma Accuracy"], abs=1e-12)
    assert scores.overall_accuracy == pytest.approx(expected["Overall Accuracy"], abs=1e-12)
    assert scores.voicing_recall == pytest.approx(expected["Voicing Recall"], abs=1e-12)
    assert scores.voicing_false_alarm == pytest.approx(expected["Voicing False Alarm"], abs=1e-12)


def pitches(*frames):
    return [torch.tensor(frame, dtype=torch.float64) for frame in frames]


def test_multi_pitch_scores_by_hand():
    reference = pitches([220.0, 330.0], [440.0], [])
    estimate = pitches([221.0, 500.0, 600.0], [440.0], [100.0])
    scores = multi_pitch_scores(reference, estimate)
    assert (scores.precision, scores.recall, scores.accuracy) == (2 / 5, 2 / 3, 2 / 6)


def test_one_reference_pitch_serves_one_estimate_only():
    scores = multi_pitch_scores(pitches([440.0]), pitches([438.0, 442.0]))
    assert (scores.precision, scores.recall) == (0.5, 1.0)


def test_the_matching_is_the_largest():
    # 69.0 and 69.4 against 69.3 and 68.8: nearest first would pair 69.4-69.3 and leave 69.0-68.8, both fit.
    midi = [440 * 2 ** ((m - 69) / 12) for m in (69.0, 69.4, 69.3, 68.8)]
    assert multi_pitch_scores(pitches(midi[:2]), pitches(midi[2:])).recall == 1.0


def test_silence_everywhere_is_no_division_by_zero():
    scores = multi_pitch_scores(pitches([]), pitches([]))
    assert (scores.precision, scores.recall, scores.accuracy) == (0.0, 0.0, 0.0)


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_multi_pitch_scores_equal_mir_eval(seed):
    random = np.random.default_rng(seed)
    frames = 12
    reference, estimate = (
        [np.sort(220 * 2 ** (random.uniform(0, 5, random.integers(0, 5)) / 12)) for _ in range(frames)] for _ in "ab"
    )
    times = np.arange(frames) * 0.01
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = mir_eval("multipitch").metrics(times, reference, times, estimate)
    actual = multi_pitch_scores([torch.from_numpy(f) for f in reference], [torch.from_numpy(f) for f in estimate])
    assert (actual.precision, actual.recall, actual.accuracy) == pytest.approx(expected[:3], abs=1e-12)


def test_nearest_frames_are_those_of_mir_eval():
    random = np.random.default_rng(0)
    frames = [np.array([100.0 + i]) for i in range(20)]
    times, new_times = np.arange(20) * 0.01, np.sort(random.uniform(-0.02, 0.22, 50))
    expected = mir_eval("multipitch").resample_multipitch(times, frames, new_times)
    actual = nearest_frames([torch.from_numpy(f) for f in frames], torch.from_numpy(times), torch.from_numpy(new_times))
    assert [a.tolist() for a in actual] == [e.tolist() for e in expected]


def test_wrong_arguments_are_named():
    with pytest.raises(ShapeError, match="estimate"):
        melody_scores(track([1.0]), PitchTrack(torch.zeros(2), torch.zeros(3)))
    with pytest.raises(ValueError, match="rise"):
        melody_scores(PitchTrack(torch.tensor([1.0, 0.5]), torch.zeros(2)), track([1.0]))
    with pytest.raises(ValueError, match="frames"):
        multi_pitch_scores(pitches([]), pitches([], []))
    with pytest.raises(ValueError, match="positive"):
        multi_pitch_scores(pitches([0.0]), pitches([1.0]))
