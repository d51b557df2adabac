"""Records: strict, whole, last; and what they decide."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss_cli.batch.decisions import Action, Policy, Wanted, decide, verify
from mss_cli.batch.records import (
    Circumstances,
    MadeBy,
    Record,
    Settings,
    check_unchanged,
    read_content,
    read_record,
    refresh_record,
    retire_record,
    write_record,
    written_files,
)
from mss_cli.errors import InputError, OutputError

MODEL = MadeBy("classical", "a" * 64)
SETTINGS = Settings(("vocals", "bass"), "wav", "int16", None, "rescale", "auto", None, 0.25, 0, 0, False, None)
HOW = Circumstances("0.1.0", "cpu", "fp32", 2, 8.0, 1, 1.0)


class Done:
    """A track of which everything is done."""

    def __init__(self, folder, name="x"):
        self.input = folder / f"{name}.wav"
        self.input.write_bytes(b"mixture")
        self.stems = tuple(folder / "out" / name / f"{stem}.wav" for stem in SETTINGS.stems)
        self.record = self.stems[0].parent / f"{name}.mss.json"
        self.wanted = Wanted(MODEL, SETTINGS, self.stems)
        self.stems[0].parent.mkdir(parents=True)
        self.separate()

    def separate(self, content=b"stem"):
        source = read_content(self.input)
        retire_record(self.record)
        for stem in self.stems:
            stem.write_bytes(content)
        files = written_files(self.record.parent, list(zip(SETTINGS.stems, self.stems, self.stems, strict=True)))
        write_record(self.record, Record(self.input, source, MODEL, SETTINGS, HOW, files))

    def decide(self, **options):
        return decide(self.input, self.record, self.wanted, **options)


@pytest.fixture
def done(tmp_path):
    return Done(tmp_path)


def later(path, seconds=5):
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + seconds * 10**9 + 1))


def test_a_finished_track_is_skipped(done):
    before = done.record.read_bytes()
    assert done.decide().action == Action.SKIP
    assert done.record.read_bytes() == before


def test_another_size_is_done_again(done):
    done.input.write_bytes(b"longer mixture")
    assert done.decide().reason == "the input has another size"


def test_other_content_of_the_same_size_is_done_again(done):
    done.input.write_bytes(b"MIXTURE")
    later(done.input)
    assert done.decide() == replace(done.decide(), action=Action.SEPARATE, reason="the input has other content")


def test_another_time_alone_refreshes_the_record_once(done):
    later(done.input)
    decision = done.decide()
    assert decision.action == Action.REFRESH
    refresh_record(done.record, decision.record)
    assert done.decide().action == Action.SKIP


def test_a_nanosecond_is_another_time(done):
    status = done.input.stat()
    os.utime(done.input, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert done.decide().action == Action.REFRESH


def test_only_checksum_sees_content_changed_under_the_same_time(done):
    status = done.input.stat()
    done.input.write_bytes(b"MIXTURE")
    os.utime(done.input, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert done.decide().action == Action.SKIP
    assert done.decide(checksum=True).reason == "the input has other content"


def test_a_stem_that_is_missing_or_short_is_done_again(done):
    content = done.stems[1].read_bytes()
    done.stems[1].write_bytes(content[:-1])
    assert done.decide().reason == "`bass.wav` has 3 bytes instead of 4"
    done.stems[1].unlink()
    assert done.decide().reason == "`bass.wav` is missing"


def test_a_stem_of_another_run_does_not_fit_the_record(done):
    done.stems[0].write_bytes(b"MINE")
    later(done.stems[0])
    assert done.decide().reason == "`vocals.wav` has other content"


def test_a_folder_copied_without_its_times_is_still_done(done):
    for stem in done.stems:
        later(stem)
    decision = done.decide()
    assert decision.action == Action.REFRESH
    refresh_record(done.record, decision.record)
    assert done.decide().action == Action.SKIP


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
def test_every_setting_counts(done, name):
    other = {"stems": ("drums",), "format": "flac", "depth": "int24", "clip": "none", "precision": "bf16"}
    value = other.get(name, "b" * 64 if name.endswith("sha256") else None)
    if value is None:
        value = 7 if getattr(SETTINGS, name) in (None, 0, 0.25) and getattr(SETTINGS, name) is not False else True
    done.wanted = replace(done.wanted, settings=replace(SETTINGS, **{name: value}))
    assert done.decide().reason == f"other settings: {name}"
    assert done.decide(policy=Policy.IF_MISSING).action == Action.SKIP


def test_other_weights_count(done):
    done.wanted = replace(done.wanted, model=MadeBy("classical", "b" * 64))
    assert done.decide().reason == "another model or other weights"


def test_an_output_not_asked_for_then_is_made(done):
    done.wanted = replace(done.wanted, outputs=(*done.stems, done.stems[0].with_name("spectrogram.png")))
    for policy in (Policy.IF_CHANGED, Policy.IF_MISSING):
        assert done.decide(policy=policy).reason == "`spectrogram.png` was not asked for then"


def test_if_missing_looks_at_no_input(done):
    done.input.unlink()
    assert done.decide(policy=Policy.IF_MISSING).action == Action.SKIP
    done.stems[0].unlink()
    assert done.decide(policy=Policy.IF_MISSING).action == Action.SEPARATE


def test_overwrite_always_does(done):
    assert done.decide(policy=Policy.OVERWRITE).action == Action.SEPARATE


def test_an_input_that_vanished_is_an_error_of_the_input(done):
    done.input.unlink()
    with pytest.raises(InputError, match="no such file"):
        done.decide()


def test_an_input_replaced_between_reading_and_writing_is_refused(done):
    content = read_content(done.input)
    check_unchanged(done.input, content)
    later(done.input)
    with pytest.raises(InputError, match="changed while it was separated"):
        check_unchanged(done.input, content)


def test_no_record_is_written_over_stems_of_another_run(done):
    record = read_record(done.record)
    retire_record(done.record)
    done.stems[1].write_bytes(b"BASS")
    later(done.stems[1])
    with pytest.raises(OutputError, match=r"bass\.wav: replaced by another run"):
        write_record(done.record, record)
    assert not done.record.exists()


def test_a_file_that_is_gone_or_lies_elsewhere_is_named(done):
    folder = done.record.parent
    with pytest.raises(OutputError, match=r"gone\.wav: cannot be read again: no such file"):
        written_files(folder, [("vocals", folder / "gone.part", folder / "gone.wav")])
    with pytest.raises(OutputError, match="lies outside its record's folder"):
        written_files(folder, [("vocals", done.input, done.input)])


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=20).filter(
    lambda text: text not in (".", "..")
)
NAME = st.one_of(
    TEXT,
    st.binary(min_size=1, max_size=20)
    .filter(lambda b: not set(b) & {0, 47} and b not in (b".", b".."))
    .map(os.fsdecode),
)


@given(name=NAME, stem=TEXT, mtime=st.integers(-(2**62), 2**62), gain=st.floats(0.01, 1.0))
def test_a_record_comes_back_as_it_was_written(tmp_path_factory, name, stem, mtime, gain):
    folder = tmp_path_factory.mktemp("record")
    (folder / name).write_bytes(b"x")
    files = written_files(folder, [(stem, folder / name, folder / name)])
    record = Record(
        Path(name),
        replace(files[0].content, mtime_ns=mtime),
        MadeBy(stem, None),
        SETTINGS,
        replace(HOW, gain=gain),
        files,
    )
    path = folder / "\N{OGHAM SPACE MARK}record.mss.json"
    write_record(path, record)
    assert read_record(path) == record
    assert sorted(path.name for path in folder.iterdir()) == sorted([name, path.name])
    shutil.rmtree(folder)


def edits():
    def change(*keys, value):
        def edit(content):
            for key in keys[:-1]:
                content = content[key]
            content[keys[-1]] = value

        return edit

    yield change("schema", value=2)
    yield change("schema", value=True)
    yield change("input", "size_bytes", value=-1)
    yield change("input", "size_bytes", value=1.0)
    yield change("input", "sha256", value="A" * 64)
    yield change("stems", value=[])
    yield change("stems", value={})
    yield change("stems", 0, "path", value="../vocals.wav")
    yield change("stems", 0, "path", value="/etc/passwd")
    yield change("stems", 0, "path", value="bass.wav")
    yield change("stems", 0, "path_b64", value="%")
    yield change("settings", "overlap", value="0.25")
    yield change("settings", "downmix", value=0)
    yield lambda content: content["settings"].pop("depth")
    yield lambda content: content.pop("model")


@pytest.mark.parametrize("edit", list(edits()), ids=range(15))
def test_a_record_with_one_wrong_field_is_none(done, edit):
    content = json.loads(done.record.read_text())
    edit(content)
    done.record.write_text(json.dumps(content))
    assert read_record(done.record) is None
    assert done.decide().reason == "no record"


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"\xff", b'{"schema":1,"schema":1}', b"[" * 100_000, b'{"schema":NaN}', b" " * (1 << 21)]
)
def test_what_is_no_record_is_none(done, raw):
    done.record.write_bytes(raw)
    assert read_record(done.record) is None


@given(cut=st.integers(0, 2000), flip=st.integers(0, 255))
def test_a_damaged_record_is_never_an_error(tmp_path_factory, cut, flip):
    folder = tmp_path_factory.mktemp("damaged")
    done = Done(folder)
    raw = bytearray(done.record.read_bytes())
    raw[cut % len(raw)] ^= flip
    done.record.write_bytes(raw[: cut or None])
    assert done.decide().action in Action
    shutil.rmtree(folder)


def test_fields_of_later_versions_are_no_trouble(done):
    content = json.loads(done.record.read_text())
    content["new"] = content["settings"]["new"] = 1
    done.record.write_text(json.dumps(content))
    assert done.decide().action == Action.SKIP


def test_verify_hashes_what_decide_only_measures(done, tmp_path):
    status = done.stems[0].stat()
    done.stems[0].write_bytes(b"STEM")
    os.utime(done.stems[0], ns=(status.st_atime_ns, status.st_mtime_ns))
    assert done.decide().action == Action.SKIP
    other = Done(tmp_path, "y")
    broken = Done(tmp_path, "z")
    broken.record.write_bytes(b"{")
    found = list(verify(tmp_path / "out"))
    assert [(item.record, item.files, item.troubles) for item in found] == [
        (done.record, 2, ("`vocals.wav` has other content",)),
        (other.record, 2, ()),
        (broken.record, 0, ("the record cannot be read",)),
    ]
    with pytest.raises(InputError, match="no such folder"):
        list(verify(tmp_path / "none"))


def test_a_record_for_which_there_is_no_room_leaves_the_old_one(done):
    record = read_record(done.record)
    before = done.record.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OutputError, match="larger than the file system allows"):
            refresh_record(done.record, record)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert done.record.read_bytes() == before
    assert sorted(path.name for path in done.record.parent.iterdir()) == ["bass.wav", "vocals.wav", "x.mss.json"]


WRITER = """
import sys
from pathlib import Path
from mss_cli.batch.records import read_record, refresh_record
path = Path(sys.argv[1])
record = read_record(path)
print("ready", flush=True)
while True:
    refresh_record(path, record)
"""


def test_a_writer_killed_at_any_time_leaves_a_whole_record(done):
    whole = read_record(done.record)
    for wait in (0.0, 0.003, 0.007, 0.013):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(done.record)], stdout=subprocess.PIPE)
        with writer:
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(wait)
            writer.kill()
        assert read_record(done.record) == whole
