"""Separators that hear a whole track before its first estimate, from file to stems."""

import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mss_cli.audio.formats import OutputFormat
from mss_cli.errors import OutputError
from mss_cli.events import TrackProgress, Warned
from mss_cli.separation.scratch import FrameFile
from mss_cli.separation.settings import EngineSettings, ReadSettings, WriteSettings
from mss_cli.separation.track import open_source, separate_track
from mss_cli.weights.store import Card, save_checkpoint
from mss_models.catalog import configuration_of
from mss_models.networks.open_unmix.separator import OpenUnmixSeparator, OpenUnmixSettings
from mss_models.stft import StftSettings
from open_unmix_peer import randomize
from signals import music, write_music
from toys import engine_of

FLOAT = OutputFormat("wav", "float32")
CPU = torch.device("cpu")


def open_unmix(channels=2, **changes):
    torch.manual_seed(0)
    chosen = OpenUnmixSettings(
        ("vocals", "drums"), 44100, channels, StftSettings(1024, 256), 300, hidden_size=12, **changes
    )
    made = OpenUnmixSeparator(chosen).eval()
    for place, network in enumerate(made.members):
        randomize(network, place)
    made.prepare(CPU, "fp32")
    return made


def run(tmp_path, separator, *, chosen=None, seconds=4.0, told=None, write=None, **song):
    path = write_music(tmp_path / "song.wav", seconds=seconds, **song)
    finished = separate_track(
        engine_of(separator),
        open_source(path, ReadSettings()),
        [tmp_path / "out" / f"{stem}.wav" for stem in separator.stems],
        engine_settings=chosen or EngineSettings(),
        write_settings=write or WriteSettings(format=FLOAT),
        listener=(told if told is not None else []).append,
    )
    stems = [soundfile.read(output.path, dtype="float32", always_2d=True)[0].T for output in finished.outputs]
    return finished, np.stack(stems)


def mixture(tmp_path):
    return soundfile.read(tmp_path / "song.wav", dtype="float32", always_2d=True)[0].T


@pytest.mark.parametrize("changes", [{}, {"bidirectional": False}], ids=["both directions", "one direction"])
def test_stems_are_what_the_separator_gives_for_the_whole_file(tmp_path, changes):
    separator = open_unmix(**changes)
    finished, stems = run(tmp_path, separator)
    expected = separator.separate(torch.from_numpy(mixture(tmp_path))[None])[0].numpy()
    np.testing.assert_allclose(stems, expected, atol=1e-5 * np.abs(expected).max(), rtol=0)
    assert finished.segment_seconds is None


def test_a_segment_length_cuts_the_file_and_shows_in_the_stems(tmp_path):
    _, whole = run(tmp_path, open_unmix())
    finished, cut = run(tmp_path, open_unmix(), chosen=EngineSettings(segment_seconds=1.0))
    assert finished.segment_seconds == 1.0
    assert whole.shape == cut.shape
    assert not np.array_equal(whole, cut)


@pytest.mark.parametrize(("rate", "channels", "model_channels"), [(48000, 2, 2), (22050, 1, 2), (44100, 2, 1)])
def test_other_rates_and_channels_keep_their_length(tmp_path, rate, channels, model_channels):
    separator = open_unmix(channels=model_channels)
    finished, stems = run(tmp_path, separator, rate=rate, channels=channels)
    assert stems.shape == (2, channels, mixture(tmp_path).shape[1])
    assert np.abs(stems).max() > 0
    assert finished.sample_rate_hz == rate


def test_nothing_but_the_stems_is_left(tmp_path):
    run(tmp_path, open_unmix(), write=WriteSettings(format=FLOAT, scratch=tmp_path / "scratch"))
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "drums.wav",
        "out",
        "scratch",
        "song.wav",
        "vocals.wav",
    ]


def test_what_does_not_fit_as_a_whole_is_cut_into_segments(tmp_path, monkeypatch):
    separator, told = open_unmix(segment_frames=150), []

    def no_room(track):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(separator, "begin_track", no_room)
    finished, _ = run(tmp_path, separator, told=told)
    lines = [event.message for event in told if isinstance(event, Warned)]
    assert lines == ["out of memory: starting again with segments of 0.87 s"]
    assert finished.segment_seconds == pytest.approx(150 * 256 / 44100)


def test_progress_covers_all_passes(tmp_path, monkeypatch):
    monkeypatch.setattr("mss_cli.separation.track._PROGRESS_SECONDS", 0.0)
    told = []
    run(tmp_path, open_unmix(), told=told)
    seconds = [event.done_seconds for event in told if isinstance(event, TrackProgress)]
    assert seconds == sorted(seconds)
    assert seconds[0] == pytest.approx(4.0 / 5)  # after the first of three layers' five passes
    assert seconds[-1] == pytest.approx(4.0)


@settings(max_examples=30, deadline=None)
@given(
    order=st.permutations(range(5)),
    width=st.integers(1, 9),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
)
def test_a_frame_file_gives_every_row_back_in_any_order(tmp_path_factory, order, width, dtype):
    rows = torch.randn(50, width, generator=torch.Generator().manual_seed(0)).to(dtype)
    with FrameFile(tmp_path_factory.getbasetemp(), width, dtype) as store:
        for part in order:
            store.write(part * 10, rows[part * 10 : part * 10 + 10])
        assert torch.equal(store.read(0, 50), rows)
        store.write(20, rows[:5])
        again = store.read(18, 9)
        again.zero_()
        assert torch.equal(store.read(20, 5), rows[:5])


def test_a_frame_file_has_no_name(tmp_path):
    with FrameFile(tmp_path, 3, torch.float32) as store:
        store.write(0, torch.zeros(4, 3))
        assert list(tmp_path.iterdir()) == []


def test_a_full_disk_says_so(tmp_path):
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with FrameFile(tmp_path, 100, torch.float32) as store, pytest.raises(OutputError, match="cannot write"):
            store.write(0, torch.zeros(10, 100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "wait4"), reason="the system does not tell a child's memory")
def test_memory_does_not_grow_with_the_length(tmp_path):
    made = open_unmix()
    chosen = configuration_of(made)
    card = Card("tiny", chosen.architecture, chosen.settings, made.stems, made.sample_rate, "a test", "MIT")
    save_checkpoint(tmp_path / "tiny.safetensors", made.state_dict(), card)
    peaks = []
    for seconds in (20.0, 120.0):
        song = tmp_path / f"{seconds}.wav"
        with soundfile.SoundFile(song, "w", 44100, 2) as file:  # by seconds: a child begins with its parent's memory
            for seed in range(int(seconds)):
                file.write(music(1.0, 44100, 2, seed, 0.25))
        command = [sys.executable, "-m", "mss_cli", "separate", str(song), "-o", str(tmp_path / "out"), "-q"]
        flags = ["--model", str(tmp_path / "tiny.safetensors"), "--device", "cpu", "--threads", "1"]
        child = subprocess.Popen([*command, *flags])
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        peaks.append(usage.ru_maxrss / 1024 * (1 if sys.platform != "darwin" else 1 / 1024))
    # As floats, 100 s more are 35 MB of mixture, as much of each of two stems, and 20 MB of what the layers gave.
    assert peaks[1] < peaks[0] + 20
