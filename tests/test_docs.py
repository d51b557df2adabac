"""The documents say what the program does."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mss_cli.errors import ExitCode
from mss_cli.events import EVENTS, StemWritten
from mss_cli.main import build

ROOT = Path(__file__).resolve().parents[1]
SCRIPTING = (ROOT / "docs" / "scripting.md").read_text()


@pytest.mark.parametrize("code", ExitCode, ids=lambda code: code.name)
def test_every_exit_code_is_documented(code):
    rows = [line for line in SCRIPTING.splitlines() if line.startswith("| ") and code.name in line]
    assert rows
    assert re.search(rf"\b{int(code)}\b", rows[0])


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_every_event_and_field_is_documented(event):
    row = next(line for line in SCRIPTING.splitlines() if line.startswith(f"| `{event.name}`"))
    for field in dataclasses.fields(event):
        assert f"`{field.name}`" in row


def test_every_documented_event_exists():
    named = re.findall(r"^\| `([a-z_]+)` \| .*\| `", SCRIPTING, flags=re.MULTILINE)
    assert set(named) == {event.name for event in EVENTS}


def test_the_fields_of_outputs_are_documented():
    sentence = next(line for line in SCRIPTING.splitlines() if line.startswith("Each of `outputs`"))
    assert set(re.findall(r"`(\w+)`", sentence)) >= {field.name for field in dataclasses.fields(StemWritten)}


def test_the_command_reference_is_current():
    text = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "make_cli.py")], capture_output=True, text=True, check=True
    ).stdout
    assert text == (ROOT / "docs" / "cli.md").read_text(), "run `python docs/make_cli.py > docs/cli.md`"


def test_every_command_is_named_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    names = [command.name for command in build().registered_commands]
    assert names
    assert [name for name in names if f"mss-cli {name}" not in readme] == []


def shell_lines(text):
    return [
        line.strip()
        for block in re.findall(r"```(?:sh|console)\n(.*?)```", text, flags=re.DOTALL)
        for line in block.splitlines()
        if line.strip().startswith("mss-cli ")
    ]


@pytest.mark.parametrize("line", shell_lines((ROOT / "README.md").read_text()))
def test_every_command_line_of_the_readme_works(line, tmp_path):
    from signals import write_music

    for name in ("song.mp3", "album/01.flac", "album/02.flac", "talk.wav"):
        write_music(tmp_path / name, seconds=0.5)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "mss-cli"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m mss_cli "$@"\n')
    command.chmod(0o755)
    import os

    done = subprocess.run(
        line.split("  #")[0],
        shell=True,
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


def test_the_python_page_runs_as_it_stands(tmp_path, monkeypatch):
    from signals import music, write_music

    page = (ROOT / "docs" / "python.md").read_text()
    code = re.search(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert code is not None
    monkeypatch.chdir(tmp_path)
    write_music(tmp_path / "song.flac", seconds=0.5)
    names = {"mixture": music(0.5, rate=48000).T}
    exec(code[1], names)
    assert names["stems"]["vocals"].shape == (2, 24000)
    assert (tmp_path / "stems" / "song" / "vocals.flac").is_file()
