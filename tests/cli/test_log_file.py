"""`--log-file`: every message, with its time, whatever stderr shows."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mss_cli.console.log_file import LogFile
from mss_cli.console.words import Level, Message
from mss_cli.main import main
from mss_cli.weights.manifest import DEFAULT
from signals import write_music

COMMAND = [sys.executable, "-m", "mss_cli", "separate", "--device", "cpu", "--jobs", "1"]
LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) (error|warning|info|debug) (\S.*)")


def lines_of(path):
    """Give level and text of every line; each must be one of ours."""
    return [LINE.fullmatch(line).groups()[1:] for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def separate(tmp_path, capsys):
    def run(*arguments):
        capsys.readouterr()
        flags = ["-o", tmp_path / "out", "--device", "cpu", "--jobs", "1", "--log-file", tmp_path / "run.log"]
        code = main(["separate", *map(str, [*flags, *arguments])])
        return code, capsys.readouterr().err.splitlines()

    return run


@pytest.fixture
def mixed(tmp_path):
    write_music(tmp_path / "in" / "good.wav", seconds=0.2)
    (tmp_path / "in" / "bad.wav").write_text("no sound\n")
    return tmp_path / "in"


def test_it_holds_the_words_of_stderr_and_those_of_verbose(mixed, separate, tmp_path):
    code, said = separate(mixed)
    assert code == 1
    kept = lines_of(tmp_path / "run.log")
    shown = [text if level == "info" else f"{level}: {text}" for level, text in kept if level != "debug"]
    assert shown == said
    details = [text for level, text in kept if level == "debug"]
    assert any(f"model `{DEFAULT}`, cpu" in text for text in details)
    assert details[-1] == "exit code 1"


def test_quiet_does_not_silence_it(mixed, separate, tmp_path):
    assert separate(mixed, "-q")[1] == [
        f"error: {text}" for level, text in lines_of(tmp_path / "run.log") if level == "error"
    ]


def test_the_next_run_appends(mixed, separate, tmp_path):
    separate(mixed)
    before = (tmp_path / "run.log").read_text()
    separate(mixed)
    assert (tmp_path / "run.log").read_text().startswith(before)
    assert any("done already" in text for _, text in lines_of(tmp_path / "run.log"))


def test_the_end_of_a_run_that_could_not_start_is_in_it(separate, tmp_path):
    code, said = separate("--stems", "harp", "x.wav")
    assert (code, len(said)) == (2, 1)
    assert ("error", said[0].removeprefix("error: ")) in lines_of(tmp_path / "run.log")


def test_it_has_no_colour_and_one_line_per_message(tmp_path, separate, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    song = tmp_path / "two\nlines\x1b[31m.wav"
    song.write_text("no sound\n")
    separate(song)
    text = (tmp_path / "run.log").read_text()
    assert "\x1b" not in text
    assert sum("two\\nlines\\x1b[31m.wav" in line for _, line in lines_of(tmp_path / "run.log")) >= 1


def test_what_was_said_before_a_kill_is_there(tmp_path):
    write_music(tmp_path / "in" / "a.wav", seconds=0.2)
    write_music(tmp_path / "in" / "b.wav", seconds=30.0)
    command = [*COMMAND, "in", "-o", "out", "--json", "--log-file", "run.log"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "track_started" and event["path"] == "in/b.wav":
                process.kill()
    texts = [text for _, text in lines_of(tmp_path / "run.log")]
    assert any(text.startswith("in/a.wav: vocals.wav") for text in texts)
    assert texts[-1].startswith("in/b.wav: 44100 Hz")


@pytest.mark.parametrize("place", ["no/such/run.log", "folder"])
def test_a_place_that_takes_none_is_refused_before_anything_starts(mixed, separate, tmp_path, place):
    (tmp_path / "folder").mkdir()
    code, said = separate(mixed, "--log-file", tmp_path / place)
    assert (code, len(said)) == (6, 1)
    assert "`--log-file`" in said[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_that_fills_ends_the_log_and_not_the_run(tmp_path, separate):
    song = write_music(tmp_path / "song.wav", seconds=0.2)
    code, said = separate(song, "--log-file", "/dev/full")
    assert code == 0
    assert [line for line in said if "the log ends here" in line] == [
        "warning: the log ends here: /dev/full: cannot write: disk full; check `--log-file`"
    ]


def test_times_are_in_utc(tmp_path):
    log = LogFile(tmp_path / "run.log", clock=lambda: datetime(2026, 11, 20, 21, 4, 11, tzinfo=UTC))
    log.write(Message(Level.INFO, "over"))
    log.close()
    assert (tmp_path / "run.log").read_text() == "2026-11-20T21:04:11Z info over\n"


def test_lines_of_runs_that_share_it_do_not_mix(tmp_path):
    script = (
        "import sys; from pathlib import Path; from mss_cli.console.log_file import LogFile\n"
        "from mss_cli.console.words import Level, Message\n"
        "log = LogFile(Path('run.log'))\n"
        "for _ in range(300): log.write(Message(Level.INFO, sys.argv[1] * 9000))\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", script, letter], cwd=tmp_path) for letter in "abc"]
    assert [run.wait(timeout=60) for run in runs] == [0, 0, 0]
    texts = [text for _, text in lines_of(tmp_path / "run.log")]
    assert sorted(texts) == [letter * 9000 for letter in "abc" for _ in range(300)]
