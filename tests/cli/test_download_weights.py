"""`download-weights` as a user meets it: codes, lines, and what lies in the cache afterwards."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mss_cli.main import main
from mss_cli.weights import published, transfer
from signals import write_music
from weights_server import Fault, serving, speech_files, write_manifest

ROOT = Path(__file__).resolve().parents[2]
FILES = speech_files()
# Runs a command line in another process, with the manifest of a test and little patience.
DRIVER = """
import sys
from mss_cli.weights import published, transfer
published._DATA = sys.argv[1]
transfer.PATIENCE = transfer.Patience(timeout_seconds=2, tries=3, first_wait_seconds=0.01, longest_wait_seconds=0.02)
from mss_cli.main import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def server():
    with serving(FILES) as running:
        yield running


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MSS_CLI_WEIGHTS_DIR", str(tmp_path / "cache"))
    for name in ("MSS_CLI_OFFLINE", "MSS_CLI_MIRROR", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    quick = transfer.Patience(timeout_seconds=2, tries=2, first_wait_seconds=0.01, longest_wait_seconds=0.02)
    monkeypatch.setattr(transfer, "PATIENCE", quick)
    return tmp_path / "cache"


@pytest.fixture
def manifest(tmp_path, monkeypatch, cache, server):
    """Makes a manifest with one small model, on the server of the test, the one that is known."""

    def write(**settings):
        path = write_manifest(tmp_path / "published.toml", server.url, FILES, **settings)
        monkeypatch.setattr(published, "_DATA", str(path))
        published.manifest.cache_clear()
        return path

    write()
    yield write
    published.manifest.cache_clear()


def start(manifest_path, *arguments, **settings):
    path = os.pathsep.join([str(ROOT), str(ROOT / "models")])
    command = [sys.executable, "-c", DRIVER, str(manifest_path), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes, **settings)


def names(cache):
    folder = cache / "tinyse"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


WHOLE = ["noise.pth", "receipt.json", "speech.pth", "tinyse.safetensors"]


def test_a_model_is_fetched_made_ready_and_named(manifest, cache, capsys):
    assert main(["download-weights", "tinyse"]) == 0
    assert names(cache) == WHOLE
    out, err = capsys.readouterr()
    assert out == f"tinyse: {cache / 'tinyse' / 'tinyse.safetensors'}\n"
    assert "fetching 2 files" in err
    assert "from 127.0.0.1; licence: test licence" in err


def test_what_is_there_is_not_fetched_again(manifest, cache, server, capsys):
    assert main(["download-weights", "tinyse"]) == 0
    asked = len(server.requests)
    assert main(["download-weights", "tinyse", "-q"]) == 0
    assert len(server.requests) == asked


def test_a_wrong_hash_ends_with_code_5_and_no_file(manifest, cache, server, capsys):
    wrong = FILES["speech.pth"][:-1] + b"?"
    server.fault("speech.pth", Fault(content=wrong, times=None))
    assert main(["download-weights", "tinyse"]) == 5
    assert "speech.pth: cannot be downloaded (127.0.0.1: SHA-256 differs: expected " in capsys.readouterr().err
    assert names(cache) == []


def test_a_server_that_is_gone_ends_with_code_75(manifest, cache, server, capsys):
    server.close()
    assert main(["download-weights", "tinyse"]) == 75
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: speech.pth: cannot be downloaded (127.0.0.1: connection refused)")
    assert "try again later" in line
    assert names(cache) == []


def test_the_mirror_is_asked_first(manifest, cache, server):
    assert main(["download-weights", "tinyse", "--mirror", f"{server.url}/near/"]) == 0
    assert [path for path, _ in server.requests] == ["/near/speech.pth", "/near/noise.pth"]
    assert names(cache) == WHOLE


def test_a_mirror_without_the_file_is_passed_over(manifest, cache, server, capsys):
    server.fault("speech.pth", Fault(status=404))
    assert main(["download-weights", "tinyse", "--mirror", f"{server.url}/near"]) == 0
    assert [path for path, _ in server.requests][:2] == ["/near/speech.pth", "/speech.pth"]
    assert "404 not found" in capsys.readouterr().err


def test_a_full_disk_ends_with_code_6_and_no_file(manifest, cache, server):
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    running = start(manifest(), "download-weights", "tinyse", preexec_fn=small_files)
    _, err = running.communicate(timeout=100)
    assert running.returncode == 6
    assert "larger than the file system allows; free some space, or choose another folder with `--dir`" in err
    assert not [name for name in names(cache) if not name.startswith(".")]
    later = start(manifest(), "download-weights", "tinyse")
    assert later.wait(timeout=100) == 0
    later.communicate()
    assert names(cache) == WHOLE
    assert ("/speech.pth", "bytes=20000-") in server.requests, "what was there was used"


def test_of_two_processes_at_once_one_fetches(manifest, cache, server):
    path = manifest()
    server.fault("speech.pth", Fault(slow_bytes=2000))
    both = [start(path, "download-weights", "tinyse") for _ in range(2)]
    told = [one.communicate(timeout=200) for one in both]
    assert [one.returncode for one in both] == [0, 0], told
    assert names(cache) == WHOLE
    assert sorted(path for path, _ in server.requests) == ["/noise.pth", "/speech.pth"]


def test_a_killed_download_is_taken_up_where_it_stopped(manifest, cache, server):
    path = manifest()
    server.fault("speech.pth", Fault(slow_bytes=500))
    running = start(path, "download-weights", "tinyse")
    part = cache / "tinyse" / ".speech.pth.part"
    limit = time.monotonic() + 100
    while not (part.exists() and part.stat().st_size > 1000):
        assert time.monotonic() < limit
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.communicate(timeout=100)
    assert names(cache) == [".speech.pth.part"]
    assert main(["download-weights", "tinyse"]) == 0
    assert names(cache) == WHOLE
    begun = [asked for name, asked in server.requests if name == "/speech.pth"]
    assert begun[0] is None
    assert begun[1] is not None, "the rest only"


def test_a_licence_that_is_not_free_must_be_accepted_once(manifest, cache, server, capsys):
    manifest(ask=True)
    assert main(["download-weights", "tinyse"]) == 5
    line = capsys.readouterr().err
    assert "its licence must be accepted first: test licence (this test)" in line
    assert "--accept-licence" in line
    assert server.requests == []
    assert main(["download-weights", "tinyse", "--accept-license"]) == 0
    assert main(["download-weights", "tinyse", "--remove"]) == 0
    assert main(["download-weights", "tinyse"]) == 0, "remembered"


def test_models_come_from_a_folder_without_a_network(manifest, cache, server, tmp_path):
    for name, data in FILES.items():
        (tmp_path / "stick").mkdir(exist_ok=True)
        (tmp_path / "stick" / name).write_bytes(data)
    assert main(["download-weights", "tinyse", "--from", str(tmp_path / "stick"), "--offline"]) == 0
    assert names(cache) == WHOLE
    assert server.requests == []


def test_another_file_of_that_name_is_refused_from_a_folder_too(manifest, cache, tmp_path, capsys):
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data[::-1])
    assert main(["download-weights", "tinyse", "--from", str(tmp_path)]) == 5
    assert "is not the published `speech.pth`: SHA-256 differs" in capsys.readouterr().err
    assert names(cache) == []


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_offline_uses_no_network(manifest, cache, server, capsys, monkeypatch, how):
    flags = ["--offline"] if how == "flag" else []
    if how == "variable":
        monkeypatch.setenv("MSS_CLI_OFFLINE", "1")
    assert main(["download-weights", "tinyse", *flags]) == 5
    assert "`tinyse` is not there" in capsys.readouterr().err
    assert server.requests == []
    assert names(cache) == []


def test_verify_finds_a_changed_and_a_missing_file(manifest, cache, capsys):
    assert main(["download-weights", "tinyse"]) == 0
    assert main(["download-weights", "--verify"]) == 0
    assert capsys.readouterr().out.endswith("tinyse: as published\n")
    (cache / "tinyse" / "speech.pth").write_bytes(b"changed")
    (cache / "tinyse" / "noise.pth").unlink()
    assert main(["download-weights", "tinyse", "--verify"]) == 5
    out = capsys.readouterr().out
    assert "speech.pth: SHA-256 differs" in out
    assert "noise.pth: missing" in out


def test_what_was_made_is_verified_and_made_again_where_it_was_cut(manifest, cache, capsys):
    assert main(["download-weights", "tinyse"]) == 0
    made = cache / "tinyse" / "tinyse.safetensors"
    whole = made.read_bytes()
    made.write_bytes(whole[:-4] + b"abcd")
    assert main(["download-weights", "tinyse", "--verify"]) == 5
    assert "changed since it was made" in capsys.readouterr().out
    made.write_bytes(whole[:100])
    assert main(["download-weights", "tinyse", "--offline"]) == 0
    assert made.read_bytes() == whole
    assert main(["download-weights", "tinyse", "--verify"]) == 0


def test_a_damaged_file_is_never_converted(manifest, cache, server, capsys):
    assert main(["download-weights", "tinyse"]) == 0
    speech = cache / "tinyse" / "speech.pth"
    whole = speech.read_bytes()
    speech.write_bytes(whole[:-9] + b"x" + whole[-8:])
    (cache / "tinyse" / "tinyse.safetensors").unlink()
    assert main(["download-weights", "tinyse", "--offline"]) == 5
    assert "or damaged" in capsys.readouterr().err
    assert main(["download-weights", "tinyse"]) == 0  # fetched again
    assert speech.read_bytes() == whole


def test_a_lost_receipt_is_told_where_no_hash_was_published(manifest, cache, capsys):
    manifest(hashes="none")
    assert main(["download-weights", "tinyse"]) == 0
    (cache / "tinyse" / "receipt.json").unlink()
    assert main(["download-weights", "tinyse", "--verify"]) == 5
    assert "not known any more" in capsys.readouterr().out


def test_what_was_removed_is_one_array(manifest, cache, capsys):
    assert main(["download-weights", "tinyse", "-q"]) == 0
    capsys.readouterr()
    assert main(["download-weights", "--remove", "tinyse", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["name"], row["removed"]) == ("tinyse", True)
    assert row["bytes"] > 1000
    assert main(["download-weights", "--remove", "tinyse", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"name": "tinyse", "removed": False, "bytes": 0}]


@pytest.mark.parametrize("address", ["http://[bad", "http://", "ftp://x"])
def test_a_mirror_that_is_no_address_is_a_usage_error(manifest, cache, capsys, monkeypatch, address):
    assert main(["download-weights", "tinyse", "--mirror", address]) == 2
    monkeypatch.setenv("MSS_CLI_MIRROR", address)
    assert main(["download-weights", "tinyse"]) == 2


def test_without_a_published_hash_a_later_change_is_found(manifest, cache, capsys):
    manifest(hashes="none")
    assert main(["download-weights", "tinyse"]) == 0
    (cache / "tinyse" / "speech.pth").write_bytes(FILES["noise.pth"])
    assert main(["download-weights", "tinyse", "--verify"]) == 5


def test_the_list_is_one_array(manifest, cache, capsys):
    assert main(["download-weights", "tinyse", "-q"]) == 0
    capsys.readouterr()
    assert main(["download-weights", "--list", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == "tinyse"
    assert row["present"] is True
    assert row["licence_source"] == "this test"
    assert row["score"] is None
    assert {file["name"]: file["bytes"] for file in row["files"]} == {name: len(data) for name, data in FILES.items()}


def test_events_end_with_run_finished(manifest, cache, capsys):
    assert main(["download-weights", "tinyse", "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    events = [event for event in events if event["event"] != "download_progress"]  # one a second, if it takes so long
    assert [event["event"] for event in events] == [
        "run_started", "download_started", "download_finished", "model_ready", "run_finished",
    ]  # fmt: skip
    assert events[1]["licence"] == "test licence"
    assert events[1]["sources"] == ["127.0.0.1"]
    assert (events[-1]["done"], events[-1]["failed"]) == (1, 0)
    assert main(["download-weights", "tinyse", "--json"]) == 0  # there already
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["run_started", "model_ready", "run_finished"]


def test_a_model_that_fails_is_an_event(manifest, cache, capsys):
    assert main(["download-weights", "tinyse", "--offline", "--json"]) == 5
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["run_started", "model_failed", "run_finished"]
    assert (events[1]["model"], events[1]["code"]) == ("tinyse", 5)
    assert (events[2]["done"], events[2]["failed"]) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "no model is named"),
        (["tinyes"], "did you mean `tinyse`?"),
        (["tinyse", "--all"], "`--all` and names are given"),
        (["--list", "--verify"], "--list and --verify are given"),
        (["tinyse", "--mirror", "/a/folder"], "is no address"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(manifest, capsys, arguments, line):
    assert main(["download-weights", *arguments]) == 2
    assert line in capsys.readouterr().err


def test_what_cannot_be_loaded_safely_is_refused_by_name(manifest, capsys):
    assert main(["download-weights", "old"]) == 5
    assert "`old` is refused: a pickle; take `tinyse` instead" in capsys.readouterr().err


def test_separate_fetches_a_model_that_is_not_there(manifest, cache, tmp_path, capsys):
    song = write_music(tmp_path / "song.wav", seconds=0.4)
    assert main(["separate", str(song), "-m", "tinyse", "-o", str(tmp_path / "out")]) == 0
    assert "fetching 2 files" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out" / "song").glob("*.wav")) == ["noise.wav", "speech.wav"]
    assert names(cache) == WHOLE


def test_separate_does_not_fetch_where_it_is_forbidden(manifest, cache, server, tmp_path, capsys):
    song = write_music(tmp_path / "song.wav", seconds=0.4)
    assert main(["separate", str(song), "-m", "tinyse", "-o", str(tmp_path / "out"), "--no-download"]) == 5
    line = capsys.readouterr().err
    assert "model `tinyse` is not there" in line
    assert "download-weights tinyse" in line
    assert server.requests == []
    assert not (tmp_path / "out").exists()


def test_separate_asks_for_the_licence_first(manifest, cache, server, tmp_path, capsys):
    manifest(ask=True)
    song = write_music(tmp_path / "song.wav", seconds=0.4)
    command = ["separate", str(song), "-m", "tinyse", "-o", str(tmp_path / "out")]
    assert main(command) == 5
    assert server.requests == []
    assert main([*command, "--accept-licence"]) == 0


def test_separate_says_usage_errors_and_missing_inputs_before_it_fetches(manifest, cache, server, tmp_path, capsys):
    song = write_music(tmp_path / "song.wav", seconds=0.4)
    assert main(["separate", str(song), "-m", "tinyse", "--stems", "vocals"]) == 2
    assert main(["separate", str(tmp_path / "no.wav"), "-m", "tinyse", "-o", str(tmp_path / "out")]) == 3
    assert main(["separate", str(song), "-m", "tinyse", "-o", str(tmp_path / "out"), "--dry-run"]) == 0
    assert server.requests == []


def test_models_tell_whether_they_are_present(manifest, cache, capsys):
    assert main(["models"]) == 0
    assert "tinyse (not present, about 0 MB): speech, noise; 16000 Hz; test licence" in capsys.readouterr().out
    assert main(["download-weights", "tinyse", "-q"]) == 0
    capsys.readouterr()
    assert main(["models", "--json"]) == 0
    rows = {row["name"]: row["present"] for row in json.loads(capsys.readouterr().out)}
    assert rows["tinyse"] is True
    assert rows["classical"] is True
