import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mss_cli.datasets.player.coding import CODERS, coded
from mss_cli.datasets.player.contours import follow
from mss_cli.datasets.player.grains import cut, draw_formants, shifted, sung_again
from mss_cli.datasets.player.harmony import Key
from mss_cli.datasets.player.pack import open_pack
from mss_cli.datasets.player.phrases import along, snapped
from mss_cli.datasets.player.pitch import HOP_SAMPLES
from mss_cli.datasets.player.song import SongStyle, play_song
from mss_cli.datasets.player.syllables import syllables_of
from mss_cli.datasets.player.treble import with_treble
from mss_cli.datasets.player.voice_effects import chorused, distorted, telephoned
from sample_packs import RATE, speech_like, voice_like, vowel, write_speech_pack

SUNG = SongStyle(vocals="sung-notes", production=False, rests=False, absent=0.0, harmonies=False)


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return open_pack(write_speech_pack(tmp_path_factory.mktemp("speech")))


def cents_between(sound, hertz):
    """Measure the pitch near `hertz` by the highest peak of the autocorrelation; give its distance."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(sound.size), 4 * sound.size)) ** 2
    alike = np.fft.irfft(spectrum)[: sound.size]
    low, high = int(RATE / hertz / 1.45), int(RATE / hertz * 1.45)
    at = low + int(np.argmax(alike[low:high]))
    a, b, c = alike[at - 1 : at + 2]
    return 1200 * np.log2(RATE / (at + 0.5 * (a - c) / (a - 2 * b + c)) / hertz)


def third_formant(sound):
    """Find the peak above 1.6 kHz of the spectrum, smoothed over the harmonics by its cepstrum."""
    magnitudes = np.abs(np.fft.rfft(sound[RATE // 2 :][:16384] * np.hanning(16384)))
    # The valleys between harmonics are filled, else their depth would rule the logarithm.
    cepstrum = np.fft.irfft(np.log(magnitudes + 3e-3 * magnitudes.max()))
    cepstrum[70:-70] = 0
    smooth = np.fft.rfft(cepstrum).real
    hertz = np.arange(smooth.size) * RATE / 16384
    inside = (hertz > 1700) & (hertz < 4000)
    rising = inside & (smooth > np.roll(smooth, 1)) & (smooth > np.roll(smooth, -1))
    return float(hertz[np.flatnonzero(rising)[np.argmax(smooth[rising])]])


@pytest.mark.parametrize("hertz", [110.0, 180.0, 261.0])
@pytest.mark.parametrize("formants", [0.8, 1.0, 1.25])
def test_formants_move_and_the_pitch_does_not(hertz, formants):
    sound = vowel(hertz, 1.5)
    out = shifted(sound[None], follow(sound), semitones=0, formants=formants)[0]
    assert abs(cents_between(out[20000:50000], hertz)) < 3
    assert abs(third_formant(out) / 2600 / formants - 1) < 0.06


@pytest.mark.parametrize("semitones", [-9, -4, 3, 7])
def test_the_pitch_moves_and_formants_do_not(semitones):
    sound = vowel(180.0, 1.5)
    out = shifted(sound[None], follow(sound), semitones=semitones, formants=1.0)[0]
    assert abs(cents_between(out[20000:50000], 180 * 2 ** (semitones / 12))) < 3
    assert abs(third_formant(out) / 2600 - 1) < 0.06


@pytest.mark.parametrize("ratio", [0.6, 1.0, 2.5])
def test_a_voice_is_made_longer_at_the_same_pitch(ratio):
    sound = vowel(150.0, 1.0)
    out = shifted(sound[None], follow(sound), semitones=0, formants=1.0, ratio=ratio)
    assert abs(out.shape[1] - ratio * RATE) <= HOP_SAMPLES
    assert abs(cents_between(out[0, 8000:-8000], 150)) < 3


def test_consonants_stay_noise():
    noise = np.random.default_rng(3).standard_normal(RATE).astype(np.float32) * 0.1
    contour = follow(noise)
    assert contour.voiced.mean() < 0.1
    out = shifted(noise[None], contour, semitones=7, formants=1.2)[0]
    flat = np.abs(np.fft.rfft(out[2000:-2000])) ** 2
    parts = [part.mean() for part in np.array_split(flat[500:], 8)]
    assert max(parts) < 6 * min(parts)


@settings(max_examples=25, deadline=None)
@given(
    seconds=st.floats(0.0, 0.4),
    formants=st.floats(0.8, 1.25),
    frames=st.integers(0, 60),
    hertz=st.floats(60, 900),
)
def test_any_voice_is_sung_again_finite_and_in_the_length_asked(seconds, formants, frames, hertz):
    sound = voice_like(140, max(seconds, 64 / RATE))
    grains = cut(sound, follow(sound), formants=formants)
    times = np.linspace(0, sound.size, frames)
    out = sung_again(grains, times=times, hertz=np.full(frames, hertz))
    assert out.size == max(frames * HOP_SAMPLES, 64) or out.size == frames * HOP_SAMPLES
    assert np.isfinite(out).all()


def test_formants_out_of_range_are_refused():
    sound = vowel(150.0, 0.2)
    with pytest.raises(ValueError, match="formants must be between"):
        cut(sound, follow(sound), formants=3.0)


def test_drawn_formants_stay_within_a_fifth_or_a_quarter():
    random = np.random.default_rng(0)
    drawn = [draw_formants(random, semitones=semitones) for semitones in (-12, 0, 12) for _ in range(200)]
    assert 0.8 <= min(drawn) < 0.85
    assert 1.2 < max(drawn) <= 1.25


def test_the_syllables_of_speech_are_counted():
    found = syllables_of(follow(speech_like(5, 120.0, syllables=10)))
    assert len(found) == 10
    assert all(one.start <= one.onset < one.release <= one.end for one in found)


@pytest.mark.parametrize("seed", range(4))
def test_notes_sung_from_speech_are_at_their_labelled_pitch(pack, seed):
    song = play_song(pack, seed=seed, seconds=12, style=SUNG)
    vocals, cents = song.stems[0].mean(axis=0), []
    for number, note in enumerate(song.notes):
        after = song.notes[number + 1].start if number + 1 < len(song.notes) else 12.0
        end = min(note.end, after - 0.06)  # the consonant of the next note comes before its beat
        if end - note.start > 0.06:
            part = vocals[round(note.start * RATE) : round(end * RATE)]
            cents.append(abs(cents_between(part, note.frequency)))
    assert len(cents) >= 5
    assert np.median(cents) < 8
    assert np.mean(np.array(cents) < 30) > 0.95


def test_every_manner_of_speech_plays_and_is_finite(pack):
    songs = [play_song(pack, seed=seed, seconds=3) for seed in range(14)]
    assert all(np.isfinite(song.stems).all() for song in songs)
    manners = {song.description.split("voice: ")[1].split()[0] for song in songs}
    assert {"sung-speech", "rap"} <= manners


def test_songs_of_speech_are_equal_bit_for_bit(tmp_path, pack):
    first = play_song(pack, seed=3, seconds=4, style=SongStyle(vocals="sung-notes"))
    second = play_song(open_pack(write_speech_pack(tmp_path)), seed=3, seconds=4, style=SongStyle(vocals="sung-notes"))
    np.testing.assert_array_equal(first.stems, second.stems)
    assert first.notes == second.notes


def test_a_corrected_pitch_is_a_note_of_the_key():
    glide = 440 * 2 ** (np.linspace(-12, 12, 800) / 12)
    midi = 69 + 12 * np.log2(snapped(glide, Key(0, "major"), seconds=0.001) / 440)
    np.testing.assert_allclose(midi, np.round(midi), atol=1e-6)
    assert {round(note) % 12 for note in midi.tolist()} == {0, 2, 4, 5, 7, 9, 11}


def test_a_second_voice_is_a_third_of_the_key_above():
    held = np.full(100, 440 * 2 ** ((60 - 69) / 12))
    # C goes to E in C major, to E flat in C minor.
    for mode, semitones in (("major", 4), ("minor", 3)):
        np.testing.assert_allclose(along(held, Key(0, mode), degrees=2), held * 2 ** (semitones / 12))


@pytest.mark.parametrize("samples", [2000, 5000, 44100, 70001])
@pytest.mark.parametrize("bits", [48_000, 128_000])
@pytest.mark.parametrize("coder", CODERS)
def test_a_coded_stem_lies_sample_on_sample(coder, bits, samples):
    random = np.random.default_rng(1)
    tone = voice_like(220, samples / RATE)
    track = (np.stack((tone, 0.5 * tone)) + 0.02 * random.standard_normal((2, samples))).astype(np.float32)
    out = coded(track, coder=coder, bits_per_second=bits)
    assert out.shape == track.shape
    spectrum = np.fft.rfft(track[0], 2 * samples) * np.conj(np.fft.rfft(out[0], 2 * samples))
    assert int(np.argmax(np.fft.irfft(spectrum, 2 * samples))) == 0
    error = np.square(out - track).sum() / np.square(track).sum()
    assert 1e-6 < error < 0.2


@pytest.mark.parametrize("coder", CODERS)
def test_silence_is_coded_to_silence_and_equal_sounds_to_equal_ones(coder):
    assert not coded(np.zeros((2, 5000), dtype=np.float32), coder=coder, bits_per_second=64_000).any()
    track = np.stack([voice_like(300, 0.2)] * 2)
    first, second = (coded(track, coder=coder, bits_per_second=64_000) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_bit_rate_out_of_range_is_refused():
    with pytest.raises(ValueError, match="bits_per_second must be between"):
        coded(np.ones((2, 100), dtype=np.float32), coder="aac", bits_per_second=8000)


def test_treble_is_added_above_the_edge_while_there_are_consonants_and_nowhere_else():
    random = np.random.default_rng(2)
    spectrum = np.fft.rfft(random.standard_normal(2 * RATE))
    spectrum[16000:] = 0  # above 8 kHz
    dull = np.fft.irfft(spectrum).astype(np.float32)
    dull[RATE:] = 0
    track = np.stack((dull, dull))
    out = with_treble(track, random, above_hz=8000)
    added = np.abs(np.fft.rfft(out[0, :RATE] - track[0, :RATE])) ** 2
    assert added[:7000].sum() < 1e-3 * added.sum()
    assert added[8200:12000].mean() > 0.02 * np.mean(np.abs(np.fft.rfft(dull[:RATE])[6000:7500]) ** 2)
    assert np.abs(out[:, RATE + 2000 :]).max() < 1e-5
    np.testing.assert_allclose(out[0], out[1])


@pytest.mark.parametrize("effect", ["distorted", "telephoned", "chorused"])
def test_effects_are_finite_keep_the_length_and_leave_silence(effect):
    def play(track):
        random = np.random.default_rng(0)
        if effect == "distorted":
            return distorted(track, drive=9.0, share=0.8)
        return telephoned(track, random) if effect == "telephoned" else chorused(track, random, share=0.5)

    loud = torch.from_numpy(voice_like(200, 0.5)).repeat(2, 1)
    out = play(loud)
    assert out.shape == loud.shape
    assert out.isfinite().all()
    assert (out - loud).abs().max() > 0.01
    assert not play(torch.zeros_like(loud)).any()
