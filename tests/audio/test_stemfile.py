"""A stem file holds five aligned streams and the names a player shows."""

import importlib.util
import itertools
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from clicks import RATE, SAMPLES, Signal, click_signal, cut, noise, offset, read, resampled, residual_db
from mss_cli.audio.stemfile import encode_stem_file, read_stem_description
from mss_cli.audio.tags import Tags
from mss_cli.errors import OutputError, UsageError

NAMES = ("drums", "bass", "other", "vocals")


def shifted(signal: Signal, by: int) -> Signal:
    return np.roll(signal, by, axis=1)


def five(channels: int = 2) -> list[Signal]:
    return [shifted(click_signal(channels=channels), 500 * number) for number in range(5)]


def write(path: Path, signals: list[Signal], rate: int = RATE, **options: object) -> None:
    channels, samples = signals[0].shape
    encode_stem_file(
        cut(signals[0]),
        [cut(signal, 1000 * number) for number, signal in enumerate(signals[1:], 3)],
        path,
        names=NAMES,
        sample_rate=rate,
        channels=channels,
        samples=samples,
        **options,
    )


@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (48000, 1), (192000, 2)])
def test_five_aligned_streams_of_the_right_length_come_back(rate: int, channels: int, tmp_path: Path):
    signals = five(channels)
    write(tmp_path / "x", signals, rate)
    for number, signal in enumerate(signals):
        info, found = read(tmp_path / "x", stream=number)
        expected = resampled(signal, rate, min(rate, 96000))
        assert (info.audio_streams, info.channels, info.sample_rate) == (5, 2, min(rate, 96000))
        assert found.shape == (2, expected.shape[1])
        assert offset(expected, found) == 0


def test_only_the_mixture_plays_by_default(tmp_path: Path):
    write(tmp_path / "x", five())
    with av.open(str(tmp_path / "x")) as container:
        assert [stream.disposition.value & 1 for stream in container.streams.audio] == [1, 0, 0, 0, 0]
    np.testing.assert_array_equal(read(tmp_path / "x")[1], read(tmp_path / "x", stream=0)[1])


def test_the_names_stand_in_the_stem_box_and_the_dynamics_are_off(tmp_path: Path):
    write(tmp_path / "x", five())
    description = json.loads(read_stem_description(tmp_path / "x") or b"")
    assert description["version"] == 1
    assert [stem["name"] for stem in description["stems"]] == ["Drums", "Bass", "Other", "Vocals"]
    assert len({stem["color"] for stem in description["stems"]}) == 4
    assert description["mastering_dsp"]["compressor"]["enabled"] is False
    assert description["mastering_dsp"]["limiter"]["enabled"] is False


def test_the_description_has_the_keys_of_a_published_stem_file(tmp_path: Path):
    stempeg = importlib.util.find_spec("stempeg")  # importing it would look for the ffmpeg program
    if stempeg is None or stempeg.origin is None:
        pytest.skip("needs the song of the package stempeg")
    song = next((Path(stempeg.origin).parent / "data").glob("*.stem.mp4"))
    published = json.loads(read_stem_description(song) or b"")
    write(tmp_path / "x", five())
    ours = json.loads(read_stem_description(tmp_path / "x") or b"")
    assert ours.keys() == published.keys()
    for part in ("compressor", "limiter"):
        assert ours["mastering_dsp"][part].keys() == published["mastering_dsp"][part].keys()
    assert ours["stems"][0].keys() == published["stems"][0].keys()


def test_tags_are_carried_over_beside_the_names(tmp_path: Path):
    write(tmp_path / "x", five(), tags=Tags("Title", "Artist", "Album"))
    info, _ = read(tmp_path / "x")
    assert (info.tags.title, info.tags.artist, info.tags.album) == ("Title", "Artist", "Album")
    assert read_stem_description(tmp_path / "x") is not None


def test_the_gain_is_the_same_for_all_streams(tmp_path: Path):
    write(tmp_path / "x", [noise(SAMPLES, level=0.2)] * 5, gain=0.5)
    for number in range(5):
        _, found = read(tmp_path / "x", stream=number)
        assert residual_db(noise(SAMPLES, level=0.2) * np.float32(0.5), found) < -5


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_other_than_four_stems_are_refused_before_anything_is_written(count: int, tmp_path: Path):
    with pytest.raises(UsageError, match=f"exactly 4 stems, not {count}"):
        encode_stem_file(
            [noise(100)],
            [[noise(100)]] * count,
            tmp_path / "x",
            names=[f"stem {n}" for n in range(count)],
            sample_rate=RATE,
            channels=2,
            samples=100,
        )
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said(tmp_path: Path):
    (tmp_path / "x").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="disk full"):
        write(tmp_path / "x", five())


def test_samples_that_are_not_finite_are_refused_and_nothing_is_left(tmp_path: Path):
    signals = five()
    signals[3][0, 30_000] = np.nan
    with pytest.raises(OutputError, match="not finite"):
        write(tmp_path / "x", signals)
    assert list(tmp_path.iterdir()) == []


def test_sources_are_read_in_turns(tmp_path: Path):
    taken = [0] * 5

    def source(number: int) -> Iterator[Signal]:
        for block in cut(noise(200_000, seed=number), 4096):
            taken[number] += 1
            assert max(taken) - min(taken) <= 2
            yield block

    encode_stem_file(
        source(0),
        [source(number) for number in range(1, 5)],
        tmp_path / "x",
        names=NAMES,
        sample_rate=RATE,
        channels=2,
        samples=200_000,
    )
    assert taken == [49] * 5


def test_memory_does_not_grow_with_the_length(tmp_path: Path):
    block = noise(16_384)

    def peak(blocks: int) -> int:
        tracemalloc.start()
        encode_stem_file(
            itertools.repeat(block, blocks),
            [itertools.repeat(block, blocks) for _ in range(4)],
            tmp_path / "x",
            names=NAMES,
            sample_rate=RATE,
            channels=2,
            samples=blocks * 16_384,
        )
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    short = peak(4)
    assert peak(16) < short + 1_000_000
