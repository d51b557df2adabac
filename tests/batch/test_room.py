"""What a plan needs on disk."""

import numpy as np
import pytest
import soundfile

from mss_cli.audio.formats import OutputFormat
from mss_cli.batch.room import TrackLength, check_room, free_bytes, readable, scratch_bytes, stem_bytes, track_bytes
from mss_cli.errors import OutputError

MINUTE = TrackLength(60.0, 44100, 2)


@pytest.mark.parametrize(
    ("depth", "subtype", "size"), [("int16", "PCM_16", 2), ("int24", "PCM_24", 3), ("float32", "FLOAT", 4)]
)
def test_a_wav_is_no_larger_than_said_and_not_much_smaller(tmp_path, depth, subtype, size):
    soundfile.write(tmp_path / "a.wav", np.zeros((44100 * 2, 2)), 44100, subtype)
    written = (tmp_path / "a.wav").stat().st_size
    said = stem_bytes(TrackLength(2.0, 44100, 2), OutputFormat("wav", depth))
    assert written <= said < written + 20_000
    assert said > 44100 * 2 * 2 * size


def test_the_worst_flac_fits(tmp_path):
    noise = np.random.default_rng(0).uniform(-1, 1, (44100, 2))
    soundfile.write(tmp_path / "a.flac", noise, 44100, "PCM_16")
    assert (tmp_path / "a.flac").stat().st_size <= stem_bytes(TrackLength(1.0, 44100, 2), OutputFormat("flac"))


def test_a_minute_of_mp3_by_hand():
    # 320 000 bit/s for 60 s are 2.4 MB; a quarter more, and 16 KiB.
    assert stem_bytes(MINUTE, OutputFormat("mp3")) == 3_000_000 + 16_384


def test_a_track_needs_its_stems_and_its_record():
    form = OutputFormat("wav")
    assert track_bytes(MINUTE, form, stems=4) == 4 * stem_bytes(MINUTE, form) + 4096
    assert scratch_bytes(MINUTE, stems=4) == 60 * 44100 * 2 * 4 * 4


def test_a_folder_that_does_not_exist_yet_has_the_room_of_its_disk(tmp_path):
    assert free_bytes(tmp_path / "a" / "b") == pytest.approx(free_bytes(tmp_path), rel=0.2)


def test_a_plan_without_room_is_refused_with_both_figures(tmp_path):
    check_room(tmp_path, 1)
    with pytest.raises(OutputError, match=r"the plan may need 1000000 TB, and [0-9.]+ [MGT]B are free"):
        check_room(tmp_path / "new", 10**18)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1500, "1.5 kB"),
        (9_949, "9.9 kB"),
        (9_960, "10 kB"),
        (999_600, "1.0 MB"),
        (20 * 10**9, "20 GB"),
    ],
)
def test_sizes_in_words(size, text):
    assert readable(size) == text
