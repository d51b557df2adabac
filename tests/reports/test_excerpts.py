import base64
import io

import numpy as np
import pytest
import soundfile
from numpy.testing import assert_allclose
from PIL import Image

from mss_cli.audio.decode import decode
from mss_cli.audio.probe import probe
from mss_cli.errors import InputError
from mss_cli.reports.excerpts import Excerpt, peaks, prepare, spectrogram
from report_data import write_tone
from signals import write_music


def data(address):
    return base64.b64decode(address.partition(",")[2])


def heard(sound, folder):
    """Decode what a listener gets: (channel, sample)."""
    path = folder / "heard.mp3"
    path.write_bytes(data(sound.audio))
    return np.concatenate(list(decode(probe(path))), axis=1)


def test_peaks_are_the_extremes_of_equal_stretches():
    ramp = np.linspace(-1, 1, 4000, dtype=np.float32)
    found = peaks(np.stack([ramp, -ramp]))
    assert found.shape == (2000, 2)
    assert found[0].tolist() == [-127, 127]
    assert abs(found[1000]).max() <= 1


def test_peaks_beyond_full_scale_are_clipped():
    assert peaks(np.full((1, 5000), 3.0, np.float32)).tolist() == [[127, 127]] * 2000


def test_fewer_samples_than_peaks_repeat_them():
    assert set(peaks(np.array([[0.0, 1.0]], np.float32))[:, 1].tolist()) == {0, 127}


@pytest.mark.parametrize("frequency_hz", [100, 440, 1000, 9000])
def test_a_tone_is_brightest_in_its_band(frequency_hz):
    tone = np.sin(2 * np.pi * frequency_hz * np.arange(44100) / 44100, dtype=np.float64)[None].astype(np.float32)
    level = spectrogram(tone, 44100, highest_hz=22050)
    assert level.shape == (128, 720)
    edges = np.geomspace(40, 22050, 129)
    band = int(np.searchsorted(edges, frequency_hz)) - 1
    # Bands below about 400 Hz are narrower than a bin: the tone fills its neighbours too.
    assert abs(int(level.mean(axis=1).argmax()) - band) <= (3 if frequency_hz < 400 else 1)


def test_a_click_stands_in_its_column():
    click = np.zeros((1, 72000), np.float32)
    click[0, 36000] = 1.0
    assert abs(int(spectrogram(click, 44100, highest_hz=22050).sum(axis=0).argmax()) - 360) <= 1


def test_the_stretch_asked_for_is_heard(tmp_path):
    samples = np.zeros((44100 * 4, 2), np.float32)
    samples[44100 * 2 : 44100 * 3] = 0.25
    soundfile.write(tmp_path / "a.wav", samples, 44100)
    found = prepare(Excerpt("t", "vocals", 1.5, 2.0, {"mixture": tmp_path / "a.wav"}))
    sound = heard(found.sounds[0], tmp_path)
    assert sound.shape == (2, 88200)
    assert np.abs(sound[:, :21000]).max() < 0.02
    assert_allclose(sound[:, 23000:65000], 0.25, atol=0.02)


def test_all_versions_are_turned_down_by_one_gain_where_the_loudest_would_clip(tmp_path):
    loud = write_tone(tmp_path / "loud.wav", 440, level=1.96)
    soft = write_tone(tmp_path / "soft.wav", 440, level=0.5)
    found = prepare(Excerpt("t", "vocals", 0, 2, {"loud": loud, "soft": soft}))
    assert found.gain_db == pytest.approx(20 * np.log10(0.5), abs=1e-4)
    levels = [np.abs(heard(sound, tmp_path)[:, 20000:60000]).max() for sound in found.sounds]
    assert 0.93 < levels[0] < 1  # the encoder itself takes away a quarter of a decibel
    assert levels[0] / levels[1] == pytest.approx(1.96 / 0.5, abs=0.02)


def test_what_does_not_clip_is_left_alone(tmp_path):
    assert prepare(Excerpt("t", "v", 0, 1, {"a": write_tone(tmp_path / "a.wav", 440)})).gain_db == 0


def test_a_file_that_ends_early_is_followed_by_silence(tmp_path):
    short = write_tone(tmp_path / "short.wav", 440, seconds=1.0)
    found = prepare(Excerpt("t", "v", 0.5, 2.0, {"a": short}))
    sound = heard(found.sounds[0], tmp_path)
    assert sound.shape[1] == 88200
    assert np.abs(sound[:, 26000:]).max() < 0.01


def test_at_most_twelve_seconds_are_taken(tmp_path):
    found = prepare(Excerpt("t", "v", 0, 60.0, {"a": write_tone(tmp_path / "a.wav", 440, seconds=14, rate=8000)}))
    assert found.seconds == 12


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (11025, 2), (16000, 2), (22050, 1), (48000, 2), (96000, 2)])
def test_other_rates_and_mono_are_taken_as_they_are(tmp_path, rate, channels):
    path = write_music(tmp_path / "a.wav", seconds=1.5, rate=rate, channels=channels)
    found = prepare(Excerpt("t", "v", 0.25, 1.0, {"a": path}))
    assert found.highest_hz == rate / 2
    assert heard(found.sounds[0], tmp_path).shape[0] == channels


def test_the_spectrogram_is_a_picture_with_high_notes_on_top(tmp_path):
    found = prepare(Excerpt("t", "v", 0, 1, {"a": write_tone(tmp_path / "a.wav", 5000)}))
    picture = Image.open(io.BytesIO(data(found.sounds[0].picture)))
    assert picture.size == (720, 128)
    brightness = np.asarray(picture.convert("L"), np.float64).mean(axis=1)
    row = int(brightness.argmax())
    assert abs((1 - (row + 0.5) / 128) - found.position(5000)) < 0.02


def test_silence_is_drawn_and_heard(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((44100, 2)), 44100)
    found = prepare(Excerpt("t", "v", 0, 1, {"a": tmp_path / "a.wav"}))
    assert np.abs(heard(found.sounds[0], tmp_path)).max() < 1e-3


def test_an_excerpt_behind_the_end_is_refused(tmp_path):
    path = write_tone(tmp_path / "a.wav", 440, seconds=1)
    with pytest.raises(InputError, match=r"ends after 1\.00 s, before the excerpt at 5\.00 s"):
        prepare(Excerpt("t", "v", 5, 1, {"a": path}))


@pytest.mark.parametrize(("start", "seconds"), [(-1, 1), (0, 0), (float("nan"), 1), (0, float("inf"))])
def test_times_out_of_range_are_refused(tmp_path, start, seconds):
    with pytest.raises(ValueError, match="no such excerpt"):
        prepare(Excerpt("t", "v", start, seconds, {"a": tmp_path / "a.wav"}))
