"""docs/schedule.md: units, cron lines and the SLURM script run, as the page says."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from signals import write_music

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "schedule.md").read_text(encoding="utf-8")
SONGS = ("Café.wav", "a b.wav")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def home(tmp_path):
    """A home folder with music and the command."""
    for name in SONGS:
        write_music(tmp_path / "music" / name, seconds=0.1)
    command = tmp_path / ".local" / "bin" / "mss-cli"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m mss_cli "$@"\n')
    command.chmod(0o755)
    return tmp_path


def run(arguments, home, **environment):
    """Run with cron's environment, no locale and a short PATH, in one process with one thread."""
    poor = {
        "MSS_CLI_JOBS": "1",
        "MSS_CLI_THREADS": "1",
        "HOME": str(home),
        "LOGNAME": "somebody",
        "SHELL": "/bin/sh",
        "PATH": "/usr/bin:/bin",
        **environment,
    }
    return subprocess.run(arguments, cwd=home, env=poor, capture_output=True, stdin=subprocess.DEVNULL, check=False)


def statuses(path):
    return sorted(row["status"] for row in json.loads(path.read_text(encoding="utf-8"))["tracks"])


def tracks(home):
    return sorted(path.parent.name for path in (home / "stems").rglob("vocals.wav"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_systemd_takes_the_units(home):
    service, timer = blocks("ini")
    units = home / "units"
    units.mkdir()
    (units / "stems.service").write_text(service.replace("%h", str(home)))
    (units / "stems.timer").write_text(timer)
    done = run(["systemd-analyze", "verify", "--man=no", units / "stems.service", units / "stems.timer"], home)
    assert (done.returncode, [line for line in done.stderr.decode().splitlines() if "stems." in line]) == (0, [])
    moment = re.search(r"OnCalendar=(.*)", timer)[1]
    assert run(["systemd-analyze", "calendar", moment], home).returncode == 0


def test_the_command_of_the_service_works_without_a_shell(home):
    line = re.search(r"ExecStart=(.*)", blocks("ini")[0])[1]
    done = run([word.replace("%h", str(home)) for word in line.split()], home)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert tracks(home) == sorted(Path(name).stem for name in SONGS)


def test_the_cron_lines_work_in_the_environment_of_cron(home):
    nightly, weekly = (block.strip() for block in blocks("crontab"))
    assert "%" not in nightly + weekly  # it would end the line
    # On a busy machine a run with `--nice 10` waits for minutes, and what is tried here does not depend on it.
    moment = re.compile(r"(?:[0-9*]+ ){5}(.* )--nice 1[0-9]( .*)")
    nightly, weekly = (moment.fullmatch(line).expand(r"\1--nice 1\2") for line in (nightly, weekly))
    (home / "music" / "a b.wav").write_text("no sound\n")
    done = run(["/bin/sh", "-c", nightly], home)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert statuses(home / "stems.json") == ["done", "failed"]
    assert tracks(home) == ["Café"]
    write_music(home / "music" / "a b.wav", seconds=0.1)
    done = run(["/bin/sh", "-c", weekly], home)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert tracks(home) == ["Café", "a b"]
    assert (home / "stems.log").read_text(encoding="utf-8").count("exit code") == 2


def test_the_tasks_of_the_slurm_script_do_every_track_once(home):
    (script,) = blocks("bash")
    shares = int(re.search(r"--array=1-(\d+)", script)[1])
    assert int(re.search(r"^shares=(\d+)", script, flags=re.MULTILINE)[1]) == shares
    count = len(SONGS)  # of shares here: each is a run
    (home / "stems.sh").write_text(script.replace(f"shares={shares}", f"shares={count}"))
    assert run(["bash", "-n", "stems.sh"], home).returncode == 0
    path = os.pathsep.join([str(home / ".local" / "bin"), "/usr/bin", "/bin"])
    for task in range(1, count + 1):
        done = run(["bash", "stems.sh"], home, PATH=path, SLURM_ARRAY_TASK_ID=str(task))
        assert (done.returncode, done.stderr) == (0, b"")
        assert statuses(home / f"stems-{task}.json") == ["done"]
    assert tracks(home) == ["Café", "a b"]
    assert run(["bash", "stems.sh", "--retry-failed"], home, PATH=path, SLURM_ARRAY_TASK_ID="2").returncode == 0
