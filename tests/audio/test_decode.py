"""Decoding is exact, bounded, never normalised, and refuses what is broken with the time of the fault."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from clicks import INPUTS, RATE, SAMPLES, noise, read, write_libav, write_libsndfile
from mss_cli.audio.decode import decode
from mss_cli.audio.probe import probe
from mss_cli.errors import InputError


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_sample_type_decodes_to_full_scale_one(subtype: str, tmp_path: Path):
    signal = np.array([[0, 0.5, -0.5, -1.0, 0.25], [0, 0.125, -0.125, 0.75, -0.75]], np.float32)
    write_libsndfile(tmp_path / "x", signal, container="WAV", subtype=subtype)
    _, found = read(tmp_path / "x")
    np.testing.assert_allclose(found, signal, rtol=0, atol=2**-7 if subtype == "PCM_U8" else 2**-15)


def test_values_beyond_one_are_kept(tmp_path: Path):
    signal = np.array([[3.5, -7.25, 0.0]], np.float32)
    write_libsndfile(tmp_path / "x", signal, container="WAV", subtype="FLOAT")
    _, found = read(tmp_path / "x")
    np.testing.assert_array_equal(found, signal)


@pytest.mark.parametrize("name", ["flac", "m4a alac", "wavpack", "tta", "mka flac", "caf alac"])
def test_lossless_formats_give_the_samples_of_the_wav(name: str, tmp_path: Path):
    signal = noise(SAMPLES)
    INPUTS[name].write(tmp_path / "x", signal)
    _, found = read(tmp_path / "x")
    # libsndfile writes wav and alac one step low: compare with one step of 16 bits.
    np.testing.assert_allclose(found, signal, rtol=0, atol=2**-15)


@pytest.mark.parametrize("name", INPUTS)
def test_the_size_of_blocks_changes_nothing_and_is_never_passed(name: str, tmp_path: Path):
    INPUTS[name].write(tmp_path / "x", noise(20_000))
    info = probe(tmp_path / "x")
    small = list(decode(info, block_samples=777))
    large = list(decode(info, block_samples=1 << 20))
    assert max(block.shape[1] for block in small) <= 777
    assert min(block.shape[1] for block in small) >= 1
    assert len(large) <= 2  # the silence that stands for the lost frame of wma is a block of its own
    assert {block.dtype for block in small} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(np.concatenate(small, axis=1), np.concatenate(large, axis=1))


def test_blocks_own_their_memory(tmp_path: Path):
    write_libsndfile(tmp_path / "x", noise(5000), container="WAV", subtype="FLOAT")
    blocks = decode(probe(tmp_path / "x"), block_samples=1000)
    first = next(blocks)
    before = first.copy()
    next(blocks)
    np.testing.assert_array_equal(first, before)


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinite"), (-np.inf, "infinite")])
@pytest.mark.parametrize("container", ["WAV", "CAF", "AIFF"])
def test_a_sample_that_is_not_finite_is_refused_with_its_time(value: float, word: str, container: str, tmp_path: Path):
    signal = noise(200_000)
    signal[1, 132_300] = value
    write_libsndfile(tmp_path / "x.wav", signal, container=container, subtype="FLOAT")
    with pytest.raises(InputError) as caught:
        read(tmp_path / "x.wav")
    assert caught.value.message == f"{word} sample at 3.00 s"
    assert caught.value.path == str(tmp_path / "x.wav")


def test_huge_finite_samples_are_not_taken_for_infinite(tmp_path: Path):
    signal = np.full((2, 1000), 3e38, np.float32)
    write_libsndfile(tmp_path / "x", signal, container="WAV", subtype="FLOAT")
    _, found = read(tmp_path / "x")
    np.testing.assert_array_equal(found, signal)


def test_a_flac_frame_that_is_damaged_is_refused_with_its_time(tmp_path: Path):
    write_libsndfile(tmp_path / "x", noise(SAMPLES), container="FLAC", subtype="PCM_16")
    content = bytearray((tmp_path / "x").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError, match=r"(cannot decode after|ends after) \d\.\d\d s"):
        read(tmp_path / "x")


def test_a_flac_whose_last_frame_is_cut_is_refused(tmp_path: Path):
    write_libsndfile(tmp_path / "x", noise(SAMPLES), container="FLAC", subtype="PCM_16")
    (tmp_path / "x").write_bytes((tmp_path / "x").read_bytes()[:-100])
    with pytest.raises(InputError, match=r"(cannot decode after|ends after) 1\.\d\d s"):
        read(tmp_path / "x")


def test_an_mp4_whose_samples_are_damaged_never_ends_the_run_otherwise(tmp_path: Path):
    write_libav(tmp_path / "x", noise(SAMPLES), container="mp4", codec="aac")
    content = bytearray((tmp_path / "x").read_bytes())
    content[5000:9000] = bytes(4000)
    (tmp_path / "x").write_bytes(content)
    info = probe(tmp_path / "x")
    blocks = []
    with suppress(InputError):
        blocks.extend(decode(info, block_samples=1024))
    assert all(np.isfinite(block).all() for block in blocks)


def test_a_file_that_goes_away_after_the_probe_is_an_input_error(tmp_path: Path):
    write_libsndfile(tmp_path / "x", noise(100), container="WAV", subtype="PCM_16")
    info = probe(tmp_path / "x")
    (tmp_path / "x").unlink()
    with pytest.raises(InputError, match="no such file"):
        list(decode(info))


@pytest.mark.parametrize("samples", [1, 2, 441])
@pytest.mark.parametrize("name", ["wav 16", "flac", "mp3 (LAME tag)", "ogg vorbis", "ogg opus", "m4a aac"])
def test_very_short_files_decode(name: str, samples: int, tmp_path: Path):
    INPUTS[name].write(tmp_path / "x", noise(samples))
    info, found = read(tmp_path / "x")
    assert found.shape == (2, samples)
    assert info.samples == samples


def test_an_mp4_without_edit_list_that_counts_the_delay_is_not_taken_for_cut(tmp_path: Path):
    write_libav(tmp_path / "x", noise(SAMPLES), container="mp4", codec="aac", options={"use_editlist": "0"})
    info, found = read(tmp_path / "x")
    assert found.shape[1] == info.samples
    assert 0 <= found.shape[1] - SAMPLES < 3 * 1024


def test_silence_stays_silence(tmp_path: Path):
    write_libsndfile(tmp_path / "x", np.zeros((2, 5000), np.float32), container="MP3", subtype="MPEG_LAYER_III")
    _, found = read(tmp_path / "x")
    assert not found.any()


def test_vorbis_blocks_equal_the_file_read_at_once(tmp_path: Path):
    write_libsndfile(tmp_path / "x", noise(SAMPLES), container="OGG", subtype="VORBIS")
    whole, rate = soundfile.read(tmp_path / "x", dtype="float32")
    assert rate == RATE
    _, found = read(tmp_path / "x", block_samples=1234)
    np.testing.assert_array_equal(found, whole.T)
