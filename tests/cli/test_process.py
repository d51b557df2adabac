"""The program as a process: start-up, pipes, signals, a full disk."""

import io
import json
import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from mss_cli.weights.manifest import DEFAULT
from signals import write_music

COMMAND = [sys.executable, "-m", "mss_cli"]
HEAVY = ("torch", "numpy", "scipy", "librosa", "rich.progress", "soundfile", "av", "matplotlib")


def run(*arguments, **settings):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, timeout=120, check=False, **settings)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["separate", "--help"], 0),
        (["separate", "a.wav", "--modle", "x"], 2),
        (["separate", "no-such-file.wav"], 3),
        (["separate", "a.wav", "-m", "clasical"], 2),
        (["models"], 0),
    ],
    ids=str,
)
def test_quick_answers_import_nothing_heavy(arguments, code):
    source = (
        "import sys\nfrom mss_cli.main import main\n"
        f"code = main({arguments!r})\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "print('HEAVY', heavy, file=sys.stderr)\nsys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code
    assert done.stderr.strip().endswith("HEAVY []")


def test_one_stem_goes_through_a_pipe_as_float_wav(tmp_path):
    song = write_music(tmp_path / "song.wav", seconds=1.0)
    done = run("separate", "-", "--output", "-", "--stems", "drums", input=song.read_bytes())
    assert done.returncode == 0
    piped, rate = soundfile.read(io.BytesIO(done.stdout), always_2d=True)
    assert run("separate", song, "-o", tmp_path / "out", "--float32").returncode == 0
    written, _ = soundfile.read(tmp_path / "out" / "song" / "drums.wav", always_2d=True)
    assert rate == 44100
    np.testing.assert_array_equal(piped, written)
    assert "-: drums to stdout (" in done.stderr.decode()


def test_text_on_stdin_is_refused():
    done = run("separate", "-", "--output", "-", "--stems", "drums", input=b"no audio\n" * 100)
    assert done.returncode == 3
    assert done.stdout == b""
    assert done.stderr.decode().startswith("error: -: ")


def test_a_reader_that_goes_away_ends_the_run_silently(tmp_path):
    song = write_music(tmp_path / "song.wav", seconds=20.0)
    process = subprocess.Popen(
        [*COMMAND, "separate", str(song), "--output", "-", "--stems", "drums"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.read(10)
    process.stdout.close()
    errors = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(timeout=60) == 141
    assert "Traceback" not in errors
    assert "error" not in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_the_run_by_that_signal_and_leaves_nothing(tmp_path, number):
    song = write_music(tmp_path / "song.wav", seconds=120.0)
    process = subprocess.Popen(
        [*COMMAND, "separate", str(song), "-o", str(tmp_path / "out"), "--json", "--segment-seconds", "4"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    lines = []
    for line in process.stdout:
        lines.append(json.loads(line))
        if lines[-1]["event"] == "track_progress":
            process.send_signal(number)
            break
    lines += [json.loads(line) for line in process.stdout]
    process.stdout.close()
    assert process.wait(timeout=60) == -number
    assert lines[-1]["event"] == "run_finished"
    assert lines[-1]["exit_code"] == 128 + number
    assert not (tmp_path / "out").exists()


def test_an_ignored_hangup_stays_ignored(tmp_path):
    song = write_music(tmp_path / "song.wav", seconds=30.0)
    process = subprocess.Popen(
        [*COMMAND, "separate", str(song), "-o", str(tmp_path / "out"), "--json", "--segment-seconds", "4"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    for line in process.stdout:
        if json.loads(line)["event"] == "track_started":
            process.send_signal(signal.SIGHUP)
    process.stdout.close()
    assert process.wait(timeout=120) == 0


def test_a_full_disk_is_one_line_and_leaves_no_stem(tmp_path):
    song = write_music(tmp_path / "song.wav", seconds=10.0)

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    done = run("separate", song, "-o", tmp_path / "out", preexec_fn=small_files)
    assert done.returncode == 6
    errors = done.stderr.decode().strip().splitlines()
    assert "too large" in errors[-1] or "larger than" in errors[-1]
    assert "Traceback" not in done.stderr.decode()
    left = [path.name for path in sorted((tmp_path / "out").rglob("*"))]
    assert left == [".mss-cli", "failed.json"]  # for `--retry-failed`


def test_names_that_are_no_text_are_separated_and_told_byte_by_byte(tmp_path):
    import base64

    name = b"caf\xe9 \n.wav"
    path = os.path.join(os.fsencode(tmp_path), name)  # noqa: PTH118
    os.rename(write_music(tmp_path / "plain.wav", seconds=0.3), path)  # noqa: PTH104
    done = subprocess.run(
        [*COMMAND, "separate", path, "-o", str(tmp_path / "out"), "--json"], capture_output=True, check=False
    )
    assert done.returncode == 0
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    started = next(event for event in seen if event["event"] == "track_started")
    assert base64.b64decode(started["path_b64"]) == path
    assert os.path.isfile(os.path.join(os.fsencode(tmp_path), b"out", b"caf\xe9 \n", b"bass.wav"))  # noqa: PTH113, PTH118
    assert len([line for line in done.stderr.splitlines() if b"caf" in line]) == 1


def test_no_colour_and_no_bar_where_there_is_no_terminal(tmp_path):
    song = write_music(tmp_path / "song.wav", seconds=0.3)
    done = run("separate", song, "-o", tmp_path / "out")
    assert b"\x1b" not in done.stderr
    assert run("separate", song, "-o", tmp_path / "out", "--quiet").stderr == b""


def test_a_terminal_shows_a_bar_with_time_left(tmp_path):
    import pty

    song = write_music(tmp_path / "[song].wav", seconds=60.0)
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "separate", str(song), "-o", str(tmp_path / "out"), "--segment-seconds", "5"],
        stdout=subprocess.DEVNULL,
        stderr=slave,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"},
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(master)
    assert process.wait(timeout=120) == 0
    assert b"[song].wav" in shown
    assert "━".encode() in shown
    assert b"times real time" in shown


def test_completion_can_be_shown():
    done = run("--show-completion", "bash", env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})
    assert done.returncode == 0
    assert b"mss-cli" in done.stdout or b"complete" in done.stdout


def test_doctor_passes_its_self_test():
    done = run("doctor", "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["self_test"]["passed"] is True
    assert set(found) == {"versions", "devices", "inputs", "outputs", "weights", "self_test"}
    assert b"self test" in run("doctor").stdout


def test_models_are_listed_as_one_array():
    listed = json.loads(run("models", "--json").stdout)
    assert [entry["name"] for entry in listed if entry["default"]] == [DEFAULT]


def test_progress_comes_at_most_once_a_second(tmp_path):
    song = write_music(tmp_path / "song.wav", seconds=40.0)
    started = time.monotonic()
    done = run("separate", song, "-o", tmp_path / "out", "--json", "--segment-seconds", "2")
    elapsed = time.monotonic() - started
    progress = [line for line in done.stdout.splitlines() if b"track_progress" in line]
    assert len(progress) <= elapsed


def test_events_stay_on_stdout_while_a_terminal_shows_the_bar(tmp_path):
    import pty

    song = write_music(tmp_path / "song.wav", seconds=20.0)
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "separate", str(song), "-o", str(tmp_path / "out"), "--json", "--segment-seconds", "3"],
        stdout=subprocess.PIPE,
        stderr=slave,
        text=True,
        env={**os.environ, "TERM": "xterm-256color"},
    )
    os.close(slave)
    kinds = [json.loads(line)["event"] for line in process.stdout]
    process.stdout.close()
    os.close(master)
    assert process.wait(timeout=60) == 0
    assert kinds[-2:] == ["track_finished", "run_finished"]


@pytest.mark.parametrize("closing", ["<&- >&- 2>&-", ">&-", "2>&-", "2>/dev/full"])
def test_streams_that_are_closed_or_full_do_not_stop_the_work(tmp_path, closing):
    song = write_music(tmp_path / "song.wav", seconds=0.5)
    line = f"{sys.executable} -m mss_cli separate {song} -o {tmp_path / 'out'} {closing}"
    assert subprocess.run(line, shell=True, timeout=60, check=False).returncode == 0
    assert len(list((tmp_path / "out" / "song").glob("*.wav"))) == 4


@pytest.mark.parametrize(
    "arguments", ["separate {song} --json -o {out}", "separate {song} -o - --stems bass", "models"]
)
def test_a_full_stdout_is_an_output_error(tmp_path, arguments):
    song = write_music(tmp_path / "song.wav", seconds=0.5)
    line = arguments.format(song=song, out=tmp_path / "out")
    done = subprocess.run(
        f"{sys.executable} -m mss_cli {line} >/dev/full", shell=True, stderr=subprocess.PIPE, timeout=60, check=False
    )
    assert done.returncode == 6
    assert b"Traceback" not in done.stderr
    assert b"bug" not in done.stderr


def test_a_file_called_dash_is_not_stdin(tmp_path):
    write_music(tmp_path / "song.wav", seconds=0.3).rename(tmp_path / "-")
    done = run(
        "separate", "./-", "-o", "out", cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert done.returncode == 0
    assert (tmp_path / "out" / "-" / "bass.wav").is_file()


@pytest.mark.parametrize("suffix", ["mp3", "wav"])
def test_a_signal_that_meets_a_decoder_s_callback_is_not_lost(tmp_path, suffix, monkeypatch, capfd):
    import av

    from mss_cli.audio import libav
    from mss_cli.errors import Interruption
    from mss_cli.main import _signals

    path = write_music(tmp_path / "song.wav", seconds=20.0)
    if suffix == "mp3":
        path = tmp_path / "song.mp3"
        with av.open(str(tmp_path / "song.wav")) as source, av.open(str(path), "w") as target:
            stream = target.add_stream("libmp3lame", rate=44100)
            for frame in source.decode(audio=0):
                target.mux(stream.encode(frame))
            target.mux(stream.encode(None))
    reads = 0
    read = libav._Source.read

    def and_a_signal(self, size):
        nonlocal reads
        reads += 1
        if reads == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return read(self, size)

    and_a_signal.__qualname__ = "_Source.read"
    and_a_signal.__code__ = and_a_signal.__code__.replace(co_qualname="_Source.read")
    monkeypatch.setattr(libav._Source, "read", and_a_signal)
    with _signals(), pytest.raises(Interruption):
        decode_and_wait(libav, path)
    assert reads >= 2
    assert capfd.readouterr().err == ""


def decode_and_wait(libav, path):
    with libav.open_input(path) as container:
        for _ in container.decode(audio=0):
            pass
    time.sleep(1)  # a short file may be decoded before the second try
