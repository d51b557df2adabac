"""Several tracks over one loaded separator: the same estimates, in fewer calls, and each with its own trouble."""

import gc
import threading
import time
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mss_cli.separation.engine import Engine
from mss_cli.separation.settings import EngineSettings
from mss_cli.separation.shared import SharedSeparator, can_be_shared
from mss_cli.weights.store import Card
from mss_models.catalog import build
from separators import check_separator
from shared_separators import RATE, SEGMENT, Watched, network
from signals import music
from toys import Gains

CPU = torch.device("cpu")


def shared(inner, most=8):
    inner.prepare(CPU, "fp32")
    return SharedSeparator(inner, device=CPU, precision="fp32", most=most)


def together(separator, watched, mixtures):
    """Give mixtures from a thread each, the first while all others queue; estimates or exceptions in their order."""
    results = [None] * len(mixtures)

    def call(number):
        try:
            with torch.inference_mode():
                results[number] = separator.separate(mixtures[number])
        except BaseException as error:
            results[number] = error

    watched.gate.clear()
    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(mixtures))]
    for place, thread in enumerate(threads):
        thread.start()
        while len(watched.calls) + len(separator._waiting) < place + 1:
            time.sleep(0.001)
    watched.gate.set()
    for thread in threads:
        thread.join(60.0)
        assert not thread.is_alive()
    return results


def segments(count, samples=SEGMENT, *, seed=0, batch=1):
    generator = torch.Generator().manual_seed(seed)
    return [0.3 * torch.randn(batch, 2, samples, generator=generator) for _ in range(count)]


def assert_same(estimates, expected):
    assert estimates.shape == expected.shape
    torch.testing.assert_close(estimates, expected, rtol=0, atol=1e-6)


def test_a_shared_separator_is_a_separator():
    check_separator(shared(network()), samples=SEGMENT)


def test_calls_that_come_while_it_is_busy_are_computed_together_and_each_gets_its_own():
    watched = Watched(network())
    separator = shared(watched)
    mixtures = segments(6)
    expected = [watched.inner.separate(mixture) for mixture in mixtures]
    for estimates, right in zip(together(separator, watched, mixtures), expected, strict=True):
        assert_same(estimates, right)
    assert [shape[0] for shape in watched.calls] == [1, 5]


def test_nobody_waits_for_company():
    watched = Watched(network())
    separator = shared(watched)
    for mixture in segments(3):
        separator.separate(mixture)
    assert [shape[0] for shape in watched.calls] == [1, 1, 1]


def test_no_batch_of_several_calls_is_larger_than_allowed_and_only_equal_lengths_are_joined():
    watched = Watched(network())
    separator = shared(watched, most=4)
    mixtures = [*segments(1), *segments(2, 900), *segments(3, batch=2), *segments(1, 900), *segments(1, batch=7)]
    results = together(separator, watched, mixtures)
    for estimates, mixture in zip(results, mixtures, strict=True):
        assert_same(estimates, watched.inner.separate(mixture))
    assert [shape[0] for shape in watched.calls] == [1, 3, 4, 2, 7]


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=12),
    st.integers(1, 6),
)
def test_whoever_computes_everybody_gets_what_is_his(shapes, most):
    watched = Watched(Gains((0.5, 0.25)))
    separator = shared(watched, most=most)
    mixtures = [segments(1, samples, seed=seed, batch=batch)[0] for seed, (batch, samples) in enumerate(shapes)]
    for estimates, mixture in zip(together(separator, watched, mixtures), mixtures, strict=True):
        assert torch.equal(estimates, torch.stack([0.5 * mixture, 0.25 * mixture], dim=1))
    assert sum(shape[0] for shape in watched.calls) == sum(mixture.shape[0] for mixture in mixtures)


def no_room(mixture):
    return torch.OutOfMemoryError("no room") if mixture.shape[0] > 2 else None


def test_when_a_joint_batch_does_not_fit_its_calls_are_computed_one_by_one_and_later_batches_are_smaller():
    watched = Watched(network(), no_room)
    separator = shared(watched)
    for _ in range(2):
        mixtures = segments(5)
        for estimates, mixture in zip(together(separator, watched, mixtures), mixtures, strict=True):
            assert_same(estimates, watched.inner.separate(mixture))
    assert [shape[0] for shape in watched.calls] == [1, 4, 1, 1, 1, 1, 1, 2, 2]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no room"), ValueError("a bug")])
def test_only_the_call_that_is_at_fault_hears_of_it(error):
    watched = Watched(network(), lambda mixture: error if float(mixture.abs().max()) > 50 else None)
    separator = shared(watched)
    mixtures = segments(5)
    mixtures[3] *= 100
    results = together(separator, watched, mixtures)
    assert results[3] is error
    for number in (0, 1, 2, 4):
        assert_same(results[number], watched.inner.separate(mixtures[number]))
    assert_same(separator.separate(mixtures[0]), results[0])


def test_what_did_not_fit_has_given_its_room_back_when_the_next_one_is_computed():
    class Big:
        pass

    kept, seen = [], []

    def refuse(mixture):
        seen.append([reference() is not None for reference in kept])
        activations = Big()
        kept.append(weakref.ref(activations))
        return torch.OutOfMemoryError("no room") if float(mixture.abs().max()) > 50 else None

    watched = Watched(network(), refuse)
    separator = shared(watched)
    mixtures = segments(4)
    mixtures[1] *= 100
    gc.disable()
    try:
        results = together(separator, watched, mixtures)
        assert isinstance(results.pop(1), torch.OutOfMemoryError)
    finally:
        gc.enable()
    assert [len(row) for row in seen] == [0, 1, 2, 3, 4]
    assert not any(map(any, seen))


def test_a_thread_that_is_torn_away_leaves_the_others_whole():
    errors = [KeyboardInterrupt()]
    watched = Watched(network(), lambda mixture: errors.pop() if mixture.shape[0] == 4 and errors else None)
    separator = shared(watched)
    mixtures = segments(5)
    results = together(separator, watched, mixtures)
    torn = [number for number, result in enumerate(results) if isinstance(result, KeyboardInterrupt)]
    assert len(torn) == 1
    for number in {*range(5)} - {*torn}:
        assert_same(results[number], watched.inner.separate(mixtures[number]))


def test_it_is_moved_between_two_calls_and_merges_no_more_on_a_cpu():
    watched = Watched(network())
    separator = shared(watched)
    mixtures = segments(4)
    watched.gate.clear()
    callers = [threading.Thread(target=separator.separate, args=(mixture,)) for mixture in mixtures]
    for caller in callers:
        caller.start()
    mover = threading.Thread(target=separator.prepare, args=(CPU, "fp32"))
    mover.start()
    watched.gate.set()
    for thread in (*callers, mover):
        thread.join(60.0)
        assert not thread.is_alive()
    assert watched.prepared == [CPU, CPU]
    watched.calls.clear()
    together(separator, watched, mixtures)
    assert [shape[0] for shape in watched.calls] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("architecture", "configuration"),
    [
        ("bag", {"members": [{"architecture": "classical", "configuration": {}}]}),
        (
            "open-unmix",
            {
                "stems": ["vocals"], "sample_rate": RATE, "channels": 2, "n_fft": 512, "hop_length": 128,
                "heard_bins": 100, "hidden_size": 8, "residual": "other",
            },
        ),
    ],
)  # fmt: skip
def test_separators_that_are_more_than_segments_are_not_shared(architecture, configuration):
    separator = build(architecture, configuration)
    assert not can_be_shared(separator)
    with pytest.raises(ValueError, match="not shared"):
        shared(separator)


def engine(separator, device=CPU):
    card = Card("small", "subband-unet", {}, separator.stems, separator.sample_rate, "a test", "MIT")
    return Engine(separator, card, device, "fp32", threads=1, batch_size=1)


def estimates_of(engine, song, *, channels=2):
    """Separate (channel, sample); (stem, channel, sample)."""
    pairs = engine.estimate(lambda: iter([song]), EngineSettings(), sample_rate=RATE, channels=channels)
    mixtures, estimates = zip(*pairs, strict=True)
    assert np.array_equal(np.concatenate(mixtures, axis=-1), song)
    return np.concatenate(estimates, axis=-1)


def test_tracks_at_once_give_what_they_give_one_after_the_other():
    songs = [music(0.1 + 0.15 * seed, RATE, 2, seed).T.copy() for seed in range(5)]
    watched = Watched(network())
    watched.prepare(CPU, "fp32")
    alone = engine(watched)
    expected = [estimates_of(alone, song) for song in songs]
    single = len(watched.calls)
    watched.calls.clear()
    watched.gate.clear()
    found = {}
    threads = []
    for number, one in enumerate(engine(watched).shared(5)):

        def separate(number=number, one=one):
            found[number] = estimates_of(one, songs[number])

        threads.append(threading.Thread(target=separate))
        threads[-1].start()
    time.sleep(0.2)  # most are at the separator then; however many, the result is the same
    watched.gate.set()
    for thread in threads:
        thread.join(60.0)
    for number, right in enumerate(expected):
        assert np.abs(found[number] - right).max() <= 1e-6
    assert len(watched.calls) <= single


def test_an_engine_goes_on_where_another_has_moved_the_separator():
    made = network()
    first, second = engine(made, torch.device("cuda", 0)).shared(2)  # as it says; nothing was moved there
    first.separator.prepare(CPU, "fp32")
    estimates_of(second, music(0.2, RATE).T.copy())
    assert (second.device, second.batch_size) == (CPU, 1)


def test_one_track_at_a_time_needs_no_sharing():
    alone = engine(network())
    assert alone.shared(1) == (alone,)
