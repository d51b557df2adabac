"""Temporary files of dead runs go; those of living runs, of other programs and of people stay."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss_cli.batch.holders import Host, myself
from mss_cli.batch.leftovers import remove_leftovers
from mss_cli.batch.locks import Lock
from mss_cli.batch.sharding import Shard
from mss_cli.files import temporary_name, writer_of

KILLED = """
import os, sys
from pathlib import Path
from mss_cli.files import temporary_name
folder = Path(sys.argv[1])
for name in ("vocals.wav", "n" * 250 + ".wav", os.fsdecode(b"caf\\xe9\\n.wav")):
    temporary_name(folder / name).write_bytes(b"half a stem")
temporary_name(folder / "x.mss.json").write_bytes(b"{")
(folder / "vocals.wav").write_bytes(b"whole")
os.kill(os.getpid(), 9)
"""
SPOOLS = [".mss-cli-ab_12xyz.part", ".mss-cli-stdin-ab_12xyz.part"]


def sister(host=None):
    holder = myself(Shard(2, 2))
    holder = holder if host is None else replace(holder, host=host)
    return Lock(Path("lock"), b"", holder)


@pytest.fixture
def killed(tmp_path):
    """Leave what a run leaves that was killed while it wrote."""
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    assert subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False).returncode == -9
    for name in SPOOLS:
        (tmp_path / name).write_bytes(b"floats")
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_all_of_a_killed_run_goes_and_whole_files_stay(killed):
    assert len(remove_leftovers(killed, [])) == 6
    assert names(killed) == ["vocals.wav"]


def test_beside_a_sister_on_this_host_only_what_surely_is_dead_goes(killed):
    assert len(remove_leftovers(killed, [sister()])) == 4
    assert names(killed) == [*SPOOLS, "vocals.wav"]


@pytest.mark.parametrize("other", [sister(Host("elsewhere", "", "", "")), Lock(Path("lock"), b"", None)], ids=range(2))
def test_beside_a_run_elsewhere_nothing_goes(killed, other):
    before = names(killed)
    assert remove_leftovers(killed, [sister(), other]) == []
    assert names(killed) == before


def test_files_of_a_living_process_stay_even_without_its_lock(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as living:
        name = f".vocals.wav.0123abcd.{living.pid}.part"
        (tmp_path / name).write_bytes(b"half")
        assert remove_leftovers(tmp_path, []) == []
        living.stdin.close()
        living.wait()
    assert remove_leftovers(tmp_path, []) == [tmp_path / name]


def test_files_with_our_own_number_are_those_of_an_older_run(tmp_path):
    path = temporary_name(tmp_path / "vocals.wav")
    path.write_bytes(b"half")
    assert remove_leftovers(tmp_path, []) == [path]


@pytest.mark.parametrize(
    "name",
    [
        "vocals.wav.part",
        ".song.mp3.part",
        "x.0123abcd.4194399.part",
        ".x.0123ABCD.4194399.part",
        ".x.0123abcd.part",
        ".x.0123abcd.4194399.part.wav",
        ".mss-cli-notes.part",
        ".mss-cli-AB_12XYZ.part",
    ],
)
def test_files_of_others_stay(tmp_path, name):
    (tmp_path / name).write_bytes(b"mine")
    assert remove_leftovers(tmp_path, []) == []


def test_links_are_neither_followed_nor_removed(tmp_path, killed):
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / ".x.0123abcd.4194399.part").write_bytes(b"")
    (killed / "link").symlink_to(outside, target_is_directory=True)
    (killed / ".y.0123abcd.4194399.part").symlink_to(outside / ".x.0123abcd.4194399.part")
    assert len(remove_leftovers(killed, [])) == 6
    assert (outside / ".x.0123abcd.4194399.part").exists()


@given(st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=255))
def test_every_temporary_name_fits_and_is_known_again(name):
    raw = temporary_name(Path("folder") / f"x{name}").name.encode()
    assert len(raw) <= 255
    assert writer_of(raw) == os.getpid()


def test_names_of_other_programs_tell_no_writer():
    assert [
        writer_of(name) for name in (".x.part", "x.0123abcd.7.part", ".x.0123ABCD.7.part", ".x.0123abcd.7.tmp")
    ] == [None] * 4


def test_two_runs_never_share_a_temporary_name():
    assert len({temporary_name(Path("x.mss.json")) for _ in range(1000)}) == 1000
