"""Title, artist, album and cover survive the way through every format that can hold them."""

import io
from pathlib import Path

import av
import numpy as np
import pytest

from clicks import RATE, cut, noise, read, write_libsndfile
from mss_cli.audio.encode import encode
from mss_cli.audio.formats import FormatName, OutputFormat
from mss_cli.audio.tags import Tags, picture_block, read_tags


def picture(codec: str, pixels: str, content: np.ndarray | None = None) -> bytes:
    content = np.full((32, 48, 3), 200, np.uint8) if content is None else content
    file = io.BytesIO()
    with av.open(file, "w", format="image2pipe") as container:
        stream = container.add_stream(codec, rate=1)
        stream.height, stream.width = content.shape[:2]
        stream.pix_fmt = pixels
        frame = av.VideoFrame.from_ndarray(content, format="rgb24")
        container.mux(stream.encode(frame.reformat(format=pixels)))
        container.mux(stream.encode(None))
    return file.getvalue()


PNG = picture("png", "rgb24")
JPEG = picture("mjpeg", "yuvj420p")
TEXTS = Tags("Ein Stück “in” D", "Ärtist; [x] 音楽", "Älbum / 2")


def written(path: Path, name: FormatName, tags: Tags) -> Tags:
    signal = noise(10_000)
    encode(cut(signal), path, format=OutputFormat(name), sample_rate=RATE, channels=2, samples=10_000, tags=tags)
    info, found = read(path)
    assert found.shape[1] == {"opus": 10_884}.get(name, 10_000)
    return info.tags


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "ogg", "opus", "m4a"])
def test_texts_survive_in_every_format(name: FormatName, tmp_path: Path):
    found = written(tmp_path / "x", name, TEXTS)
    assert (found.title, found.artist, found.album) == (TEXTS.title, TEXTS.artist, TEXTS.album)
    assert found.cover is None


@pytest.mark.parametrize(("cover", "mime"), [(PNG, "image/png"), (JPEG, "image/jpeg")], ids=["png", "jpeg"])
@pytest.mark.parametrize("name", ["flac", "mp3", "ogg", "opus", "m4a"])
def test_the_cover_survives_byte_for_byte(name: FormatName, cover: bytes, mime: str, tmp_path: Path):
    found = written(tmp_path / "x", name, Tags("t", None, None, cover, mime))
    assert found.cover == cover
    assert found.cover_mime == mime


@pytest.mark.parametrize("name", ["flac", "mp3", "ogg", "opus", "m4a"])
def test_a_cover_of_a_megabyte_survives(name: FormatName, tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)
    cover = picture("png", "rgb24", pixels)
    assert len(cover) > 1_000_000
    found = written(tmp_path / "x", name, Tags("t", None, None, cover, "image/png"))
    assert found.cover == cover


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "ogg", "opus", "m4a"])
def test_without_tags_nothing_is_invented(name: FormatName, tmp_path: Path):
    assert written(tmp_path / "x", name, Tags()) == Tags()


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "ogg", "opus", "m4a"])
def test_a_cover_that_is_no_picture_never_stops_a_run(name: FormatName, tmp_path: Path):
    found = written(tmp_path / "x", name, Tags("t", None, None, b"not a picture" * 50, "image/png"))
    assert found.title == "t"


@pytest.mark.parametrize("junk", [b"\xff\xfe\xfd", b"\x00\x01\x1b[31m", b"\xed\xa0\x80", b"\n\r\t"])
def test_odd_bytes_in_tags_never_stop_a_run(junk: bytes, tmp_path: Path):
    for name in ("wav", "flac", "mp3", "ogg", "opus", "m4a"):
        path = tmp_path / name
        written(path, name, Tags("PLACEHOLDER", "PLACEHOLDER", "PLACEHOLDER"))
        path.write_bytes(path.read_bytes().replace(b"PLACEHOLDER", (junk * 11)[:11]))
        tags = read_tags(path)
        for text in (tags.title, tags.artist, tags.album):
            assert text is None or (text.isprintable() and text.encode("utf-8"))
        for other in ("flac", "mp3", "m4a"):
            written(tmp_path / "again", other, tags)


def test_what_cannot_be_read_has_no_tags(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"no audio")
    assert read_tags(tmp_path / "x") == Tags()
    assert read_tags(tmp_path / "missing") == Tags()


@pytest.mark.parametrize("container", ["AIFF", "CAF", "W64", "RF64"])
def test_formats_without_tags_read_as_none(container: str, tmp_path: Path):
    write_libsndfile(tmp_path / "x", noise(100), container=container, subtype="PCM_16")
    assert read_tags(tmp_path / "x") == Tags()


def test_a_picture_block_has_the_layout_of_rfc_9639():
    block = picture_block(b"abc", "image/png")
    assert block[:8] == b"\0\0\0\3\0\0\0\x09"
    assert block[8:17] == b"image/png"
    assert block[-7:] == b"\0\0\0\3abc"
    assert len(block) == 32 + 9 + 3
