"""One track from file to stems, with separators whose right answer is known."""

import numpy as np
import pytest
import soundfile

from mss_cli.audio.formats import OutputFormat
from mss_cli.errors import MemoryExhausted, OutputError, UsageError
from mss_cli.events import TrackFinished, TrackStarted, Warned
from mss_cli.separation.settings import EngineSettings, ReadSettings, WriteSettings
from mss_cli.separation.stems import StemChoice
from mss_cli.separation.track import open_source, separate_track
from signals import write_music
from toys import Forgetful, Gains, engine_of

FLOAT = OutputFormat("wav", "float32")


def run(tmp_path, separator, *, settings=None, write=None, batch_size=0, seconds=4.0, told=None):
    song = write_music(tmp_path / "song.wav", seconds=seconds)
    write = write or WriteSettings(format=FLOAT)
    targets = [tmp_path / "out" / f"{stem}.wav" for stem in separator.stems]
    return separate_track(
        engine_of(separator, batch_size),
        open_source(song, ReadSettings()),
        targets,
        engine_settings=settings or EngineSettings(),
        write_settings=write,
        listener=(told if told is not None else []).append,
    )


def test_stems_hold_what_the_separator_gave(tmp_path):
    run(tmp_path, Gains())
    mixture, _ = soundfile.read(tmp_path / "song.wav")
    drums, _ = soundfile.read(tmp_path / "out" / "drums.wav")
    np.testing.assert_allclose(drums, mixture * 0.25, atol=1e-6)


def test_events_tell_the_whole_story(tmp_path):
    told = []
    finished = run(tmp_path, Gains(), told=told)
    assert isinstance(told[0], TrackStarted)
    assert told[-1] == finished
    assert isinstance(finished, TrackFinished)
    assert [output.stem for output in finished.outputs] == ["vocals", "drums", "bass", "other"]
    assert all(output.path.stat().st_size == output.size_bytes for output in finished.outputs)
    assert (finished.samples, finished.sample_rate_hz, finished.gain) == (176400, 44100, 1.0)


def test_a_segment_that_does_not_fit_is_halved_and_the_track_starts_again(tmp_path):
    told = []
    separator = Forgetful(room_samples=50_000, segment_samples=176_400)
    finished = run(tmp_path, separator, told=told)
    lines = [event.message for event in told if isinstance(event, Warned)]
    assert lines == [
        "out of memory: starting again with segments of 2.00 s",
        "out of memory: starting again with segments of 1.00 s",
    ]
    assert finished.segment_seconds == 1.0
    assert soundfile.info(tmp_path / "out" / "vocals.wav").frames == 176400


def test_a_batch_that_does_not_fit_is_halved_and_stays_small(tmp_path):
    told = []
    finished = run(tmp_path, Forgetful(room=1, segment_samples=20_000), batch_size=4, told=told)
    assert [event.message for event in told if isinstance(event, Warned)] == [
        "out of memory: going on with 2 segments at once",
        "out of memory: going on with 1 segments at once",
    ]
    assert finished.segments_per_batch == 1


def test_memory_that_never_suffices_ends_with_its_own_error_and_no_file(tmp_path):
    with pytest.raises(MemoryExhausted, match="song.wav: out of memory, even with the shortest segments"):
        run(tmp_path, Forgetful(room=0, segment_samples=60_000))
    assert not (tmp_path / "out").exists()


def test_other_errors_of_a_separator_pass_through_and_leave_no_file(tmp_path):
    class Broken(Gains):
        def separate(self, mixture):
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run(tmp_path, Broken())
    assert not (tmp_path / "out").exists()


def test_a_folder_in_the_place_of_a_stem_is_refused_before_any_work(tmp_path):
    (tmp_path / "out" / "bass.wav").mkdir(parents=True)
    separator = Gains()
    with pytest.raises(OutputError, match=r"bass\.wav: cannot write: a folder stands in its place"):
        run(tmp_path, separator)
    assert separator.calls == []
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_file()] == []


def test_scratch_may_lie_elsewhere(tmp_path):
    run(tmp_path, Gains(), write=WriteSettings(format=FLOAT, scratch=tmp_path / "elsewhere" / "deep"))
    assert list((tmp_path / "elsewhere" / "deep").iterdir()) == []


def test_a_stem_file_needs_four_stems(tmp_path):
    choice = StemChoice(stems=("vocals", "bass"))
    with pytest.raises(UsageError, match="a stem file holds exactly four stems, not 2"):
        run(tmp_path, Gains(), write=WriteSettings(choice=choice, format=OutputFormat("stem.mp4")))


def test_older_stems_are_replaced_only_when_the_new_ones_are_whole(tmp_path):
    run(tmp_path, Gains())
    before = (tmp_path / "out" / "vocals.wav").read_bytes()
    with pytest.raises(MemoryExhausted):
        run(tmp_path, Forgetful(room=0))
    assert (tmp_path / "out" / "vocals.wav").read_bytes() == before
    run(tmp_path, Gains(gains=(0.1, 0.1, 0.1, 0.1)))
    assert (tmp_path / "out" / "vocals.wav").read_bytes() != before
