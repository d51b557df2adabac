import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mss_cli.errors import WeightsError
from mss_cli.separation.scratch import Scratch
from mss_cli.separation.settings import EngineSettings
from toys import Gains, engine_of


def music(samples, channels, rate=44100):
    """Band-limited sound: a resampler may take nothing audible away from it."""
    time = np.arange(samples) / rate
    tones = [np.sin(2 * np.pi * frequency * time) for frequency in (110, 440, 1234)]
    return np.stack([(0.3 - 0.1 * channel) * sum(tones) for channel in range(channels)]).astype(np.float32)


def separate(engine, mixture, rate, block=4096):
    blocks = [mixture[:, start : start + block] for start in range(0, mixture.shape[1], block)]
    pairs = list(engine.estimate(lambda: iter(blocks), EngineSettings(), sample_rate=rate, channels=mixture.shape[0]))
    return (
        np.concatenate([mixture for mixture, _ in pairs], axis=-1),
        np.concatenate([estimates for _, estimates in pairs], axis=-1),
    )


@settings(max_examples=40, deadline=None)
@given(
    samples=st.integers(1, 9000),
    rate=st.sampled_from([8000, 11025, 22050, 44100, 48000, 96000, 192000]),
    channels=st.sampled_from([1, 2]),
    block=st.integers(1, 5000),
    model_channels=st.sampled_from([1, 2]),
)
def test_estimates_are_exactly_as_long_as_the_mixture_at_every_rate(samples, rate, channels, block, model_channels):
    mixture = music(samples, channels, rate)
    back, estimates = separate(engine_of(Gains(channels=model_channels)), mixture, rate, block)
    np.testing.assert_array_equal(back, mixture)
    assert estimates.shape == (4, channels, samples)
    assert np.isfinite(estimates).all()


@pytest.mark.parametrize("rate", [22050, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_estimates_at_another_rate_stay_aligned_with_the_mixture(rate, channels):
    mixture = music(30_000, channels, rate)
    _, estimates = separate(engine_of(Gains()), mixture, rate)
    middle = slice(2000, -2000)
    np.testing.assert_allclose(estimates[0][:, middle], mixture[:, middle] * 0.5, atol=2e-4)


def test_at_the_separators_own_rate_nothing_is_resampled():
    mixture = music(10_000, 2)
    _, estimates = separate(engine_of(Gains()), mixture, 44100)
    np.testing.assert_allclose(estimates[1], mixture * 0.25, atol=1e-6)


def test_a_separator_that_needs_the_deviation_sees_two_passes_of_the_source():
    passes = []
    separator = Gains()
    separator.normalization = "deviation"
    mixture = music(5000, 2) + np.float32(0.2)

    def source():
        passes.append(1)
        return iter([mixture])

    pairs = list(engine_of(separator).estimate(source, EngineSettings(), sample_rate=44100, channels=2))
    assert len(passes) == 2
    assert sum(estimates.shape[-1] for _, estimates in pairs) == 5000


def test_estimates_that_are_not_finite_never_leave():
    class Broken(Gains):
        def separate(self, mixture):
            return super().separate(mixture) * float("nan")

    with pytest.raises(WeightsError, match="samples that are not finite; try `--precision fp32`"):
        separate(engine_of(Broken()), music(3000, 2), 44100)


def test_a_failure_of_the_source_passes_through():
    def broken():
        yield music(100, 2)
        raise OSError("cut")

    with pytest.raises(OSError, match="cut"):
        list(engine_of(Gains()).estimate(broken, EngineSettings(), sample_rate=44100, channels=2))


@given(sizes=st.lists(st.integers(1, 50), max_size=8))
def test_scratch_gives_every_output_back(tmp_path_factory, sizes):
    random = np.random.default_rng(0)
    blocks = [random.standard_normal((3, 2, size)).astype(np.float32) for size in sizes]
    with Scratch(tmp_path_factory.getbasetemp(), outputs=3, channels=2) as scratch:
        for block in blocks:
            scratch.append(block)
        for output in range(3):
            for block, back in zip(blocks, scratch.blocks(output), strict=True):
                np.testing.assert_array_equal(back, block[output])


def test_scratch_leaves_no_file(tmp_path):
    with Scratch(tmp_path, outputs=1, channels=1) as scratch:
        scratch.append(np.zeros((1, 1, 10), np.float32))
    assert list(tmp_path.iterdir()) == []
