"""Two runs on one track without a working lock: stopped anywhere, mixed stems never pass for done."""

import itertools
import os

from mss_cli.batch.decisions import Action, Wanted, decide
from mss_cli.batch.records import (
    Circumstances,
    MadeBy,
    Record,
    Settings,
    read_content,
    retire_record,
    write_record,
    written_files,
)
from mss_cli.errors import OutputError
from mss_cli.files import temporary_name

SETTINGS = Settings(("vocals", "bass"), "wav", "int16", None, "rescale", "auto", None, 0.25, 0, 0, False, None)
HOW = Circumstances("0.1.0", "cpu", "fp32", 2, 8.0, 1, 1.0)
MODEL = MadeBy("classical", None)


def steps_of_a_run(folder, content, clock):
    """Do one track as a worker does, a step at a time; `content` tells whose stems they are."""
    record = folder / "x.mss.json"
    source = read_content(folder / "x.wav")
    temporary = {}
    for stem in SETTINGS.stems:
        target = folder / f"{stem}.wav"
        name = temporary_name(target)
        name.write_bytes(content)
        time = next(clock)  # coarse clocks of file systems would make a quick test see one time
        os.utime(name, ns=(time, time))
        temporary[name] = target
    files = written_files(folder, [(target.stem, name, target) for name, target in temporary.items()])
    yield
    retire_record(record)
    yield
    for name, target in temporary.items():
        name.replace(target)
        yield
    write_record(record, Record(folder / "x.wav", source, MODEL, SETTINGS, HOW, files))


def go_on(run):
    try:
        next(run)
    except (StopIteration, OutputError):
        return False
    return True


def is_done(folder):
    outputs = tuple(folder / f"{stem}.wav" for stem in SETTINGS.stems)
    return decide(folder / "x.wav", folder / "x.mss.json", Wanted(MODEL, SETTINGS, outputs)).action != Action.SEPARATE


def test_in_every_order_a_track_that_counts_as_done_is_of_one_run(tmp_path):
    # All ways to shuffle two runs of five steps. A run that is killed just takes no more steps, so the states on the
    # way are those of killed runs too.
    met = 0
    for first in itertools.combinations(range(10), 5):
        folder = tmp_path / "".join(map(str, first))
        folder.mkdir()
        (folder / "x.wav").write_bytes(b"mixture")
        clock = itertools.count(10**18, 10**7)
        runs = [steps_of_a_run(folder, content, clock) for content in (b"one", b"two")]
        for step in range(10):
            go_on(runs[step not in first])
            stems = [folder / f"{stem}.wav" for stem in SETTINGS.stems]
            contents = {stem.read_bytes() for stem in stems if stem.exists()}
            met += len(contents) == 2 and (folder / "x.mss.json").exists()
            assert not is_done(folder) or len(contents) == 1
    assert met > 0  # a record beside stems of two runs does occur, and was not taken for done


def test_a_run_completes_whatever_two_killed_ones_left(tmp_path):
    for steps in itertools.product(range(6), repeat=2):
        folder = tmp_path / "".join(map(str, steps))
        folder.mkdir()
        (folder / "x.wav").write_bytes(b"mixture")
        clock = itertools.count(10**18, 10**7)
        for content, count in zip((b"one", b"two"), steps, strict=True):
            run = steps_of_a_run(folder, content, clock)
            for _ in range(count):
                go_on(run)
        last = steps_of_a_run(folder, b"end", clock)
        while go_on(last):
            pass
        assert is_done(folder)
        assert (folder / "bass.wav").read_bytes() == b"end"


def test_one_after_the_other_both_count_as_done(tmp_path):
    (tmp_path / "x.wav").write_bytes(b"mixture")
    clock = itertools.count(10**18, 10**7)
    for content in (b"one", b"two"):
        run = steps_of_a_run(tmp_path, content, clock)
        while go_on(run):
            pass
        assert is_done(tmp_path)
        assert (tmp_path / "bass.wav").read_bytes() == content
