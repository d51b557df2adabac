"""Tracks through separators as a whole: full last segments, ensembles, separators that hear everything first."""

import importlib.util
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mss_models.catalog import build
from mss_models.networks.bag import Bag
from mss_models.networks.demucs.published import published_hybrid
from mss_models.networks.demucs.separator import HybridDemucsSeparator
from mss_models.networks.open_unmix.separator import OpenUnmixSeparator, OpenUnmixSettings
from mss_models.presets import SHIPPED
from mss_models.stft import StftSettings
from mss_models.streaming import PerChannel, StreamSettings, stream
from mss_models.tracks import TrackInput, TrackSettings, begin_track, segment_seconds, store_bytes_per_second
from open_unmix_peer import randomize
from toys import Gains

CPU = torch.device("cpu")
OWN = TrackSettings()
FORMULA = Path(__file__).parents[2].parent / "shared" / "checkpoints" / "formula-weights"
needs_formula = pytest.mark.skipif(not FORMULA.exists(), reason="no shared/checkpoints/formula-weights")


class FullSegments(Gains):
    """Wants whole segments, and keeps what it was given."""

    fills_segments = True

    def separate(self, mixture):
        self.calls.append(mixture.clone())
        return super().separate(mixture)


def noise(samples, channels=2):
    return torch.randn(channels, samples, generator=torch.Generator().manual_seed(1))


def whole(separator, mixture, chosen=OWN, block=700):
    def blocks():
        return iter(mixture.split(block, dim=-1))

    track = begin_track(separator, TrackInput(blocks, device=CPU), chosen)
    parts = [track.push(part) for part in blocks()]
    return torch.cat([*parts, track.finish()], dim=-1)


def open_unmix(channels=2, stems=("vocals", "drums"), **changes):
    torch.manual_seed(0)
    chosen = OpenUnmixSettings(stems, 8000, channels, StftSettings(128, 32), 40, hidden_size=12, **changes)
    made = OpenUnmixSeparator(chosen).eval()
    for place, network in enumerate(made.members):
        randomize(network, place)
    made.prepare(CPU, "fp32")
    return made


@settings(max_examples=50, deadline=None)
@given(
    samples=st.integers(1, 3000),
    segment=st.integers(1, 900),
    overlap=st.floats(0, 0.7),
    batch=st.integers(1, 3),
    shifts=st.integers(0, 2),
)
def test_full_segments_are_reproduced_at_every_length(samples, segment, overlap, batch, shifts):
    separator = FullSegments(sample_rate=100)
    mixture = noise(samples)
    chosen = StreamSettings(segment, overlap=overlap, batch_size=batch, shifts=shifts)
    estimates = torch.cat(list(stream(separator, mixture.split(311, dim=-1), chosen, device=CPU)), dim=-1)
    assert_close(estimates, torch.stack([mixture * gain for gain in separator.gains]), atol=2e-6, rtol=0)


@given(samples=st.integers(1, 500), batch=st.integers(1, 3), block=st.integers(1, 300))
@settings(max_examples=50, deadline=None)
def test_the_last_segments_stand_between_what_was_before_them_and_silence(samples, batch, block):
    separator, segment, hop = FullSegments(), 100, 75
    mixture = noise(samples)
    list(stream(separator, mixture.split(block, dim=-1), StreamSettings(segment, batch_size=batch), device=CPU))
    heard = list(itertools.chain.from_iterable(calls for calls in separator.calls[::2]))
    padded = torch.nn.functional.pad(mixture, (segment, segment))
    for start, piece in zip(range(0, samples, hop), heard, strict=True):
        first = start - (segment - min(segment, samples - start)) // 2
        assert torch.equal(piece, padded[:, segment + first : 2 * segment + first])


def song():
    signal, _ = soundfile.read(FORMULA / "input_3s.flac", dtype="float32")
    return torch.from_numpy(signal.T.copy())


def tiny_htdemucs():
    from safetensors import safe_open

    with safe_open(FORMULA / "tiny_htdemucs.safetensors", framework="pt") as file:
        said, state = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    made = HybridDemucsSeparator(published_hybrid(said["klass"], json.loads(said["args"]), json.loads(said["kwargs"])))
    made.load_state_dict(state)
    made.prepare(CPU, "fp32")
    return made


def unscaled(separator, mixture, chosen):
    """Without the normalisation, as `apply_model` of the package itself."""
    return torch.cat(
        list(stream(separator, mixture.split(10_000, dim=-1), chosen.segments_of(separator), device=CPU)), -1
    )


def check_answer(estimates, name, key, step):
    with np.load(FORMULA / name) as answers:
        answer = torch.from_numpy(answers[key]).float()
    assert_close(estimates[..., ::step], answer, rtol=0, atol=2e-5 * float(answer.abs().max()))


@needs_formula
def test_segments_are_joined_as_the_package_joins_them():
    estimates = unscaled(tiny_htdemucs(), song(), TrackSettings(segment_seconds=1.5))
    check_answer(estimates, "tiny_htdemucs_known.npz", "apply_3s_segment15", 8)


@needs_formula
def test_a_track_is_normalised_as_the_package_does():
    check_answer(whole(tiny_htdemucs(), song()), "tiny_htdemucs_known.npz", "normalised_3s", 8)


@needs_formula
@pytest.mark.slow
def test_the_published_size_joins_its_segments_as_the_package_does():
    spec = importlib.util.spec_from_file_location("formula", FORMULA / "formula.py")
    formula = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(formula)
    separator = build("hybrid-demucs", SHIPPED["htdemucs"].settings).eval()
    formula.fill(separator)
    separator.prepare(CPU, "fp32")
    estimates = unscaled(separator, song(), TrackSettings(segment_seconds=1.5))
    check_answer(estimates, "htdemucs_apply_3s_segment1.5.npz", "out_every_4th", 4)


@pytest.mark.parametrize("changes", [{}, {"bidirectional": False}, {"crossing": "average"}], ids=str)
def test_a_track_that_is_heard_as_a_whole_equals_the_separator_on_all_of_it(changes):
    made, mixture = open_unmix(**changes), noise(9001)
    expected = made.separate(mixture[None])[0]
    assert_close(whole(made, mixture), expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


def test_a_segment_length_asks_for_segments():
    made, mixture = open_unmix(), noise(9001)
    chosen = TrackSettings(segment_seconds=0.5)
    expected = torch.cat(list(stream(made, [mixture], StreamSettings(4000), device=CPU)), dim=-1)
    assert torch.equal(whole(made, mixture, chosen), expected)
    assert segment_seconds(made, chosen) == 0.5
    assert segment_seconds(made, TrackSettings()) is None


def test_a_mono_separator_hears_each_channel_as_a_whole():
    mono, mixture = open_unmix(channels=1), noise(5000)
    expected = torch.cat([mono.separate(mixture[None, :1])[0], mono.separate(mixture[None, 1:])[0]], dim=1)
    both = PerChannel(mono, 2)
    assert_close(whole(both, mixture), expected, rtol=0, atol=1e-6 * float(expected.abs().max()))
    assert store_bytes_per_second(both) == 2 * store_bytes_per_second(mono)


class Clipped(Gains):
    """Wants a mixture of deviation 1, which shows in what it gives."""

    normalization = "deviation"

    def __init__(self, **settings):
        super().__init__(gains=(1.0, 0.5), sample_rate=8000, **settings)
        self.normalization = "deviation"

    def separate(self, mixture):
        return super().separate(mixture.clamp(-1.0, 1.0))


def test_an_ensemble_is_the_mean_of_what_each_member_makes_of_the_track():
    members = [open_unmix(), Clipped(segment_samples=1700), Gains((0.3, 0.1), sample_rate=8000, segment_samples=900)]
    mixture = 7 * noise(20_000)
    expected = sum(whole(member, mixture) for member in members) / 3
    assert_close(whole(Bag(members), mixture), expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


def test_an_ensemble_weighs_by_stem_and_by_name():
    one, other = Gains((0.5, 0.25)), Gains((1.0, 2.0))
    other.stems = ("drums", "vocals")
    mixture = noise(3000)
    bag = Bag([one, other], [{"vocals": 3.0}, {"vocals": 1.0, "drums": 2.0}])
    assert_close(whole(bag, mixture), torch.stack([(3 * 0.5 + 2.0) / 4 * mixture, 1.0 * mixture]))


def test_an_ensemble_reads_the_track_once_for_each_kind_of_normalisation():
    readings = []

    def blocks():
        readings.append(1)
        return iter([noise(3000)])

    begin_track(
        Bag([Clipped(), Clipped(), Gains((1, 1), sample_rate=8000)]), TrackInput(blocks, device=CPU), TrackSettings()
    )
    assert len(readings) == 1


def test_members_that_want_different_normalisations_measure_a_lone_segment_for_themselves():
    bag, mixture = Bag([Clipped(), Gains((0.0, 0.0), sample_rate=8000)]), 5 * noise(900)
    assert bag.normalization == "none"
    assert_close(bag.separate(mixture[None])[0], whole(Clipped(), mixture) / 2)


def test_progress_of_a_track_heard_as_a_whole_rises_to_1():
    seen, mixture = [], noise(9000)
    track = TrackInput(lambda: mixture.split(1000, dim=-1), device=CPU, on_progress=seen.append)
    stream_ = begin_track(open_unmix(), track, TrackSettings())
    before = len(seen)
    for block in track.blocks():
        stream_.push(block)
    stream_.finish()
    assert before < len(seen)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1)
