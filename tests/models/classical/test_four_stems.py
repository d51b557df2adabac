"""The weight-free separator: its laws, sounds whose stem is obvious, and the one real song at hand."""

from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mss_models.classical.cue_weights import CUE_WEIGHTS
from mss_models.classical.cues import CUE_NAMES
from mss_models.classical.four_stems import ClassicalSeparator, ClassicalSettings
from mss_models.errors import ShapeError
from separators import check_separator

RATE = 44100
VOCALS, DRUMS, BASS, OTHER = range(4)


def tone(frequency, seconds=4.0, vibrato=0.0):
    """A tone; `vibrato` is the largest deviation in semitones, six times a second."""
    time = torch.arange(round(seconds * RATE)) / RATE
    wobble = vibrato / 12 * np.log(2) * frequency / 6 * torch.sin(2 * torch.pi * 6 * time)
    return torch.sin(2 * torch.pi * frequency * time + wobble)


def clicks(seconds=4.0):
    """Decaying bursts of noise twice a second."""
    time = torch.arange(round(seconds * RATE)) / RATE
    return torch.randn(len(time), generator=torch.Generator().manual_seed(0)) * torch.exp(-(time % 0.5) / 0.01)


def centred(signal):
    return torch.stack([signal, signal])[None]  # (batch, channel, sample)


def shares(estimates, part):
    """How much of a part of the mixture each stem holds: its projection on the part."""
    return (estimates * part.unsqueeze(1)).sum(dim=(0, 2, 3)) / part.square().sum()


def song():
    chord = sum(tone(frequency) for frequency in (220.0, 277.2, 329.6))
    mixture = centred(tone(55.0) + clicks() + tone(440.0, vibrato=0.5))
    mixture[:, 0] += 0.5 * chord
    return 0.1 * mixture


def test_obeys_the_laws_of_every_separator():
    check_separator(ClassicalSeparator(), samples=RATE)


def test_the_weights_belong_to_the_cues():
    assert tuple(name for name, _ in CUE_WEIGHTS) == CUE_NAMES


@pytest.mark.parametrize("gain", [1.0, 1e-6, 1e6])
def test_the_stems_sum_to_the_mixture(gain):
    mixture = gain * song()
    total = ClassicalSeparator().separate(mixture).sum(dim=1)
    assert_close(total, mixture, rtol=0, atol=1e-5 * gain * 0.4)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 9000), st.integers(0, 2**16), st.sampled_from([0.0, 1e-30, 1e-3, 1.0, 1e15]))
def test_any_short_input_gives_finite_stems_that_sum_to_it(samples, seed, level):
    mixture = level * torch.randn(1, 2, samples, generator=torch.Generator().manual_seed(seed))
    estimates = ClassicalSeparator().separate(mixture)
    assert torch.isfinite(estimates).all()
    assert_close(estimates.sum(dim=1), mixture, rtol=0, atol=1e-5 * max(mixture.abs().max().item(), 1e-30))


def test_the_level_does_not_change_the_separation():
    separator = ClassicalSeparator()
    quiet, loud = separator.separate(2.0**-12 * song()), separator.separate(song())
    assert_close(2.0**12 * quiet, loud, rtol=0, atol=1e-5)


def test_exchanged_channels_give_exchanged_stems():
    separator = ClassicalSeparator()
    assert_close(separator.separate(song().flip(1)).flip(2), separator.separate(song()), rtol=0, atol=1e-5)


def test_items_of_a_batch_do_not_know_of_each_other():
    separator = ClassicalSeparator()
    first, second = song()[..., :RATE], centred(clicks(1.0))
    both = separator.separate(torch.cat([first, second]))
    assert torch.equal(both[:1], separator.separate(first))
    assert torch.equal(both[1:], separator.separate(second))


def test_without_a_position_the_other_cues_still_tell_bass_from_drums():
    bass, hits = centred(tone(55.0)), centred(clicks())
    mono = song().mean(dim=1, keepdim=True).expand(1, 2, -1).contiguous()
    estimates = ClassicalSeparator().separate(mono)
    assert_close(estimates[:, :, 0], estimates[:, :, 1], rtol=0, atol=1e-6)
    assert shares(estimates, bass).argmax() == BASS
    assert shares(estimates, hits).argmax() == DRUMS


def test_a_low_steady_tone_is_bass():
    part = centred(tone(80.0))
    found = shares(ClassicalSeparator().separate(part), part)
    assert found[BASS] > 0.5
    assert found.argmax() == BASS


def test_a_train_of_clicks_is_drums():
    part = centred(clicks())
    found = shares(ClassicalSeparator().separate(part), part)
    assert found[DRUMS] > 0.5
    assert found.argmax() == DRUMS


def test_a_wavering_tone_in_the_centre_is_more_vocal_than_steady_tones_at_the_sides():
    voice = centred(tone(600.0, vibrato=0.7))
    sides = torch.stack([tone(350.0) + tone(700.0), tone(440.0) + tone(880.0)])[None]
    estimates = ClassicalSeparator().separate(voice + 0.5 * sides)
    assert shares(estimates, voice)[VOCALS] > 2 * shares(estimates, sides)[VOCALS]


@pytest.mark.parametrize("shape", [(2, 100), (1, 1, 100), (1, 2, 0)])
def test_other_axes_are_refused(shape):
    with pytest.raises(ShapeError, match="mixture"):
        ClassicalSeparator().separate(torch.zeros(shape))


def test_reduced_precision_is_refused():
    with pytest.raises(ValueError, match="fp32"):
        ClassicalSeparator().prepare(torch.device("cpu"), "bf16")


@pytest.mark.parametrize("seconds", [0.0, -1.0, 61.0])
def test_a_segment_without_length_or_beyond_a_minute_is_refused(seconds):
    with pytest.raises(ValueError, match="segment_seconds"):
        ClassicalSettings(segment_seconds=seconds)


def real_song():
    """Mixture and references (stem, channel, sample) of the excerpt that stempeg ships, found without importing it."""
    try:  # by its distribution: other tests put a stand-in in the place of the module
        files = distribution("stempeg").files or []
    except PackageNotFoundError:
        files = []
    songs = [file for file in files if file.name.endswith(".stem.mp4")]
    if not songs:
        pytest.skip("the package stempeg with its song excerpt is not installed")
    import av

    streams = []
    for number in range(5):
        with av.open(str(songs[0].locate())) as container:
            frames = [frame.to_ndarray() for frame in container.decode(container.streams.audio[number])]
        streams.append(torch.from_numpy(np.concatenate(frames, axis=1)).float())
    mixture, drums, bass, other, vocals = streams
    return mixture, torch.stack([vocals, drums, bass, other])


def test_every_stem_of_a_real_song_is_above_the_best_constant_gain():
    mixture, references = real_song()
    estimates = ClassicalSeparator().separate(mixture[None])[0]
    energy = references.square().sum(dim=(1, 2))
    gain = (references * mixture).sum(dim=(1, 2), keepdim=True) / mixture.square().sum()
    floor, error = ((references - e).square().sum(dim=(1, 2)) for e in (gain * mixture, estimates))
    above_db = 10 * torch.log10(energy / error) - 10 * torch.log10(energy / floor)
    assert (above_db > 0).all(), above_db
    assert above_db.mean() > 0.6
