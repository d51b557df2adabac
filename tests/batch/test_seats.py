"""Several tracks at once in one worker: the same stems and records, the same words for failures, nobody else's trouble.

On a machine without a GPU no run has workers of several seats; here they are given some.
"""

import json
import struct
from contextlib import closing
from dataclasses import replace
from threading import Thread

import numpy as np
import psutil
import pytest
import soundfile
import torch

from batch_runs import files_below, whole_tracks
from mss_cli.batch.cores import Division, Machine
from mss_cli.batch.engines import choice
from mss_cli.batch.engines import worker as worker_module
from mss_cli.batch.engines.base import Task
from mss_cli.batch.engines.inline import InlineEngine
from mss_cli.batch.engines.processes import ProcessEngine
from mss_cli.batch.engines.seats import shared_segments
from mss_cli.batch.engines.worker import Brief, load_workers
from mss_cli.batch.folders import TrackFolders
from mss_cli.batch.inputs import find_inputs
from mss_cli.batch.options import BatchOptions
from mss_cli.batch.plan import Layout, make_plan
from mss_cli.batch.track_job import making
from mss_cli.errors import ExitCode
from mss_cli.events import TrackFinished, TrackStarted, Warned
from mss_cli.main import main
from mss_cli.separation.names import DEFAULT_TEMPLATE
from mss_cli.separation.request import Request, check
from mss_cli.separation.settings import SHORTEST_SEGMENT_SECONDS
from shared_separators import RATE, SEGMENT, TornTask, Watched, write_network
from signals import write_music


def checked(weights, inputs, out, **changed):
    request = Request(
        inputs=(str(inputs),), model=str(weights), output=str(out), template=DEFAULT_TEMPLATE, stems=None,
        two_stems=None, residual=False, format="wav", depth="float32", bitrate=None, clip="none", device="cpu",
        precision="auto", segment_seconds=None, overlap=0.25, shifts=0, seed=0, threads=1, downmix=None, stream=None,
        scratch=None, plot=False, json=False,
    )  # fmt: skip
    return check(replace(request, **changed))


class Run:
    """A run through an engine that was chosen by hand."""

    def __init__(self, tmp_path, out, **changed):
        self.out = tmp_path / out
        model = write_network(tmp_path / "model.safetensors")
        whole = checked(model, tmp_path / "in", self.out, **changed)
        self.brief = Brief(whole, making(whole))
        found = find_inputs(whole.request.inputs, listed=(), exclude=(), output=whole.naming.folder)
        self.jobs = make_plan(found.files, Layout(whole.naming, whole.outputs)).jobs
        self.events = []
        self.errors = {}

    def tasks(self, folders):
        for job in self.jobs:
            folders.make(job)
            yield Task(job, job.input)

    def in_processes(self, *, seats, workers=1, on_event=lambda event: None, timeout_seconds=None):
        """Do all tracks; errors by the name of the track are kept, None for those that are done."""

        def listen(event):
            self.events.append(event)
            on_event(event)

        engine = ProcessEngine(self.brief, Division(("cpu",) * workers, 1, seats), timeout_seconds=timeout_seconds)
        with TrackFolders() as folders:
            for outcome in engine.run(self.tasks(folders), listen):
                name = outcome.task.path.stem
                assert name not in self.errors
                self.errors[name] = outcome.error
                if outcome.error is None:
                    folders.keep(outcome.task.job)
        return self

    def one_by_one(self):
        """Do all tracks in this process, one after the other."""
        (worker,) = load_workers(self.brief, self.events.append)
        with TrackFolders() as folders:
            for task in self.tasks(folders):
                self.errors[task.path.stem] = worker.do(task, self.events.append)
                folders.keep(task.job)
        return self

    def done(self):
        assert set(self.errors.values()) == {None}
        return self

    def said(self, path):
        return [event.message for event in self.events if isinstance(event, Warned) and event.path == path]


def write_album(tmp_path, seconds, *, level=0.25):
    for number, length in enumerate(seconds):
        write_music(tmp_path / "in" / f"{number}.wav", seconds=length, seed=number, level=level)


def records(folder):
    """Give what records say, but for times and hashes of what was computed."""
    found = {}
    for path in sorted(folder.rglob("*.mss.json")):
        record = json.loads(path.read_text())
        del record["input"]["mtime_ns"]
        for stem in record["stems"]:
            del stem["mtime_ns"], stem["sha256"]
        found[path.relative_to(folder)] = record
    return found


def assert_same_stems(folder, other):
    assert files_below(folder) == files_below(other)
    names = [name for name in files_below(folder) if name.endswith(".wav")]
    assert names
    for name in names:
        samples, rate = soundfile.read(folder / name, dtype="float32")
        others, rate_too = soundfile.read(other / name, dtype="float32")
        assert (samples.shape, rate) == (others.shape, rate_too)
        assert np.abs(samples - others).max() <= 1e-6


def test_one_process_with_seats_does_what_one_track_after_the_other_does(tmp_path):
    write_album(tmp_path, [0.3 + 0.07 * number for number in range(7)])
    Run(tmp_path, "alone").one_by_one().done()
    run = Run(tmp_path, "together").in_processes(seats=4).done()
    assert_same_stems(tmp_path / "alone", tmp_path / "together")
    assert records(tmp_path / "alone") == records(tmp_path / "together")
    for job in run.jobs:
        own = [type(event) for event in run.events if getattr(event, "path", None) == job.input]
        assert own == [TrackStarted, TrackFinished]


def test_two_processes_may_have_seats(tmp_path):
    write_album(tmp_path, [0.2] * 6)
    run = Run(tmp_path, "out").in_processes(seats=2, workers=2).done()
    assert files_below(tmp_path / "out") == whole_tracks(*run.errors)


def at_seats(run, monkeypatch, refuse=lambda mixture: None):
    """Do every track in a thread of this process, all at once; give errors by name, and what was called."""
    watched = []
    load = worker_module.load

    def load_watched(request, listener):
        loaded = load(request, listener)
        watched.append(Watched(loaded.engine.separator, refuse))
        return replace(loaded, engine=replace(loaded.engine, separator=watched[0]))

    monkeypatch.setattr(worker_module, "load", load_watched)
    workers = load_workers(run.brief, run.events.append, seats=len(run.jobs))
    watched[0].gate.clear()
    with TrackFolders() as folders:
        threads = []
        for worker, task in zip(workers, run.tasks(folders), strict=True):

            def do(worker=worker, task=task):
                run.errors[task.path.stem] = worker.do(task, run.events.append)

            threads.append(Thread(target=do))
            threads[-1].start()
        shared = workers[0]._loaded.engine.separator
        while len(shared._waiting) + len(watched[0].calls) < len(run.jobs):
            assert all(thread.is_alive() for thread in threads)
        watched[0].gate.set()
        for thread in threads:
            thread.join(120.0)
        for job in run.jobs:
            if run.errors[job.input.stem] is None:
                folders.keep(job)
    return watched[0].calls


def test_segments_of_several_tracks_are_computed_in_one_call(tmp_path, monkeypatch):
    write_album(tmp_path, [0.4] * 8)
    Run(tmp_path, "alone").one_by_one().done()
    run = Run(tmp_path, "together")
    calls = at_seats(run, monkeypatch)
    run.done()
    assert max(shape[0] for shape in calls) >= 4  # those of the first call, or those that waited for its end
    assert_same_stems(tmp_path / "alone", tmp_path / "together")


def test_memory_that_runs_out_in_a_joint_call_costs_only_the_track_that_is_too_large(tmp_path, monkeypatch):
    longest = SHORTEST_SEGMENT_SECONDS
    write_album(tmp_path, [3 * longest] * 5, level=0.02)
    write_music(tmp_path / "in" / "5.wav", seconds=3 * longest, level=0.9)
    write_music(tmp_path / "in" / "6.wav", seconds=3 * longest, level=0.9, channels=1)

    def refuse(mixture):
        loud = float(mixture.abs().max()) > 0.5
        mono = torch.equal(mixture[:, 0], mixture[:, 1])
        too_long = mixture.shape[-1] > longest * RATE + 1
        return torch.OutOfMemoryError("no room") if loud and (mono or too_long) else None

    Run(tmp_path, "alone", segment_seconds=2 * longest).one_by_one().done()
    run = Run(tmp_path, "together", segment_seconds=2 * longest)
    at_seats(run, monkeypatch, refuse)
    assert run.errors.pop("6").code == ExitCode.MEMORY
    run.done()
    for number in range(5):
        assert_same_stems(tmp_path / "alone" / str(number), tmp_path / "together" / str(number))
        assert run.said(tmp_path / "in" / f"{number}.wav") == []
    (word,) = run.said(tmp_path / "in" / "5.wav")
    assert word == f"out of memory: starting again with segments of {longest:.2f} s"
    assert not (tmp_path / "together" / "6").exists()


def test_a_bug_met_in_one_track_stops_no_other(tmp_path, monkeypatch):
    write_album(tmp_path, [0.4] * 4, level=0.02)
    write_music(tmp_path / "in" / "4.wav", seconds=0.4, level=0.9)
    run = Run(tmp_path, "out")
    at_seats(run, monkeypatch, lambda mixture: ValueError("odd") if float(mixture.abs().max()) > 0.5 else None)
    assert run.errors.pop("4").message == "internal error: ValueError: odd"
    run.done()
    assert files_below(tmp_path / "out") == whole_tracks("0", "1", "2", "3")


@pytest.mark.slow  # three processes one after the other
def test_a_seat_whose_thread_ends_takes_its_process_along_and_only_its_track_fails(tmp_path):
    write_album(tmp_path, [0.2] * 3)

    class Torn(Run):
        def tasks(self, folders):
            for task in super().tasks(folders):
                yield TornTask(task.job, task.path) if task.path.stem == "1" else task

    run = Torn(tmp_path, "out").in_processes(seats=3)
    assert run.errors.pop("1").message == "its worker died twice (exit status 1), the second time alone"
    run.done()
    assert files_below(tmp_path / "out") == whole_tracks("0", "2")


def test_a_run_that_is_broken_off_leaves_no_process_and_nothing_half_done(tmp_path):
    write_album(tmp_path, [0.2, 2.0, 2.0])
    run = Run(tmp_path, "out", overlap=0.8)
    with (
        TrackFolders() as folders,
        closing(
            ProcessEngine(run.brief, Division(("cpu",), 1, 3)).run(run.tasks(folders), run.events.append)
        ) as outcomes,
    ):
        first = next(outcomes)
        folders.keep(first.task.job)
        assert first.error is None
    assert not workers()
    assert files_below(tmp_path / "out") == whole_tracks(first.task.path.stem)


def workers():
    """Give the worker processes of this one."""
    return [one for one in psutil.Process().children() if "spawn_main" in " ".join(one.cmdline())]


def test_a_killed_process_costs_its_tracks_only_time_and_each_is_tried_alone(tmp_path):
    write_album(tmp_path, [2.0, 2.0, 2.0, 0.2, 0.2])
    seen = []

    def watch(event):
        if isinstance(event, TrackStarted | TrackFinished):
            seen.append((type(event), event.path.stem))
        if isinstance(event, TrackStarted) and len(seen) == 3:
            (child,) = workers()
            child.kill()

    run = Run(tmp_path, "out", overlap=0.8).in_processes(seats=3, on_event=watch).done()
    assert sorted(seen[:3]) == [(TrackStarted, name) for name in "012"]
    for name in "012":
        assert run.said(tmp_path / "in" / f"{name}.wav") == ["its worker died (SIGKILL): it is tried once more, alone"]
    for start, end in zip(seen[-6::2], seen[-5::2], strict=True):
        assert (start[0], end[0], start[1]) == (TrackStarted, TrackFinished, end[1])
    assert files_below(tmp_path / "out") == whole_tracks("0", "1", "2", "3", "4")


def write_endless(path, *, seconds=1200):
    """Write a file of silence, mostly without room on disk, that keeps every machine busy for half a minute."""
    size = seconds * RATE * 4
    sizes = (size + 36, b"WAVE", b"fmt ", 16, 1, 2, RATE, RATE * 4, 4, 16, b"data", size)
    with path.open("wb") as file:
        file.write(struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", *sizes))
        file.truncate(44 + size)


def test_a_track_that_takes_too_long_leaves_those_beside_it_whole(tmp_path):
    write_album(tmp_path, [0.3, 2.0, 2.0, 2.0, 0.3, 0.3])
    good = (tmp_path / "in" / "4.wav").rename(tmp_path / "good.wav")
    for name in "04":
        write_endless(tmp_path / "in" / f"{name}.wav")

    def mend(event):
        if isinstance(event, Warned) and "begun again" in event.message:
            good.replace(tmp_path / "in" / "4.wav")

    run = Run(tmp_path, "out").in_processes(seats=2, on_event=mend, timeout_seconds=6.0)
    assert run.errors.pop("0").message == "not done after 6 s"
    run.done()
    four = tmp_path / "in" / "4.wav"
    assert run.said(four) == ["its worker was ended for a track that took too long: it is begun again"]
    assert files_below(tmp_path / "out") == whole_tracks("1", "2", "3", "4", "5")


@pytest.mark.parametrize(
    ("seconds", "changed", "expected"),
    [
        (0.0, {}, 1),
        (SEGMENT / RATE, {}, 1),
        (SEGMENT / RATE + 0.001, {}, 2),
        (SEGMENT / RATE * 1.75, {}, 2),
        (SEGMENT / RATE * 1.76, {}, 3),
        (SEGMENT / RATE * 2.5, {"overlap": 0.5}, 4),
        (9.0, {"segment_seconds": 10.0}, 1),
        (1.0, {"plot": True}, None),
        (1.0, {"model": "classical"}, None),
    ],
)
def test_segments_of_a_track_are_counted_where_tracks_can_share_a_model(tmp_path, seconds, changed, expected):
    whole = checked(write_network(tmp_path / "m.safetensors"), tmp_path, tmp_path / "out", **changed)
    assert shared_segments(whole, seconds) == expected


def test_models_that_hear_whole_tracks_or_have_members_are_not_shared(tmp_path):
    first, second = (write_network(tmp_path / name / "m.safetensors") for name in "ab")
    assert shared_segments(checked(f"{first}+{second}", tmp_path, tmp_path / "out"), 1.0) is None


@pytest.mark.parametrize(
    ("device", "jobs", "tracks", "seconds", "engine", "seats"),
    [
        ("auto", None, 100, 10.0, ProcessEngine, 8),
        ("cuda", None, 100, 10.0, ProcessEngine, 8),
        ("cuda", None, 100, 20.0, ProcessEngine, 4),
        ("cuda", None, 3, 0.3, ProcessEngine, 3),
        ("cuda", None, 100, 10_000.0, InlineEngine, 1),
        ("cuda", None, 1, 0.1, InlineEngine, 1),
        ("cuda", 1, 100, 10.0, InlineEngine, 1),
        ("cuda", 2, 100, 10.0, ProcessEngine, 1),
    ],
)
def test_short_tracks_share_a_gpu_unless_a_number_of_jobs_was_asked_for(
    tmp_path, monkeypatch, device, jobs, tracks, seconds, engine, seats
):
    monkeypatch.setattr(choice, "this_machine", lambda device: Machine(8, None, ("cuda:0",)))
    whole = checked(write_network(tmp_path / "m.safetensors"), tmp_path, tmp_path / "out", device=device, threads=None)
    options = BatchOptions(jobs=jobs)
    with choice.chosen_engine(Brief(whole, making(whole)), options, tracks=tracks, seconds=seconds) as (made, division):
        assert isinstance(made, engine)
        assert division.seats == seats


def test_a_track_with_a_time_limit_does_not_share_its_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "this_machine", lambda device: Machine(8, None, ("cuda:0",)))
    whole = checked(write_network(tmp_path / "m.safetensors"), tmp_path, tmp_path / "out", device="cuda", threads=None)
    options = BatchOptions(timeout_seconds=60.0)
    with choice.chosen_engine(Brief(whole, making(whole)), options, tracks=100, seconds=10.0) as (made, division):
        assert isinstance(made, ProcessEngine)
        assert division.seats == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_short_files_on_a_gpu_have_the_stems_of_one_after_the_other(tmp_path, capsys):
    write_album(tmp_path, [0.3 + 0.02 * (number % 4) for number in range(16)])
    model = write_network(tmp_path / "model.safetensors")
    command = ["separate", str(tmp_path / "in"), "-m", model, "--device", "cuda", "--depth", "float32"]
    for out, flags in (("alone", ["--jobs", "1"]), ("together", [])):
        assert main([*command, "--clip", "none", "-o", str(tmp_path / out), *flags]) == 0
    capsys.readouterr()
    assert_same_stems(tmp_path / "alone", tmp_path / "together")
    assert records(tmp_path / "alone") == records(tmp_path / "together")
    assert {record["circumstances"]["device"] for record in records(tmp_path / "together").values()} == {"cuda:0"}
