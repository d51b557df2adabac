"""Inputs and outputs on stores: the same plan, records and skips, with a track on disk only while it is at work."""

import json
import os
from pathlib import Path

import fsspec
import pytest

from batch_runs import STEMS, write_broken
from mss_cli.batch.records import read_record
from mss_cli.batch.stores.addresses import Address, Store, is_address
from mss_cli.main import main
from signals import write_music

MEMORY = fsspec.filesystem("memory")


@pytest.fixture
def memory():
    """An empty store in this process."""
    MEMORY.rm("/", recursive=True) if MEMORY.find("/") else None
    yield MEMORY
    MEMORY.rm("/", recursive=True) if MEMORY.find("/") else None


@pytest.fixture
def scratch(tmp_path):
    """Where tracks are staged; nothing may stay in it."""
    folder = tmp_path / "scratch"
    yield folder
    assert not folder.exists() or list(folder.iterdir()) == []


def put(store, tmp_path, key, *, seconds=0.3, seed=0):
    song = write_music(tmp_path / "made.wav", seconds=seconds, seed=seed)
    store.put_file(str(song), key)


def separate(*arguments, scratch, capsys):
    """Run the command in this process; give exit code and events."""
    code = main(["separate", *arguments, "-m", "classical", "--jobs", "1", "--scratch", str(scratch), "--json"])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def of_kind(events, name):
    return [event for event in events if event["event"] == name]


def names(store, root):
    return sorted(name[len(root) :].lstrip("/") for name in store.find(root))


def stems(*tracks):
    return sorted(
        f"{track}/{file}"
        for track in tracks
        for file in (*(f"{stem}.wav" for stem in STEMS), f"{Path(track).name}.mss.json")
    )


def test_a_store_to_a_store_and_a_second_run_skips(memory, tmp_path, scratch, capsys):
    put(memory, tmp_path, "/music/a/x.wav", seed=1)
    put(memory, tmp_path, "/music/b/x.wav", seed=2)
    code, events = separate("memory://music", "-o", "memory://stems", scratch=scratch, capsys=capsys)
    assert code == 0
    assert names(memory, "/stems") == stems("a/x", "b/x")
    finished = of_kind(events, "track_finished")
    assert [event["path"] for event in finished] == ["memory://music/a/x.wav", "memory://music/b/x.wav"]
    assert finished[0]["outputs"][0]["path"] == "memory://stems/a/x/vocals.wav"
    record = json.loads(memory.cat("/stems/a/x/x.mss.json"))
    assert record["input"]["path"] == "memory://music/a/x.wav"
    before = {name: memory.modified(name) for name in memory.find("/stems")}
    code, events = separate("memory://music", "-o", "memory://stems", scratch=scratch, capsys=capsys)
    assert code == 0
    assert [event["reason"] for event in of_kind(events, "track_skipped")] == ["unchanged"] * 2
    assert {name: memory.modified(name) for name in memory.find("/stems")} == before


def test_the_stems_are_those_of_the_same_file_on_disk(memory, tmp_path, scratch, capsys):
    put(memory, tmp_path, "/music/x.wav", seconds=0.7)
    assert separate("memory://music", "-o", "memory://stems", scratch=scratch, capsys=capsys)[0] == 0
    write_music(tmp_path / "music" / "x.wav", seconds=0.7)
    assert separate(str(tmp_path / "music"), "-o", str(tmp_path / "out"), scratch=scratch, capsys=capsys)[0] == 0
    for stem in STEMS:
        assert memory.cat(f"/stems/x/{stem}.wav") == (tmp_path / "out" / "x" / f"{stem}.wav").read_bytes()


def test_what_changed_or_is_missing_is_done_again(memory, tmp_path, scratch, capsys):
    for name in "abc":
        put(memory, tmp_path, f"/music/{name}.wav", seed=1)
    assert separate("memory://music", "-o", "memory://stems", scratch=scratch, capsys=capsys)[0] == 0
    memory.rm("/stems/b/drums.wav")
    put(memory, tmp_path, "/music/c.wav", seed=2)
    code, events = separate("memory://music", "-o", "memory://stems", scratch=scratch, capsys=capsys)
    assert code == 0
    done = [event["path"] for event in of_kind(events, "track_finished")]
    assert done == ["memory://music/b.wav", "memory://music/c.wav"]
    assert names(memory, "/stems") == stems("a", "b", "c")


def test_only_one_side_may_be_a_store(memory, tmp_path, scratch, capsys):
    put(memory, tmp_path, "/music/x.wav")
    out = tmp_path / "out"
    for _ in range(2):
        code, events = separate("memory://music/x.wav", "-o", str(out), scratch=scratch, capsys=capsys)
        assert code == 0
    assert of_kind(events, "track_skipped")[0]["path"] == "memory://music/x.wav"
    assert str(read_record(out / "x" / "x.mss.json").source) == "memory:/music/x.wav"  # a path, and no more
    song = write_music(tmp_path / "here" / "y.wav", seconds=0.3)
    for _ in range(2):
        code, events = separate(str(song), "-o", "memory://stems", scratch=scratch, capsys=capsys)
        assert code == 0
    assert of_kind(events, "track_skipped")[0]["path"] == str(song)
    assert names(memory, "/stems") == stems("y")


def test_stems_and_other_files_on_the_store_are_no_inputs(memory, tmp_path, scratch, capsys):
    put(memory, tmp_path, "/all/x.wav")
    memory.pipe("/all/cover.jpg", b"no sound")
    memory.pipe("/all/.hidden/y.wav", b"no sound")
    for _ in range(2):
        code, events = separate("memory://all", "-o", "memory://all/stems", scratch=scratch, capsys=capsys)
        assert code == 0
    assert [event["path"] for event in of_kind(events, "track_skipped")] == ["memory://all/x.wav"]
    code, events = separate("memory://all", "-o", "memory://elsewhere", scratch=scratch, capsys=capsys)
    assert [event["path"] for event in of_kind(events, "track_finished")] == ["memory://all/x.wav"]


def test_a_broken_file_costs_the_others_nothing_and_leaves_nothing(memory, tmp_path, scratch, capsys):
    put(memory, tmp_path, "/music/good.wav")
    write_broken(tmp_path / "broken.wav")
    memory.put_file(str(tmp_path / "broken.wav"), "/music/broken.wav")
    code, events = separate("memory://music", "-o", "memory://stems", scratch=scratch, capsys=capsys)
    assert code == 1
    (failed,) = of_kind(events, "track_failed")
    assert (failed["path"], failed["code"]) == ("memory://music/broken.wav", 3)
    assert str(scratch) not in json.dumps(events)
    assert names(memory, "/stems") == stems("good")


def test_no_record_is_there_when_an_upload_fails(memory, tmp_path, scratch, capsys, monkeypatch):
    put(memory, tmp_path, "/music/x.wav")
    whole = type(memory).put_file

    def full(self, here, there, **settings):
        if there.endswith("other.wav"):
            raise OSError("quota used up")
        return whole(self, here, there, **settings)

    monkeypatch.setattr(type(memory), "put_file", full)
    code, events = separate("memory://music", "-o", "memory://stems", scratch=scratch, capsys=capsys)
    assert code == 6
    (failed,) = of_kind(events, "track_failed")
    assert failed["message"] == "memory://stems/x/other.wav: the store refuses: quota used up"
    assert not memory.exists("/stems/x/x.mss.json")
    monkeypatch.undo()
    assert separate("memory://music", "-o", "memory://stems", scratch=scratch, capsys=capsys)[0] == 0
    assert names(memory, "/stems") == stems("x")


def test_workers_of_their_own_use_stores_too(tmp_path, scratch, capsys):
    for number in range(3):
        write_music(tmp_path / "in" / f"{number}.wav", seconds=0.3, seed=number)
    music, out = (tmp_path / "in").as_uri(), (tmp_path / "out").as_uri()
    code, events = separate(music, "-o", out, "--jobs", "2", scratch=scratch, capsys=capsys)
    assert code == 0
    assert of_kind(events, "track_finished")[0]["path"].startswith(music)
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")) == stems(
        "0", "1", "2"
    )
    assert separate(music, "-o", out, scratch=scratch, capsys=capsys)[0] == 0


def test_the_mirror_of_a_killed_run_is_removed_by_the_next(memory, tmp_path, scratch, capsys):
    put(memory, tmp_path, "/music/x.wav")
    (scratch / "mss-cli-stores-999999999-abc" / "in").mkdir(parents=True)
    assert separate("memory://music", "-o", "memory://stems", scratch=scratch, capsys=capsys)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["memory://music", "-o", "memory://music"], 2, "is both input and output"),
        (["memory://music", "here.wav"], 2, "some inputs are on stores and some on disk"),
        (["memory://music/*.wav"], 2, "is a pattern"),
        (["memory://music", "-o", "memory://stems", "--checksum"], 2, "`--checksum` would read all of a store"),
        (["memory://music", "-o", "memory://stems", "--retry-failed"], 2, "no list of failed tracks"),
        (["nowhere://music"], 2, "`nowhere://` cannot be read here"),
        (["memory://nothing/x.wav", "-o", "memory://stems"], 3, "memory://nothing/x.wav: no such file"),
    ],
)
def test_what_stores_cannot_do_is_one_line(memory, arguments, code, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["separate", *arguments, "-m", "classical"]) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("address", "package"), [("s3://b/x", "mss-cli[remote]"), ("gs://b/x", "gcsfs")])
def test_a_missing_extra_is_named(address, package, monkeypatch, capsys):
    for name in ("s3fs", "gcsfs"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    assert main(["separate", address, "-m", "classical"]) == 2
    assert f"install `{package}`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["s3://bucket/a b/x.wav", "gs://bucket", "memory://b/x", "file:///music/x.wav", "s3://b/é.wav"]
)
def test_addresses_keep_their_slashes(text):
    import pickle

    assert is_address(text)
    assert str(Address(text)) == os.fspath(Address(text)) == str(pickle.loads(pickle.dumps(Address(text)))) == text
    assert str(Address(text + "/inside").parent) == text


@pytest.mark.parametrize("text", ["song.wav", "C:\\music\\x.wav", "/music", "-", "./s3://x", "://x", "s3:/b"])
def test_paths_are_no_addresses(text):
    assert not is_address(text)


def test_keys_that_lead_elsewhere_are_left_out(memory, tmp_path, scratch, capsys):
    put(memory, tmp_path, "/music/x.wav")
    content = memory.cat("/music/x.wav")
    memory.store["/music/../../evil.wav"] = type(memory.store["/music/x.wav"])(memory, "/music/../../evil.wav", content)
    code, events = separate("memory://music", "-o", "memory://stems", scratch=scratch, capsys=capsys)
    assert code == 0
    assert any("evil" in (event["path"] or "") for event in of_kind(events, "warning"))
    assert names(memory, "/stems") == stems("x")
    del memory.store["/music/../../evil.wav"]


def test_a_listing_tells_sizes_and_times(tmp_path):
    song = write_music(tmp_path / "x.wav", seconds=0.3)
    (status,) = Store(tmp_path.as_uri()).listing().values()
    assert status.size_bytes == song.stat().st_size
    assert abs(status.mtime_ns - song.stat().st_mtime_ns) < 2000


def test_verify_finds_what_is_missing_or_changed_on_a_store(memory, tmp_path, scratch, capsys):
    for name in "abc":
        put(memory, tmp_path, f"/music/{name}.wav", seed=1)
    assert separate("memory://music", "-o", "memory://stems", scratch=scratch, capsys=capsys)[0] == 0
    assert main(["verify", "memory://stems"]) == 0
    assert capsys.readouterr().out == "12 files of 3 tracks hashed: 0 tracks are not as recorded\n"
    memory.rm("/stems/a/bass.wav")
    content = bytearray(memory.cat("/stems/b/drums.wav"))
    content[-1] ^= 1
    memory.pipe("/stems/b/drums.wav", bytes(content))
    memory.pipe("/stems/c/c.mss.json", b"{}")
    assert main(["verify", "memory://stems"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "memory://stems/a/a.mss.json: `bass.wav` is missing",
        "memory://stems/b/b.mss.json: `drums.wav` has other content",
        "memory://stems/c/c.mss.json: the record cannot be read",
        "8 files of 3 tracks hashed: 3 tracks are not as recorded",
    ]
