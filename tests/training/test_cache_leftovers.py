import os
import subprocess
import sys
import time

import pytest

from mss_cli.files import temporary_name
from mss_cli.training.cache_leftovers import remove_leftovers

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are asked by signal 0")
HOUR = 3600.0


@pytest.fixture
def dead():
    """Number of a process that has ended and was waited for."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def left(folder, pid, *, age=0.0):
    """Leave a half-written song of a process."""
    folder.mkdir(exist_ok=True)
    name = temporary_name(folder / "song.npy").name.replace(f".{os.getpid()}.part", f".{pid}.part")
    path = folder / name
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_what_a_dead_process_left_is_removed_in_subfolders_too(tmp_path, dead):
    paths = [left(tmp_path, dead), left(tmp_path / "samples", dead)]
    assert remove_leftovers(tmp_path, shared=False) == sorted(paths)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_a_living_process_writes_stays_however_old_it_is(tmp_path):
    path = left(tmp_path, os.getpid(), age=HOUR)
    assert remove_leftovers(tmp_path, shared=False) == []
    assert path.exists()


def test_in_a_shared_cache_what_was_just_written_may_be_of_another_host(tmp_path, dead):
    fresh, old = left(tmp_path, dead), left(tmp_path, dead, age=HOUR)
    assert remove_leftovers(tmp_path, shared=True) == [old]
    assert fresh.exists()


def test_songs_and_files_of_other_programs_stay(tmp_path):
    for name in ("song.npy", "song.json", "song.part", ".song.part", f".download.{os.getpid()}.part"):
        (tmp_path / name).write_text("kept")
    assert remove_leftovers(tmp_path, shared=False) == []
    assert len(list(tmp_path.iterdir())) == 5


def test_a_cache_that_is_not_there_yet_has_none(tmp_path):
    assert remove_leftovers(tmp_path / "cache", shared=True) == []
