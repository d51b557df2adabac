"""What a file holds is found by its content, and a damaged one is refused with one clear line."""

import os
import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from clicks import INPUTS, RATE, SAMPLES, click_signal, noise, read, write_libav, write_libsndfile
from mss_cli.audio.access import check_readable, unreadable
from mss_cli.audio.probe import itunes_samples, probe
from mss_cli.errors import ExitCode, InputError


def refusal(path: Path, *, stream: int | None = None) -> str:
    with pytest.raises(InputError) as caught:
        probe(path, stream=stream)
    assert caught.value.code is ExitCode.INPUT
    assert caught.value.path == str(path)
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    return caught.value.message


def test_a_missing_file_is_refused(tmp_path: Path):
    assert refusal(tmp_path / "none.wav") == "no such file"


def test_a_folder_is_refused(tmp_path: Path):
    assert refusal(tmp_path) == "is a folder"


def test_a_pipe_on_the_disk_is_refused_instead_of_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.wav")
    assert refusal(tmp_path / "pipe.wav") == "not a regular file"


def test_a_name_with_a_nul_is_refused():
    with pytest.raises(InputError, match="not a file name"):
        check_readable(Path("a\0b.wav"))


def test_a_file_without_permission_is_refused(tmp_path: Path):
    path = tmp_path / "secret.wav"
    path.write_bytes(b"RIFF")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    assert refusal(path) == "permission denied"


def test_the_message_about_permission_names_the_way_out():
    error = unreadable(Path("a.wav"), PermissionError(13, "Permission denied"))
    assert str(error) == "a.wav: permission denied; make it readable with `chmod u+r`"


def test_an_empty_file_is_refused(tmp_path: Path):
    (tmp_path / "empty.wav").touch()
    assert refusal(tmp_path / "empty.wav") == "empty file (0 bytes)"


@pytest.mark.parametrize(
    "content",
    [
        b"just a few words, renamed\n" * 40,
        b"#EXTM3U\nsong.wav\n",
        b"1\n00:00:00,000 --> 00:00:01,000\nla la\n",
        bytes(range(256)) * 20,
        b"\x00" * 5000,
        b"\xff" * 5000,
        b"x",
    ],
    ids=["text", "playlist", "subtitles", "bytes", "zeros", "ones", "one byte"],
)
def test_what_is_not_audio_is_refused(content: bytes, tmp_path: Path):
    path = tmp_path / "song.wav"
    path.write_bytes(content)
    assert refusal(path) == "not an audio file that can be read"


def test_a_playlist_never_opens_the_files_it_names(tmp_path: Path):
    write_libsndfile(tmp_path / "song.wav", noise(1000), container="WAV", subtype="PCM_16")
    for text in ("ffconcat version 1.0\nfile song.wav\n", "#EXTM3U\n#EXTINF:1,\nsong.wav\n#EXT-X-ENDLIST\n"):
        (tmp_path / "list").write_text(text)
        assert refusal(tmp_path / "list") == "not an audio file that can be read"


def video_only(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        container.mux(stream.encode(None))


def test_a_video_without_sound_is_refused(tmp_path: Path):
    video_only(tmp_path / "silent.mp4")
    assert refusal(tmp_path / "silent.mp4") == "no audio stream"


@pytest.mark.parametrize("container", ["WAV", "AIFF", "CAF", "W64", "RF64"])
def test_a_file_with_zero_samples_is_refused(container: str, tmp_path: Path):
    path = tmp_path / "none"
    soundfile.write(path, np.zeros((0, 2), np.float32), RATE, format=container, subtype="PCM_16")
    assert refusal(path) == "holds no samples"


def test_a_flac_with_zero_samples_is_refused(tmp_path: Path):
    path = tmp_path / "none.flac"
    write_libsndfile(path, noise(5000), container="FLAC", subtype="PCM_16")
    content = bytearray(path.read_bytes()[:42])
    content[4] |= 0x80  # STREAMINFO is the last block
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert refusal(path) == "holds no samples"


def test_a_file_with_zero_channels_is_refused(tmp_path: Path):
    path = tmp_path / "none.wav"
    write_libsndfile(path, noise(1000), container="WAV", subtype="PCM_16")
    content = bytearray(path.read_bytes())
    content[22:24] = b"\0\0"
    path.write_bytes(content)
    assert refusal(path) == "holds no channels"


# Where the cut falls, and how the two lengths must read: 60007 samples are 1.36 s, two thirds of them 0.91 s.
BY_TIME = ["wav 16", "wav 24", "wav float", "wavex 16", "rf64", "w64", "aiff", "caf"]


@pytest.mark.parametrize("name", BY_TIME)
def test_a_file_cut_at_two_thirds_is_refused_naming_both_lengths(name: str, tmp_path: Path):
    path = tmp_path / "cut"
    INPUTS[name].write(path, noise(SAMPLES))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    assert refusal(path) in (
        "ends after 0.91 s of 1.36 s its header announces",
        "ends after 0.90 s of 1.36 s its header announces",  # 4 KiB of other chunks stand before the samples
    )


@pytest.mark.parametrize("name", ["flac", "mp3 (LAME tag)", "mp3 (libav)"])
def test_a_compressed_file_cut_in_the_middle_is_refused_naming_both_lengths(name: str, tmp_path: Path):
    path = tmp_path / "cut"
    INPUTS[name].write(path, noise(SAMPLES))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    message = refusal(path)
    assert message.endswith(" of 1.36 s its header announces")
    assert 0.55 < float(message.split()[2]) < 0.75


@pytest.mark.parametrize("name", ["mkv aac", "webm opus", "wma 2"])
def test_a_container_cut_in_the_middle_is_refused_naming_both_sizes(name: str, tmp_path: Path):
    path = tmp_path / "cut"
    INPUTS[name].write(path, noise(SAMPLES))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert f"{len(content) // 2} bytes of {len(content)} bytes" in refusal(path)


@pytest.mark.parametrize("name", ["m4a aac", "m4a alac"])
def test_an_mp4_without_its_index_is_refused(name: str, tmp_path: Path):
    path = tmp_path / "cut"
    INPUTS[name].write(path, noise(SAMPLES))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "its header announces" in refusal(path)
    path.write_bytes(content[:-3])
    assert refusal(path) == "cut inside its header"


@pytest.mark.parametrize("name", [*BY_TIME, "flac", "caf alac"])
def test_a_file_cut_inside_its_header_is_refused(name: str, tmp_path: Path):
    path = tmp_path / "cut"
    INPUTS[name].write(path, noise(SAMPLES))
    content = path.read_bytes()
    for length in (9, 17, 30):
        path.write_bytes(content[:length])
        assert refusal(path) in ("cut inside its header", "not an audio file that can be read")


@pytest.mark.parametrize("name", ["wav 16", "w64", "aiff", "rf64", "caf"])
def test_a_file_that_lacks_its_last_sample_is_refused_with_lengths_that_differ(name: str, tmp_path: Path):
    path = tmp_path / "cut"
    INPUTS[name].write(path, noise(SAMPLES))
    path.write_bytes(path.read_bytes()[:-8])
    words = refusal(path).split()
    assert words[:2] == ["ends", "after"]
    assert words[2] != words[5]


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0xFFFFFFFF - 36])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_wav_written_to_a_pipe_is_read_to_its_end(size: int, subtype: str, tmp_path: Path):
    path = tmp_path / "piped.wav"
    signal = noise(3001)
    write_libsndfile(path, signal, container="WAV", subtype=subtype)
    content = bytearray(path.read_bytes())
    data = content.index(b"data")
    fact = content.find(b"fact")
    content[data + 4 : data + 8] = struct.pack("<I", size)
    content[4:8] = struct.pack("<I", 0xFFFFFFFF if size else 0)
    if fact >= 0:
        content[fact + 8 : fact + 12] = struct.pack("<I", 0)
    path.write_bytes(content[: data + 8 + 3001 * (4 if subtype == "PCM_16" else 8)])
    _, found = read(path)
    np.testing.assert_allclose(found, signal, rtol=0, atol=2**-15)


@pytest.mark.parametrize("stream", [1, 7, -1])
@pytest.mark.parametrize("name", ["wav 16", "m4a aac"])
def test_a_stream_that_is_not_there_is_refused(name: str, stream: int, tmp_path: Path):
    INPUTS[name].write(tmp_path / "x", noise(5000))
    assert refusal(tmp_path / "x", stream=stream) == f"no audio stream {stream}: it has 1 audio stream"


@pytest.mark.parametrize(
    "name", ["-o.wav", "[live] ü 'x' \"y\".wav", "concat:a.wav", "http:x.wav", "line\nbreak.wav", "\udcff\udcfe.wav"]
)
@pytest.mark.parametrize("form", ["wav 16", "m4a aac"])
def test_any_file_name_can_be_read(form: str, name: str, tmp_path: Path):
    INPUTS[form].write(tmp_path / "plain", click_signal())
    path = tmp_path / name
    (tmp_path / "plain").rename(path)
    assert probe(path).sample_rate == RATE


def test_a_file_without_rate_is_refused(tmp_path: Path):
    path = tmp_path / "none.wav"
    write_libsndfile(path, noise(1000), container="WAV", subtype="PCM_16")
    content = bytearray(path.read_bytes())
    content[24:28] = b"\0\0\0\0"
    path.write_bytes(content)
    assert refusal(path) == "not an audio file that can be read"


@pytest.mark.parametrize("rate", [8000, 96000, 192000])
def test_rate_channels_and_length_are_reported(rate: int, tmp_path: Path):
    write_libsndfile(tmp_path / "x", noise(777, 6), container="WAV", subtype="PCM_24", rate=rate)
    info = probe(tmp_path / "x")
    assert (info.sample_rate, info.channels, info.samples) == (rate, 6, 777)
    assert (info.decoder, info.audio_streams, info.seconds) == ("libsndfile", 1, 777 / rate)


def test_six_channels_of_a_video_are_reported(tmp_path: Path):
    write_libav(tmp_path / "x", noise(5000, 6), container="matroska", codec="ac3", rate=48000)
    info = probe(tmp_path / "x")
    assert (info.sample_rate, info.channels, info.decoder, info.codec) == (48000, 6, "ffmpeg", "ac3")


@pytest.mark.parametrize("action", [probe, check_readable])
def test_the_cheap_check_says_the_same_as_the_probe(action: Callable[[Path], object], tmp_path: Path):
    with pytest.raises(InputError, match="no such file"):
        action(tmp_path / "none.wav")


@pytest.mark.parametrize(
    ("text", "samples"),
    [
        (" 00000000 00000840 000001CA 00000000003F31F6 00000000 00000000", 0x3F31F6),
        (" 00000000 00000840 000001CA 0000000000000000", None),
        ("odd", None),
        ("", None),
        ("0 0 0 xyz", None),
    ],
)
def test_the_gapless_tag_of_itunes_counts_samples(text: str, samples: int | None):
    assert itunes_samples(text) == samples
