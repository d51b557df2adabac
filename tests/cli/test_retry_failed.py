"""`--retry-failed`: what failed last time in an output folder, and nothing else."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mss_cli.main import main
from signals import write_music

COMMAND = [sys.executable, "-m", "mss_cli", "separate", "--device", "cpu", "--jobs", "1", "--json"]


@pytest.fixture
def separate(tmp_path, capsys):
    """Run the command into `out` and give the exit code and the events."""

    def run(*arguments):
        capsys.readouterr()
        flags = ["-o", tmp_path / "out", "--json", "-q", "--device", "cpu", "--jobs", "1"]
        code = main(["separate", *map(str, [*flags, *arguments])])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


@pytest.fixture
def album(tmp_path):
    """One good song and two broken ones."""
    write_music(tmp_path / "album" / "a" / "good.wav", seconds=0.2)
    for name in ("a/bad.wav", "b/bad.wav"):
        spoil(tmp_path / "album" / name)
    return tmp_path / "album"


def spoil(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("no sound\n")


def mend(path):
    path.unlink()
    write_music(path, seconds=0.2)


def ended(seen):
    """Give what became of each track, by the last parts of its path."""
    kinds = {"track_finished": "done", "track_failed": "failed", "track_skipped": "skipped"}
    return {"/".join(Path(e["path"]).parts[-2:]): kinds[e["event"]] for e in seen if e["event"] in kinds}


def warnings(seen):
    return [event["message"] for event in seen if event["event"] == "warning"]


def listed(tmp_path, name="failed.json"):
    path = tmp_path / "out" / ".mss-cli" / name
    return [Path(row["absolute"]).name for row in json.loads(path.read_text())["failed"]] if path.exists() else None


def test_it_does_what_failed_and_only_that(album, separate, tmp_path):
    assert ended(separate(album)[1]) == {"a/good.wav": "done", "a/bad.wav": "failed", "b/bad.wav": "failed"}
    write_music(album / "a" / "new.wav", seconds=0.2)
    mend(album / "b" / "bad.wav")
    code, seen = separate(album, "--retry-failed")
    assert (code, ended(seen)) == (1, {"a/bad.wav": "failed", "b/bad.wav": "done"})
    mend(album / "a" / "bad.wav")
    assert ended(separate(album, "--retry-failed")[1]) == {"a/bad.wav": "done"}
    assert not (tmp_path / "out" / ".mss-cli").exists()


def test_without_inputs_it_takes_them_and_their_names_from_the_list(album, separate, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    separate("album")
    mend(album / "b" / "bad.wav")
    monkeypatch.chdir("/")
    code, seen = separate("--retry-failed")
    assert (code, ended(seen)) == (1, {"a/bad.wav": "failed", "b/bad.wav": "done"})
    assert (tmp_path / "out" / "b" / "bad" / "vocals.wav").is_file()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".mss-cli", "a", "b"]


def test_names_that_are_no_text_are_kept(tmp_path, separate):
    song = tmp_path / "in" / os.fsdecode(b"caf\xe9\n.wav")
    spoil(song)
    separate(tmp_path / "in")
    song.unlink()
    write_music(tmp_path / "x.wav", seconds=0.2).rename(song)
    assert [event["path_b64"] for event in separate("--retry-failed")[1] if event["event"] == "track_finished"]


def test_a_single_track_can_be_tried_again(tmp_path, separate):
    spoil(tmp_path / "song.wav")
    assert separate(tmp_path / "song.wav")[0] == 3
    mend(tmp_path / "song.wav")
    assert separate("--retry-failed")[0] == 0
    assert (tmp_path / "out" / "song" / "vocals.wav").is_file()


def test_nothing_failed_is_said_and_is_no_failure(album, separate, tmp_path):
    code, seen = separate("--retry-failed")
    assert (code, ended(seen)) == (0, {})
    assert "nothing to do: no track is listed as failed" in warnings(seen)
    assert not (tmp_path / "out").exists()
    separate(album / "a" / "good.wav")
    assert separate(album, "--retry-failed")[0] == 0


def test_a_dry_run_tells_what_would_be_tried_again(album, separate, tmp_path):
    separate(album)
    mend(album / "b" / "bad.wav")
    seen = separate("--retry-failed", "--dry-run")[1]
    assert [Path(event["path"]).name for event in seen if event["event"] == "track_planned"] == ["bad.wav"]
    assert listed(tmp_path) == ["bad.wav", "bad.wav"]


def test_an_input_that_is_gone_fails_again_until_an_ordinary_run_forgets_it(album, separate, tmp_path):
    separate(album)
    mend(album / "a" / "bad.wav")
    (album / "b" / "bad.wav").unlink()
    code, seen = separate("--retry-failed")
    assert (code, ended(seen)) == (1, {"a/bad.wav": "done", "b/bad.wav": "failed"})
    assert "no such file" in next(event["message"] for event in seen if event["event"] == "track_failed")
    assert listed(tmp_path) == ["bad.wav"]
    assert separate(album)[0] == 0
    assert listed(tmp_path) is None


def test_what_is_not_among_the_inputs_stays_listed(album, separate, tmp_path):
    separate(album)
    mend(album / "a" / "bad.wav")
    code, seen = separate(album / "a" / "bad.wav", "--retry-failed")
    assert (code, ended(seen)) == (0, {"a/bad.wav": "done"})
    assert "1 of 2 failed tracks are not among the inputs and stay listed" in warnings(seen)
    separate(album / "a" / "good.wav")
    assert listed(tmp_path) == ["bad.wav"]


def test_a_track_that_was_done_meanwhile_is_skipped_and_struck_out(album, separate, tmp_path):
    separate(album)
    for name in ("a/bad.wav", "b/bad.wav"):
        mend(album / name)
    kept = (tmp_path / "out" / ".mss-cli" / "failed.json").read_bytes()
    separate(album)
    (tmp_path / "out" / ".mss-cli").mkdir()
    (tmp_path / "out" / ".mss-cli" / "failed.json").write_bytes(kept)
    code, seen = separate("--retry-failed")
    assert (code, ended(seen)) == (0, {"a/bad.wav": "skipped", "b/bad.wav": "skipped"})
    assert listed(tmp_path) is None


def test_shards_keep_lists_of_their_own_and_a_run_over_all_strikes_from_each(tmp_path, separate):
    for number in range(6):
        spoil(tmp_path / "in" / f"{number}.wav")
    shares = {}
    for index in (1, 2):
        separate(tmp_path / "in", "--shard", f"{index}/2")
        shares[index] = listed(tmp_path, f"failed-{index}-of-2.json")
    assert sorted(shares[1] + shares[2]) == [f"{number}.wav" for number in range(6)]
    assert listed(tmp_path) is None
    for number in range(6):
        mend(tmp_path / "in" / f"{number}.wav")
    code, seen = separate("--retry-failed", "--shard", "2/2")
    assert (code, sorted(Path(name).name for name in ended(seen))) == (0, shares[2])
    assert listed(tmp_path, "failed-2-of-2.json") is None
    assert listed(tmp_path, "failed-1-of-2.json") == shares[1]
    separate(tmp_path / "in")
    assert not (tmp_path / "out" / ".mss-cli").exists()


def test_a_list_that_is_damaged_is_refused_and_replaced_by_an_ordinary_run(album, separate, tmp_path):
    separate(album)
    (tmp_path / "out" / ".mss-cli" / "failed.json").write_text('{"schema": 1, "failed": 5}')
    code, seen = separate("--retry-failed")
    assert code == 3
    assert "cannot read the list of failed tracks" in seen[-1]["message"]
    separate(album)
    assert listed(tmp_path) == ["bad.wav", "bad.wav"]


def test_a_signal_keeps_what_failed_before_it(tmp_path):
    spoil(tmp_path / "in" / "a.wav")
    write_music(tmp_path / "in" / "b.wav", seconds=30.0)
    with subprocess.Popen(
        [*COMMAND, "in", "-o", "out"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        for line in process.stdout:
            if json.loads(line)["event"] == "track_started":
                process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == -signal.SIGTERM
    assert listed(tmp_path) == ["a.wav"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--retry-failed", "--exclude", "x*"], "leaves out inputs"), (["--retry-failed", "--output", "-"], "one track")],
    ids=str,
)
def test_what_makes_no_sense_is_refused(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(["separate", *arguments]) == 2
    assert words in capsys.readouterr().err
