"""One run per folder and shard: conflicts, waiting, dead holders here and elsewhere, runs that come at once."""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss_cli.batch.holders import Host, Life, holder_to_json, myself, parse_holder, this_host
from mss_cli.batch.locks import LockTiming, folder_lock, locks_in
from mss_cli.batch.sharding import Shard
from mss_cli.errors import ExitCode, FolderBusy, OutputError
from mss_cli.processes import start_of

FAST = LockTiming(renew_seconds=0.05, stale_seconds=0.6, poll_seconds=0.05, settle_seconds=5.0)
ELSEWHERE = Host("elsewhere", "m", "b", "p")

CHILD = """
import sys, time
from pathlib import Path
from mss_cli.batch.locks import LockTiming, folder_lock
from mss_cli.errors import FolderBusy
from mss_cli.batch.sharding import parse_shard
folder, shard, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
try:
    with folder_lock(folder, parse_shard(shard) if shard else None, timing=LockTiming(renew_seconds=0.05)):
        print("held", flush=True)
        if seconds < 0:
            sys.stdin.read()
        time.sleep(max(0.0, seconds))
except FolderBusy as error:
    print(error, flush=True)
    sys.exit(int(error.code))
"""


def child(folder, shard="", seconds=-1.0):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), shard, str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ended(process):
    output, _ = process.communicate("")
    return process.returncode, output


def plant(folder, holder):
    """Leave the lock of a run that is somewhere else."""
    path = folder / ".mss-cli" / f"lock-{holder.token}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(holder_to_json(holder)))
    temporary.replace(path)
    return path


def foreign(shard=None, **changes):
    return replace(myself(shard), host=ELSEWHERE, held=True, **changes)


SHARDS = [None, Shard(1, 2), Shard(2, 2), Shard(1, 3)]


@pytest.mark.parametrize("first", SHARDS, ids=str)
@pytest.mark.parametrize("second", SHARDS, ids=str)
def test_only_sisters_of_one_division_run_side_by_side(tmp_path, first, second):
    sisters = first is not None and second is not None and first.count == second.count and first != second
    with ExitStack() as stack:
        stack.enter_context(folder_lock(tmp_path, first, timing=FAST))
        if sisters:
            stack.enter_context(folder_lock(tmp_path, second, timing=FAST))
            assert len(locks_in(tmp_path)) == 2
        else:
            with pytest.raises(FolderBusy):
                stack.enter_context(folder_lock(tmp_path, second, timing=FAST))
            assert len(locks_in(tmp_path)) == 1


def test_whoever_comes_second_is_told_who_holds_it(tmp_path):
    with child(tmp_path, "2/3") as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(FolderBusy) as caught, folder_lock(tmp_path):
            pass
        assert str(caught.value) == (
            f"{tmp_path}: process {holder.pid} on `{this_host().name}` (shard 2/3) works there; "
            "wait for it with `--wait-lock SECONDS`, or choose another `--output`"
        )
        assert caught.value.code == ExitCode.TEMPORARY
        assert ended(holder)[0] == 0


def test_a_folder_is_free_after_its_run(tmp_path):
    for _ in range(3):
        with folder_lock(tmp_path / "new" / "out", timing=FAST):
            assert len(locks_in(tmp_path / "new" / "out")) == 1
    assert not (tmp_path / "new").exists()


def test_what_lies_in_the_state_folder_stays(tmp_path):
    with folder_lock(tmp_path / "out", timing=FAST):
        (tmp_path / "out" / ".mss-cli" / "failed.json").write_text("[]")
    assert [path.name for path in (tmp_path / "out" / ".mss-cli").iterdir()] == ["failed.json"]


def test_a_killed_run_on_this_host_holds_nothing(tmp_path):
    with child(tmp_path) as holder:
        assert holder.stdout.readline() == "held\n"
        holder.kill()
        # Not yet waited for: the process is still in the table, dead.
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
        with folder_lock(tmp_path, timing=FAST) as lock:
            assert lock.others() == []


def test_a_later_process_with_the_same_number_is_not_the_holder(tmp_path):
    plant(tmp_path, replace(myself(None), started="1", held=True))
    with folder_lock(tmp_path, timing=FAST):
        assert len(locks_in(tmp_path)) == 1


def test_this_machine_before_its_last_start_holds_nothing(tmp_path):
    here = this_host()
    if not (here.machine and here.boot):
        pytest.skip("this system has no number of its own")
    plant(tmp_path, replace(myself(None), host=replace(here, boot="earlier"), held=True))
    with folder_lock(tmp_path, timing=FAST):
        assert len(locks_in(tmp_path)) == 1


@pytest.mark.parametrize("change", ["name", "machine", "processes"])
def test_another_host_or_container_is_not_taken_for_this_one(change):
    holder = replace(myself(None), host=replace(this_host(), **{change: "other"}), pid=2**22 + 1)
    assert holder.life() == Life.UNKNOWN


def test_the_lock_of_another_host_is_waited_for_until_it_stands_still(tmp_path):
    path = plant(tmp_path, foreign())
    with pytest.raises(FolderBusy, match=r"process \d+ on `elsewhere` works there; `--wait-lock 130`"):
        with folder_lock(tmp_path):
            pass
    assert path.exists()
    with folder_lock(tmp_path, wait_seconds=30, timing=FAST):
        assert not path.exists()


def test_the_lock_of_another_host_that_is_renewed_is_respected(tmp_path):
    stop = threading.Event()
    holder = foreign()
    path = plant(tmp_path, holder)

    def renew():
        beats = 0
        while not stop.wait(0.05):
            beats += 1
            plant(tmp_path, replace(holder, beats=beats))

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        with pytest.raises(FolderBusy, match="elsewhere"), folder_lock(tmp_path, wait_seconds=2, timing=FAST):
            pass
    finally:
        stop.set()
        thread.join()
    assert path.exists()


def test_a_clock_that_goes_back_or_forth_decides_nothing(tmp_path, monkeypatch):
    path = plant(tmp_path, foreign())
    os.utime(path, (0, 0))
    monkeypatch.setattr(time, "time", lambda: 4e9)
    with pytest.raises(FolderBusy), folder_lock(tmp_path, timing=FAST):
        pass
    os.utime(path, (8e9, 8e9))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    with folder_lock(tmp_path, wait_seconds=30, timing=FAST):
        assert not path.exists()


@pytest.mark.parametrize("raw", [b"", b"{}", b"\0" * 1024, b'{"schema": 2}'])
def test_a_lock_that_cannot_be_read_holds_until_it_stood_still(tmp_path, raw):
    path = plant(tmp_path, foreign())
    path.write_bytes(raw)
    with pytest.raises(FolderBusy, match="cannot be read works there"), folder_lock(tmp_path, Shard(1, 2), timing=FAST):
        pass
    with folder_lock(tmp_path, wait_seconds=30, timing=FAST):
        assert not path.exists()


def test_other_files_are_no_locks(tmp_path):
    (tmp_path / ".mss-cli").mkdir()
    (tmp_path / ".mss-cli" / "lock.json").write_text("{}")
    with folder_lock(tmp_path, timing=FAST):
        assert len(locks_in(tmp_path)) == 1


def test_waiting_ends_when_the_holder_does(tmp_path):
    with child(tmp_path) as holder:
        assert holder.stdout.readline() == "held\n"
        threading.Timer(0.3, holder.stdin.close).start()
        with folder_lock(tmp_path, wait_seconds=60, timing=FAST) as lock:
            assert [other.holder.pid for other in lock.others()] == []
        holder.wait()


def test_a_lock_is_renewed_in_place(tmp_path):
    with folder_lock(tmp_path, timing=FAST) as lock:
        seen = {lock.path.read_bytes()}
        number = lock.path.stat().st_ino
        limit = time.monotonic() + 30
        while len(seen) < 4 and time.monotonic() < limit:
            seen.add(lock.path.read_bytes())
        assert len(seen) >= 4
        assert lock.path.stat().st_ino == number
        assert {len(raw) for raw in seen} == {1024}
        lock.check()


def test_a_run_that_was_taken_for_dead_is_told_and_brings_nothing_back(tmp_path):
    with folder_lock(tmp_path, timing=FAST) as lock:
        lock.path.unlink()
        assert lock.lost.wait(30)
        with pytest.raises(FolderBusy, match="took this one for dead"):
            lock.check()
        assert not lock.path.exists()


def test_of_runs_that_come_at_once_exactly_one_works(tmp_path):
    for round_number in range(2):
        folder = tmp_path / str(round_number)
        runs = [child(folder) for _ in range(5)]
        first = [run.stdout.readline() for run in runs]  # the winner holds on until all others gave up
        results = [ended(run) for run in runs]
        assert first.count("held\n") == 1
        assert sorted(code for code, _ in results) == [0, 75, 75, 75, 75]


def test_threads_that_wait_take_turns(tmp_path):
    inside, most, done = [0], [0], []

    def work(number):
        with folder_lock(tmp_path, wait_seconds=60, timing=FAST):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.01)
            inside[0] -= 1
            done.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert sorted(done) == [0, 1, 2, 3]


def test_a_file_in_the_place_of_the_folder_is_an_error_of_the_output(tmp_path):
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(OutputError, match="a file stands where a folder is needed"), folder_lock(tmp_path / "out"):
        pass


TEXT = st.text(max_size=20)


@given(host=st.builds(Host, TEXT, TEXT, TEXT, TEXT), shard=st.sampled_from(SHARDS), beats=st.integers(0, 2**40))
def test_a_holder_comes_back_as_it_was_written(host, shard, beats):
    holder = replace(myself(shard), host=host, beats=beats, held=True)
    assert parse_holder(json.dumps(holder_to_json(holder)).encode(), "lock") == holder


def test_the_start_of_a_process_stays_and_a_dead_one_has_none():
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs /proc")
    assert start_of(os.getpid()) == start_of(os.getpid()) != ""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert start_of(process.pid) is None
