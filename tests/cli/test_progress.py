"""Bars on a terminal: one over the run, one for each track under way; moved by events alone."""

import os
import pty
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console as Terminal

from mss_cli.console.progress import Display
from mss_cli.events import (
    RunPlanned,
    TrackFailed,
    TrackFinished,
    TrackProgress,
    TrackStarted,
    Warned,
)
from signals import write_music

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen:
    """A display on a terminal of 120 columns that is a text, and a clock that goes when it is told to."""

    def __init__(self, rows=25):
        self.seconds = 0.0
        self.written = StringIO()
        terminal = Terminal(file=self.written, force_terminal=True, width=120, height=rows, color_system=None)
        self.display = Display(colour=False, terminal=terminal, clock=lambda: self.seconds)

    def lines(self):
        """Draw now and give the lines of the last picture, without what the bar itself is made of."""
        self.written.truncate(0)
        self.written.seek(0)
        self.display.draw()
        plain = ANSI.sub("", self.written.getvalue()).replace("\r", "")
        return [re.sub(r"\s*[━╸╺ ]{10,}\s*", " | ", line.strip()) for line in plain.splitlines() if line.strip()]


@pytest.fixture
def screen(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    shown = Screen()
    yield shown
    shown.display.close()


def planned(count, seconds):
    return RunPlanned(count, count, seconds, 0, 0, None)


def started(name, seconds=60.0):
    return TrackStarted(Path(name), 44100, 2, seconds)


def finished(name, seconds=60.0):
    samples = round(seconds * 44100)
    return TrackFinished(Path(name), (), 44100, samples, 1.0, "cpu", "fp32", 8.0, 1, 1.0)


def test_the_run_and_each_track_under_way_have_a_line(screen):
    for event in (planned(4, 240.0), started("in/a.wav"), started("in/b.wav")):
        screen.display(event)
    screen.seconds = 10.0
    screen.display(TrackProgress(Path("in/a.wav"), 30.0, 60.0))
    screen.display(TrackProgress(Path("in/b.wav"), 15.0, 60.0))
    over_all, first, second = screen.lines()
    # 45 of 240 s of audio in 10 s: 4.5 times real time, and (240 - 45) / 4.5 = 43 s for the rest.
    assert over_all.startswith("0 of 4 tracks")
    assert over_all.endswith("19% 4.5 times real time, 43 s left")
    assert (first.split()[0], first.split()[-1]) == ("a.wav", "50%")
    assert (second.split()[0], second.split()[-1]) == ("b.wav", "25%")


def test_a_track_that_is_over_leaves_the_screen_and_counts(screen):
    for event in (planned(3, 180.0), started("a.wav"), started("b.wav")):
        screen.display(event)
    screen.seconds = 30.0
    screen.display(finished("a.wav"))
    over_all, only = screen.lines()
    assert over_all.startswith("1 of 3 tracks")
    assert over_all.endswith("33% 2.0 times real time, 1 min 0 s left")
    assert only.startswith("b.wav")


def test_a_failed_track_takes_time_but_adds_no_speed(screen):
    for event in (planned(4, 240.0), started("a.wav"), TrackFailed(Path("a.wav"), 3, "no sound", None)):
        screen.display(event)
    screen.display(started("b.wav"))
    screen.seconds = 30.0
    screen.display(finished("b.wav"))
    assert screen.lines()[0].endswith("50% 2.0 times real time, 30 s left")


def test_one_track_alone_has_one_line_with_its_time_left(screen):
    for event in (planned(1, 60.0), started("song.wav")):
        screen.display(event)
    screen.seconds = 5.0
    screen.display(TrackProgress(Path("song.wav"), 20.0, 60.0))
    assert [re.sub(r" \| ", " ", line) for line in screen.lines()] == ["song.wav 33% 4.0 times real time, 10 s left"]


def test_tracks_of_unknown_length_are_counted(screen):
    for event in (planned(2, 0.0), started("a.wav", None)):
        screen.display(event)
    screen.seconds = 20.0
    screen.display(TrackProgress(Path("a.wav"), 40.0, None))
    screen.display(finished("a.wav", 40.0))
    assert screen.lines()[0].endswith("50% 2.0 times real time, 20 s left")


def test_a_track_that_is_tried_again_begins_anew(screen):
    for event in (planned(2, 120.0), started("a.wav"), TrackProgress(Path("a.wav"), 50.0, 60.0), started("a.wav")):
        screen.display(event)
    over_all, only = screen.lines()
    assert over_all.startswith("0 of 2 tracks")
    assert only.endswith("0%")


@pytest.mark.parametrize("name", ["[red]x[/b].wav", "line\nbreak\x1b[2J.wav", os.fsdecode(b"caf\xe9.wav"), "n" * 200])
def test_names_are_no_markup_and_break_no_line(screen, name):
    screen.display(planned(2, 120.0))
    screen.display(started(name))
    assert len(screen.lines()) == 2


def test_other_events_move_nothing(screen):
    screen.display(planned(2, 120.0))
    before = screen.lines()
    screen.display(Warned("nothing to see"))
    screen.display(TrackProgress(Path("never-started.wav"), 1.0, 2.0))
    assert screen.lines() == before


def run_on_terminal(arguments, folder, **environment):
    """Run the command with stderr on a terminal; give the exit status and what the terminal got."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mss_cli", "separate", *arguments], cwd=folder, stderr=theirs, stdout=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "30", **environment},
    )  # fmt: skip
    os.close(theirs)
    got = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        got += part
    os.close(ours)
    process.stdout.close()
    return process.wait(timeout=60), got.decode()


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_real_run_draws_them_on_a_terminal(tmp_path, jobs):
    for name in ("a.wav", "b.wav", "c.wav"):
        write_music(tmp_path / "in" / name, seconds=8.0)
    code, got = run_on_terminal(["in", "-o", "out", "--device", "cpu", "--threads", "1", "--jobs", jobs], tmp_path)
    assert code == 0
    plain = ANSI.sub("", got)
    assert "of 3 tracks" in plain
    assert re.search(r"\d+% \d+\.\d times real time, .* left", plain)
    assert "separated 3 of 3 tracks in " in plain
    assert got.rstrip().endswith("tracks in " + plain.rstrip().rpartition("tracks in ")[2])
    assert got.count("\x1b[?25l") == got.count("\x1b[?25h") > 0  # the cursor is back


def test_without_a_terminal_there_is_a_line_for_each_track_that_ended(tmp_path):
    for name in ("a.wav", "b.wav"):
        write_music(tmp_path / "in" / name, seconds=0.2)
    command = [sys.executable, "-m", "mss_cli", "separate", "in", "-o", "out", "--device", "cpu", "--jobs", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    first, second, last = done.stderr.splitlines()
    assert (first[:9], second[:9]) == ("in/a.wav:", "in/b.wav:")
    assert last.startswith("separated 2 of 2 tracks in ")
    assert "\x1b" not in done.stderr
    assert done.stdout == ""
