import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mss_models.errors import ShapeError
from mss_models.streaming import PerChannel, Scale, Stream, StreamSettings, measure_scale, stream
from toys import Forgetful, Gains, SegmentNumber

CPU = torch.device("cpu")


def noise(samples, channels=2, seed=0):
    return torch.randn(channels, samples, generator=torch.Generator().manual_seed(seed))


def cut(track, sizes):
    """Cut a track into blocks of the given sizes, round and round."""
    start, index = 0, 0
    while start < track.shape[-1]:
        size = sizes[index % len(sizes)]
        yield track[:, start : start + size]
        start, index = start + size, index + 1


def run(separator, track, stream_settings, sizes=(700,)):
    return torch.cat(list(stream(separator, cut(track, sizes), stream_settings, device=CPU)), dim=-1)


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(1, 3000),
    segment=st.integers(1, 900),
    overlap=st.floats(0, 0.9),
    batch=st.integers(1, 4),
    shifts=st.integers(0, 3),
    sizes=st.lists(st.integers(1, 800), min_size=1, max_size=4),
)
def test_a_separator_without_memory_is_reproduced_at_every_length(samples, segment, overlap, batch, shifts, sizes):
    separator = Gains(sample_rate=100)
    track = noise(samples)
    chosen = StreamSettings(segment, overlap=overlap, batch_size=batch, shifts=shifts)
    estimates = run(separator, track, chosen, sizes)
    expected = torch.stack([track * gain for gain in separator.gains])
    assert estimates.shape == expected.shape
    torch.testing.assert_close(estimates, expected, atol=2e-6, rtol=0)


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 999), min_size=1, max_size=5), batch=st.integers(1, 3))
def test_the_same_bytes_come_out_however_the_input_is_cut(sizes, batch):
    track = noise(5000)
    chosen = StreamSettings(800, batch_size=batch)
    whole = run(SegmentNumber(), track, chosen, (5000,))
    assert torch.equal(run(SegmentNumber(), track, chosen, sizes), whole)


def test_neighbouring_segments_fade_into_each_other_linearly():
    estimates = run(SegmentNumber(), noise(175), StreamSettings(100, overlap=0.25))
    assert torch.equal(estimates[0, 0, :75], torch.ones(75))
    assert torch.equal(estimates[0, 0, 100:], torch.full((75,), 2.0))
    steps = estimates[0, 0, 75:100].diff()
    torch.testing.assert_close(steps, torch.full((24,), 1 / 26), atol=1e-6, rtol=0)


def test_segments_are_as_long_as_asked_and_the_last_ends_with_the_track():
    separator = Gains()
    run(separator, noise(2400), StreamSettings(1000, overlap=0.25))
    assert separator.calls == [(1, 2, 1000), (1, 2, 1000), (1, 2, 900)]


def test_a_track_shorter_than_a_segment_is_one_call_of_its_length():
    separator = Gains()
    run(separator, noise(10), StreamSettings(1000))
    assert separator.calls == [(1, 2, 10)]


def test_whole_batches_are_filled():
    separator = Gains()
    run(separator, noise(4000), StreamSettings(1000, overlap=0.0, batch_size=2))
    assert separator.calls == [(2, 2, 1000), (2, 2, 1000)]


def test_shifts_move_the_segments_and_are_seeded():
    track = noise(4000)

    def shifted(seed):
        return run(SegmentNumber(sample_rate=400), track, StreamSettings(500, shifts=2, seed=seed))

    assert torch.equal(shifted(1), shifted(1))
    assert not torch.equal(shifted(1), shifted(2))


def test_the_window_of_an_endless_track_does_not_grow():
    separator = Gains()
    track = Stream(separator, StreamSettings(1000), device=CPU)
    waiting = []
    received = given = 0
    for _ in range(50):
        received += 700
        given += track.push(noise(700)).shape[-1]
        waiting.append(received - given)
    assert max(waiting) <= 1000 + 700


def test_a_batch_that_does_not_fit_is_halved_until_it_does():
    told = []
    separator = Forgetful(room=2)
    track = noise(8000)
    chosen = StreamSettings(1000, overlap=0.0, batch_size=8)
    running = Stream(separator, chosen, device=CPU, on_smaller_batch=told.append)
    estimates = torch.cat([running.push(track), running.finish()], dim=-1)
    assert told == [4, 2]
    torch.testing.assert_close(estimates[0], track * 0.5, atol=1e-6, rtol=0)


def test_no_room_for_one_segment_is_told_to_the_caller():
    with pytest.raises(torch.OutOfMemoryError):
        run(Forgetful(room=0), noise(3000), StreamSettings(1000))


def test_a_block_with_other_channels_is_refused():
    with pytest.raises(ShapeError, match=r"block: expected axes \(2 channels, sample\), got shape \(1, 10\)"):
        Stream(Gains(), StreamSettings(1000), device=CPU).push(noise(10, channels=1))


@pytest.mark.parametrize(
    "wrong", [{"segment_samples": 0}, {"segment_samples": 1, "overlap": 1.0}, {"segment_samples": 1, "shifts": -1}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="must be at least"):
        StreamSettings(**wrong)


def test_the_deviation_of_a_track_is_measured_as_torch_measures_it():
    track = noise(10_000) * 0.3 + 0.1
    scale = measure_scale("deviation", cut(track, (137, 4001)))
    mono = track.double().mean(dim=0)
    assert scale.offset == pytest.approx(float(mono.mean()), abs=1e-12)
    assert scale.factor == pytest.approx(float(mono.std()), abs=2e-8)


def test_the_peak_of_a_track_is_its_largest_sample():
    track = torch.tensor([[0.1, -0.7, 0.2], [0.0, 0.3, 0.69]])
    assert measure_scale("peak", cut(track, (1,))).factor == pytest.approx(0.7, abs=1e-7)


@pytest.mark.parametrize("normalization", ["deviation", "peak"])
def test_a_silent_track_stays_finite_and_silent_when_scaled(normalization):
    silence = torch.zeros(2, 500)
    scale = measure_scale(normalization, [silence])
    running = Stream(Gains(), StreamSettings(100), device=CPU, scale=scale)
    estimates = torch.cat([running.push(silence), running.finish()], dim=-1)
    assert torch.equal(estimates, torch.zeros(4, 2, 500))


def test_what_the_separator_sees_is_scaled_and_its_estimates_are_scaled_back():
    class Clipper(Gains):
        def separate(self, mixture):
            assert float(mixture.abs().max()) <= 1.0
            return super().separate(mixture)

    track = noise(3000) * 50
    running = Stream(Clipper(), StreamSettings(500), device=CPU, scale=Scale(factor=float(track.abs().max()) + 1e-3))
    estimates = torch.cat([running.push(track), running.finish()], dim=-1)
    torch.testing.assert_close(estimates[0], track * 0.5, atol=1e-4, rtol=0)  # of a peak of about 200


def test_a_mono_separator_takes_stereo_channel_by_channel():
    mono = Gains(channels=1)
    both = PerChannel(mono, 2)
    mixture = noise(400)[None]
    estimates = both.separate(mixture)
    assert estimates.shape == (1, 4, 2, 400)
    assert torch.equal(estimates[:, 1], mixture * 0.25)
    assert mono.calls == [(2, 1, 400)]
