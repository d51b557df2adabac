"""Many tracks, more than once, stopped anywhere: each is done once and whole."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import soundfile

from mss_cli.main import main
from signals import music, write_music

COMMAND = [sys.executable, "-m", "mss_cli", "separate"]
STEMS = ("vocals", "drums", "bass", "other")
WHOLE = [*(f"{stem}.wav" for stem in STEMS), "{track}.mss.json"]


@pytest.fixture
def album(tmp_path):
    for name in ("a/one.wav", "a/two.wav", "b/one.wav"):
        write_music(tmp_path / "album" / name, seconds=0.3)
    (tmp_path / "album" / "cover.jpg").write_bytes(b"no sound")
    (tmp_path / "album" / ".hidden.wav").write_bytes(b"no sound")
    return tmp_path / "album"


@pytest.fixture
def separate(tmp_path, capsys):
    """Run the command into `out` and give the exit code and the events."""

    def run(*arguments):
        capsys.readouterr()
        code = main(["separate", *map(str, arguments), "-o", str(tmp_path / "out"), "--json", "-q"])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def whole(track):
    return sorted(name.format(track=track.rpartition("/")[2]) for name in WHOLE)


def of_kind(seen, kind):
    return [event for event in seen if event["event"] == kind]


def state(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_mirrored_below_the_output(album, separate, tmp_path):
    code, seen = separate(album)
    assert code == 0
    expected = [f"{track}/{name}" for track in ("a/one", "a/two", "b/one") for name in whole(track)]
    assert names(tmp_path / "out") == sorted(expected)
    assert (seen[-1]["done"], seen[-1]["skipped"]) == (3, 0)


def test_a_second_run_does_nothing(album, separate, tmp_path):
    separate(album)
    before = state(tmp_path / "out")
    code, seen = separate(album)
    assert (code, seen[-1]["done"], seen[-1]["skipped"]) == (0, 0, 3)
    assert {event["reason"] for event in of_kind(seen, "track_skipped")} == {"unchanged"}
    assert of_kind(seen, "weights_ready") == []
    assert state(tmp_path / "out") == before


def test_only_what_changed_is_done_again(album, separate):
    separate(album)
    write_music(album / "a" / "two.wav", seconds=0.3, seed=7)
    code, seen = separate(album)
    assert code == 0
    assert [event["path"] for event in of_kind(seen, "track_finished")] == [str(album / "a" / "two.wav")]
    assert seen[-1]["skipped"] == 2


def test_a_touched_input_is_not_done_again_and_its_record_learns_the_time(album, separate, tmp_path):
    separate(album)
    os.utime(album / "b" / "one.wav", ns=(10**18, 10**18 + 1))
    assert separate(album)[1][-1]["skipped"] == 3
    record = json.loads((tmp_path / "out" / "b" / "one" / "one.mss.json").read_text())
    assert record["input"]["mtime_ns"] == 10**18 + 1


def test_content_that_hides_behind_its_old_time_is_found_by_the_check_sum(album, separate):
    separate(album)
    song = album / "b" / "one.wav"
    times = song.stat().st_atime_ns, song.stat().st_mtime_ns
    raw = bytearray(song.read_bytes())
    raw[-1] ^= 1
    song.write_bytes(raw)
    os.utime(song, ns=times)
    assert separate(album)[1][-1]["done"] == 0
    assert separate(album, "--checksum")[1][-1]["done"] == 1


@pytest.mark.parametrize(("flags", "done"), [([], 1), (["--if-missing"], 0), (["--overwrite"], 1)], ids=str)
def test_the_policy_decides_about_other_settings(tmp_path, separate, flags, done):
    song = write_music(tmp_path / "song.wav", seconds=0.3)
    separate(song)
    assert separate(song, "--float32", *flags)[1][-1]["done"] == done


def test_a_lost_stem_is_made_again(tmp_path, separate):
    song = write_music(tmp_path / "song.wav", seconds=0.3)
    separate(song)
    before = state(tmp_path / "out")
    (tmp_path / "out" / "song" / "bass.wav").unlink()
    assert separate(song)[1][-1]["done"] == 1
    assert {path: content for path, (_, content) in state(tmp_path / "out").items() if path.suffix == ".wav"} == {
        path: content for path, (_, content) in before.items() if path.suffix == ".wav"
    }


def test_stdin_is_known_again_by_its_content(tmp_path):
    song = write_music(tmp_path / "song.wav", seconds=0.3).read_bytes()
    lines = []
    for _ in range(2):
        done = subprocess.run([*COMMAND, "-", "-o", "out"], input=song, cwd=tmp_path, capture_output=True, check=True)
        lines.append(done.stderr.decode())
    assert "done already" not in lines[0]
    assert "-: done already" in lines[1]
    assert names(tmp_path / "out") == [f"stdin/{name}" for name in whole("stdin")]


def test_a_kill_leaves_whole_stems_or_none_and_the_next_run_completes_the_rest(tmp_path, separate):
    for number in range(4):
        write_music(tmp_path / "in" / f"{number}.wav", seconds=4.0, seed=number)
    out = tmp_path / "out"
    command = [*COMMAND, str(tmp_path / "in"), "-o", str(out), "--json", "--segment-seconds", "1"]
    redone: set[str] = set()
    for finished_before_kill in (0, 1, 1):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        finished = 0
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "track_finished":
                assert event["path"] not in redone
                redone.add(event["path"])
                finished += 1
            if event["event"] == "track_started" and finished == finished_before_kill:
                time.sleep(0.2)
                process.send_signal(signal.SIGKILL)
                break
        process.stdout.close()
        process.wait(timeout=60)
        for stem in out.glob("[0-9]/*.wav"):
            assert soundfile.info(stem).frames == 176400
        for record in out.glob("[0-9]/*.mss.json"):
            assert {path.name for path in record.parent.iterdir()} == set(whole(record.parent.name))
    code, seen = separate(tmp_path / "in", "--segment-seconds", "1")
    assert code == 0
    assert seen[-1]["done"] + seen[-1]["skipped"] == 4
    assert redone.isdisjoint(event["path"] for event in of_kind(seen, "track_finished"))
    assert names(out) == sorted(f"{number}/{name}" for number in range(4) for name in whole(str(number)))
    assert not (out / ".mss-cli").exists()


def test_named_files_of_one_name_go_into_folders_of_their_own(album, separate, tmp_path):
    assert separate(album / "a" / "one.wav", album / "b" / "one.wav")[0] == 0
    assert sorted({name.rpartition("/")[0] for name in names(tmp_path / "out")}) == ["a/one", "b/one"]


def test_a_collision_is_refused_before_anything_is_written(album, separate, tmp_path):
    shutil.copy(album / "a" / "one.wav", album / "a" / "ONE.flac")
    code, seen = separate(album)
    assert code == 6
    assert "two inputs with one output name" in seen[-1]["message"]
    assert not (tmp_path / "out").exists()


def test_a_dry_run_tells_the_plan_and_writes_nothing(album, separate, tmp_path):
    code, seen = separate(album, "--dry-run")
    assert code == 0
    assert not (tmp_path / "out").exists()
    planned = of_kind(seen, "track_planned")
    assert [(event["action"], event["duration_seconds"]) for event in planned] == [("separate", 0.3)] * 3
    total = of_kind(seen, "run_planned")[0]
    assert (total["tracks"], total["to_separate"]) == (3, 3)
    assert total["duration_seconds"] == pytest.approx(0.9)
    separate(album / "a")
    before = state(tmp_path / "out")
    assert {event["action"] for event in of_kind(separate(album / "a", "--dry-run")[1], "track_planned")} == {"skip"}
    assert state(tmp_path / "out") == before


def test_the_size_told_before_is_never_less_than_the_files(album, separate, tmp_path):
    planned = of_kind(separate(album, "--dry-run", "--int24")[1], "run_planned")[0]
    separate(album, "--int24")
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.*")) <= planned["size_bytes"]


def test_no_room_for_the_plan_is_said_before_any_work(album, separate, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6 - 1000, 1000))
    code, seen = separate(album)
    assert code == 6
    assert "the plan may need" in seen[-1]["message"]
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_folder_that_became_read_only_is_an_output_error(album, separate, tmp_path):
    (tmp_path / "out").mkdir(mode=0o555)
    assert separate(album)[0] == 6


def test_the_second_of_two_runs_leaves_and_names_the_first(tmp_path, separate):
    song = write_music(tmp_path / "long.wav", seconds=60.0)
    other = write_music(tmp_path / "other.wav", seconds=0.3)
    first = subprocess.Popen(
        [*COMMAND, str(song), "-o", str(tmp_path / "out"), "--json"], stdout=subprocess.PIPE, text=True
    )
    for line in first.stdout:
        if json.loads(line)["event"] == "track_started":
            break
    code, seen = separate(other)
    assert code == 75
    assert f"process {first.pid} on" in seen[-1]["message"]
    assert separate(other, "--wait-lock", "120")[0] == 0
    first.stdout.read()
    first.stdout.close()
    assert first.wait(timeout=60) == 0
    assert names(tmp_path / "out") == sorted(f"{track}/{name}" for track in ("long", "other") for name in whole(track))


def test_a_list_with_nul_may_hold_any_name(tmp_path):
    listed = ["new\nline.wav", " space .wav", "[x]*.wav"]
    for name in listed:
        write_music(tmp_path / name, seconds=0.2)
    done = subprocess.run(
        [*COMMAND, "--inputs-from", "-", "-o", "out"],
        input="\0".join(listed).encode(), cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    tracks = [name.removesuffix(".wav") for name in listed]
    assert names(tmp_path / "out") == sorted(f"{track}/{name}" for track in tracks for name in whole(track))


def test_shards_share_the_work_without_rest_or_overlap(tmp_path, separate):
    for number in range(6):
        write_music(tmp_path / "in" / f"{number}.wav", seconds=0.1)
    done = []
    for index in (1, 2, 3):
        code, seen = separate(tmp_path / "in", "--shard", f"{index}/3")
        assert code == 0
        done += [event["path"] for event in of_kind(seen, "track_finished")]
    assert sorted(done) == [str(tmp_path / "in" / f"{number}.wav") for number in range(6)]
    assert separate(tmp_path / "in")[1][-1]["skipped"] == 6


@pytest.mark.parametrize(
    ("flags", "failed", "done"),
    [([], 2, 2), (["--max-failures", "2"], 2, 0), (["--fail-fast"], 1, 0)],
    ids=["all", "two", "one"],
)
def test_failures_stop_the_run_only_where_that_was_asked_for(tmp_path, separate, flags, failed, done):
    for name in ("0.wav", "1.wav"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_text("no sound\n" * 50)
    for name in ("2.wav", "3.wav"):
        write_music(tmp_path / "in" / name, seconds=0.1)
    code, seen = separate(tmp_path / "in", *flags)
    assert (code, seen[-1]["failed"], seen[-1]["done"]) == (1, failed, done)


def test_an_input_that_changes_on_the_way_gets_no_record(tmp_path, separate, monkeypatch):
    from mss_cli.batch import track_job

    song = write_music(tmp_path / "song.wav", seconds=0.3)
    check = track_job.check_unchanged

    def replaced(path, content):
        soundfile.write(song, music(0.3, seed=3), 44100)
        check(path, content)

    monkeypatch.setattr(track_job, "check_unchanged", replaced)
    code, seen = separate(song)
    assert code == 3
    assert "changed while it was separated" in of_kind(seen, "track_failed")[0]["message"]
    assert names(tmp_path / "out") == [".mss-cli/failed.json"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no input"),
        (["song.wav", "--if-missing", "--overwrite"], "are both given"),
        (["song.wav", "--shard", "3/2"], "names no share"),
        (["song.wav", "--output", "-", "--stems", "bass", "--dry-run"], "is for one track"),
        (["-", "--inputs-from", "-"], "stdin cannot be both"),
    ],
    ids=str,
)
def test_wrong_words_start_nothing(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(["separate", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_verify_names_what_is_not_as_recorded(album, separate, tmp_path, capsys):
    separate(album)
    assert main(["verify", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == "12 files of 3 tracks hashed: 0 tracks are not as recorded\n"
    stem = tmp_path / "out" / "a" / "two" / "bass.wav"
    raw = bytearray(stem.read_bytes())
    raw[-1] ^= 1
    stem.write_bytes(raw)
    (tmp_path / "out" / "b" / "one" / "drums.wav").unlink()
    assert main(["verify", str(tmp_path / "out"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["records"], found["files"]) == (3, 12)
    assert [row["troubles"] for row in found["damaged"]] == [
        ["`bass.wav` has other content"],
        ["`drums.wav` is missing"],
    ]


def test_verify_of_a_folder_without_records_is_an_input_error(tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 3
    assert main(["verify", str(tmp_path / "nowhere")]) == 3
    assert "no such folder" in capsys.readouterr().err


def test_stems_of_earlier_runs_are_no_inputs(album, separate, tmp_path):
    assert main(["separate", str(album), "-o", str(album / "earlier"), "-q", "--filename", "{track}_{stem}.{ext}"]) == 0
    assert main(["separate", str(album / "a"), "-o", str(album / "b" / "more"), "-q"]) == 0
    planned = of_kind(separate(album, "--dry-run")[1], "track_planned")
    assert [event["path"] for event in planned] == [
        str(album / name) for name in ("a/one.wav", "a/two.wav", "b/one.wav")
    ]
