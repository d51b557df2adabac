"""Several workers do what one does: the same bytes, the same failures, the same exit codes."""

import json

import pytest

from batch_runs import BatchRun, files_below, whole_tracks, write_broken
from mss_cli.main import main
from signals import write_music


@pytest.fixture
def album(tmp_path):
    for number in range(4):
        write_music(tmp_path / "in" / f"{number}.wav", seconds=0.4 + 0.1 * number, seed=number)
    return tmp_path / "in"


def contents(folder):
    """Give what each file holds; of records what is not a time."""
    found = {}
    for name in files_below(folder):
        raw = (folder / name).read_bytes()
        if name.endswith(".mss.json"):
            record = json.loads(raw)
            for entry in (record["input"], *record["stems"]):
                del entry["mtime_ns"]
            found[name] = record
        else:
            found[name] = raw
    return found


def test_every_number_of_jobs_gives_the_same_bytes(album, tmp_path):
    for jobs in (1, 2):
        with BatchRun(album, "-o", tmp_path / str(jobs), "--jobs", jobs) as run:
            assert run.end() == 0
    assert files_below(tmp_path / "1") == whole_tracks("0", "1", "2", "3")
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_every_event_of_a_track_comes_in_order_and_what_all_workers_say_comes_once(album, tmp_path):
    with BatchRun(album, "-o", tmp_path / "out", "--jobs", "2") as run:
        assert run.end() == 0
    for number in range(4):
        mine = [event["event"] for event in run.seen if event.get("path") == str(album / f"{number}.wav")]
        assert mine == ["track_started", "track_finished"]
    assert len(run.of_kind("weights_ready")) == 1
    assert run.seen[-1]["done"] == 4


def test_broken_files_cost_the_others_nothing_and_are_listed_in_the_order_of_the_plan(album, tmp_path):
    for name in ("1.wav", "3.wav"):
        write_broken(album / name)
    with BatchRun(album, "-o", tmp_path / "out", "--jobs", "2") as run:
        code = run.end()
    failed = run.of_kind("track_failed")
    assert (code, sorted(event["path"] for event in failed)) == (1, [str(album / "1.wav"), str(album / "3.wav")])
    listed = [event["path"] for event in run.of_kind("warning") if event["message"].startswith("failed: ")]
    assert listed == [str(album / "1.wav"), str(album / "3.wav")]
    assert files_below(tmp_path / "out") == whole_tracks("0", "2")
    assert not (tmp_path / "out" / "1").exists()


def test_fail_fast_starts_nothing_more(tmp_path):
    for number in range(8):
        write_broken(tmp_path / "in" / f"{number}.wav")
    with BatchRun(tmp_path / "in", "-o", tmp_path / "out", "--jobs", "2", "--fail-fast") as run:
        assert run.end() == 1
    assert len(run.of_kind("track_failed")) in (1, 2)  # the other worker may have been at one, too
    assert "were not tried" in "".join(event["message"] for event in run.of_kind("warning"))
    assert files_below(tmp_path / "out") == []


def test_tracks_that_share_folders_do_not_take_them_from_each_other(tmp_path):
    write_music(tmp_path / "in" / "good.wav", seconds=1.0)
    for number in range(4):
        write_broken(tmp_path / "in" / f"bad{number}.wav")
    with BatchRun(tmp_path / "in", "-o", tmp_path / "out", "--jobs", "2", "--filename", "{stem}/{track}.{ext}") as run:
        assert run.end() == 1
    stems = ["bass/good.wav", "drums/good.wav", "good.mss.json", "other/good.wav", "vocals/good.wav"]
    assert files_below(tmp_path / "out") == stems


def test_a_track_that_takes_too_long_fails_and_the_next_one_is_done(tmp_path):
    write_music(tmp_path / "in" / "long.wav", seconds=90.0)
    write_music(tmp_path / "in" / "short.wav", seconds=0.3)
    with BatchRun(tmp_path / "in", "-o", tmp_path / "out", "--jobs", "1", "--timeout-per-track", "2.5") as run:
        assert run.end() == 1
    (failed,) = run.of_kind("track_failed")
    assert (failed["path"], failed["code"]) == (str(tmp_path / "in" / "long.wav"), 75)
    assert failed["message"] == "not done after 2.5 s"
    assert files_below(tmp_path / "out") == whole_tracks("short")


def test_a_run_whose_only_track_takes_too_long_can_be_tried_again(tmp_path):
    song = write_music(tmp_path / "long.wav", seconds=90.0)
    with BatchRun(song, "-o", tmp_path / "out", "--timeout-per-track", "0.5") as run:
        assert run.end() == 75
    assert files_below(tmp_path / "out") == []


def test_a_model_that_cannot_be_loaded_ends_the_run_with_its_own_code(album, tmp_path, capsys):
    code = main(["separate", str(album), "-o", str(tmp_path / "out"), "--jobs", "2", "--device", "cuda:77"])
    assert code == 4
    assert capsys.readouterr().err.count("error: device `cuda:77` is not there") == 1
    assert files_below(tmp_path / "out") == []


@pytest.mark.parametrize("text", ["0", "-1", "many", "1025", "2.0", ""])
@pytest.mark.parametrize("flag", ["--jobs", "--threads"])
def test_numbers_of_jobs_and_threads_are_checked(album, flag, text, capsys):
    assert main(["separate", str(album), flag, text]) == 2
    assert f"`{flag} {text}` is neither `auto` nor a number from 1 to 1024" in capsys.readouterr().err


def test_a_nice_run_gives_way(album, tmp_path):
    import psutil

    with BatchRun(album, "-o", tmp_path / "out", "--jobs", "2", "--nice", "7") as run:
        run.until("track_started")
        levels = {process.nice() for process in (psutil.Process(run.process.pid), *run.workers())}
        assert run.end() == 0
    assert levels == {psutil.Process().nice() + 7} or levels == {19}
