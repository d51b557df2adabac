"""A whole run of `separate` into a folder: found, planned, locked, decided, separated, recorded."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from mss_cli.audio.access import check_readable
from mss_cli.batch.decisions import Action, Decision, decide
from mss_cli.batch.engines.base import Task
from mss_cli.batch.engines.choice import chosen_engine
from mss_cli.batch.engines.worker import Brief
from mss_cli.batch.failed import FailedTrack, failures_kept, listed_inputs, only_failed, read_failed
from mss_cli.batch.folders import TrackFolders
from mss_cli.batch.inputs import STANDARD, Inputs, find_inputs, read_list, read_list_file
from mss_cli.batch.ledger import Ledger
from mss_cli.batch.leftovers import remove_leftovers
from mss_cli.batch.locks import FolderLock, folder_lock
from mss_cli.batch.options import BatchOptions, EngineName
from mss_cli.batch.plan import Job, Layout, Plan, make_plan
from mss_cli.batch.records import refresh_record
from mss_cli.batch.room import (
    TrackLength,
    check_room,
    free_bytes,
    scratch_bytes,
    stored_bytes_per_second,
    track_bytes,
)
from mss_cli.batch.stores.mirror import Mirror, mirrored, renamed, renamed_error, uses_stores
from mss_cli.batch.track_job import Making, making
from mss_cli.errors import ExitCode, MssError, OutputError, UsageError
from mss_cli.events import Listener, RunPlanned, TrackPlanned, TrackSkipped, Warned
from mss_cli.separation.request import Checked, Request, check, run_to_stdout, track_failed, with_weights

# Measured on two cores; other models have no figure yet.
_CPU_SECONDS_PER_SECOND = {"classical": 0.06, "subband44": 0.05}
# Of a track whose header does not tell.
_USUAL_SECONDS = 180.0


def run(request: Request, options: BatchOptions, listener: Listener) -> int:
    """Separate every input of a request.

    Parameters
    ----------
    request : Request
        As typed.
    options : BatchOptions
    listener : callable
        Takes all events between the first and the last of the run.

    Returns
    -------
    int
        0 if every track is done, now or before; the tracks' own exit code if all failed by the same; else 1.

    Raises
    ------
    MssError
        If the run as a whole cannot start, or lost its folder to another run.
    """
    if request.to_stdout:
        if options != BatchOptions():
            raise UsageError("`--output -` is for one track", hint="leave out the flags for batches")
        return run_to_stdout(request, listener)
    if options.engine is EngineName.RAY:
        _check_for_cluster(request, options)
    elif options.ray_address is not None:
        raise UsageError("`--ray-address` is for `--engine ray`", hint="give both")
    if not uses_stores(request.inputs, request.output):
        return _run(request, options, None, listener)
    _check_for_stores(options)
    check(request)  # before any store is asked
    with mirrored(request.inputs, request.output, request.scratch, listener) as mirror:
        inputs = tuple(str(place) for place, _ in mirror.inputs) or request.inputs
        output = request.output if mirror.output is None else str(mirror.output[0])
        names = mirror.names
        try:
            here = replace(request, inputs=inputs, output=output)
            return _run(here, options, mirror, lambda event: listener(renamed(event, names)))
        except MssError as error:
            raise renamed_error(error, names) from error


def _run(request: Request, options: BatchOptions, mirror: Mirror | None, listener: Listener) -> int:
    checked = check(request, listener)
    if options.nice:
        if not hasattr(os, "nice"):
            raise UsageError("`--nice` needs a POSIX system", hint="leave it out")
        os.nice(options.nice)  # workers inherit it
    failed = read_failed(checked.naming.folder, options.shard) if options.retry_failed else ()
    found = _find(request, options, checked, failed, listener)
    plan = make_plan(found.files, Layout(checked.naming, checked.outputs)).shard(options.shard)
    if options.retry_failed:
        plan = only_failed(plan, failed, listener)
    if not options.dry_run and any(str(job.input) == STANDARD or job.input.exists() for job in plan.jobs):
        checked = with_weights(checked, listener)
    ledger = Ledger(plan, listener)
    whole = _Run(checked, options, making(checked), plan, ledger, mirror)
    for trouble in found.troubles:
        whole.fail(Path(trouble.path or ""), trouble)
    if options.dry_run:
        return whole.tell()
    try:
        return whole.do(ledger)
    finally:
        ledger.close()


def _check_for_stores(options: BatchOptions) -> None:
    if options.checksum:
        raise UsageError("`--checksum` would read all of a store", hint="leave it out: size and time are compared")
    if options.retry_failed:
        raise UsageError("no list of failed tracks is kept on a store", hint="run again: what is done is skipped")


def _check_for_cluster(request: Request, options: BatchOptions) -> None:
    from mss_cli.batch.engines.ray import check_ray

    if STANDARD in request.inputs:
        raise UsageError("the machines of a cluster do not read this stdin", hint="name a file that they all see")
    if options.nice:
        raise UsageError("`--nice` does not reach the machines of a cluster", hint="leave it out")
    check_ray()


def _find(
    request: Request, options: BatchOptions, checked: Checked, failed: Sequence[FailedTrack], listener: Listener
) -> Inputs:
    if not request.inputs and options.inputs_from is None:
        if options.retry_failed:
            if options.exclude:
                raise UsageError("`--exclude` leaves out inputs, and none are named", hint="name them, too")
            return listed_inputs(failed, checked.naming.folder)
        raise UsageError("no input", hint="name files or folders, or a list of them with `--inputs-from`")
    listed: Sequence[str] = ()
    if options.inputs_from == STANDARD:
        if STANDARD in request.inputs:
            raise UsageError("stdin cannot be both the list and a track", hint="write the list into a file")
        listed = read_list(sys.stdin.buffer, null=options.null)
    elif options.inputs_from is not None:
        listed = read_list_file(Path(options.inputs_from), null=options.null)
    found = find_inputs(request.inputs, listed=listed, exclude=options.exclude, output=checked.naming.folder)
    if STANDARD in listed:
        raise UsageError("the list names stdin", hint="leave `-` out of it, or write `./-` for a file of that name")
    for folder in found.empty:
        listener(Warned("no audio files in this folder", folder))
    if not found.files and not found.troubles and not found.empty:
        listener(Warned("nothing to do: no input is left"))
    return found


@dataclass(slots=True)
class _Run:
    checked: Checked
    options: BatchOptions
    making: Making
    plan: Plan
    listener: Listener
    mirror: Mirror | None = None
    failures: list[tuple[Path, MssError]] = field(default_factory=list)
    _stdin: Path | None = None

    def fail(self, name: Path, error: MssError) -> None:
        self.failures.append((name, error))
        self.listener(track_failed(name, error))

    @property
    def stopped(self) -> bool:
        """Whether there are as many failures as were allowed."""
        return self.options.max_failures is not None and len(self.failures) >= self.options.max_failures

    def do(self, ledger: Ledger) -> int:
        """Do the plan."""
        jobs = self._readable(self.plan.jobs)
        with ExitStack() as stack:
            if jobs:
                folder = self.checked.naming.folder
                lock = stack.enter_context(
                    folder_lock(folder, self.options.shard, wait_seconds=self.options.wait_lock_seconds)
                )
                stack.enter_context(failures_kept(folder, self.options.shard, ledger, retry=self.options.retry_failed))
                remove_leftovers(folder, lock.others())
                if any(str(job.input) == STANDARD for job in jobs):
                    from mss_cli.separation.standard import spooled_stdin

                    self._stdin = stack.enter_context(spooled_stdin(self.checked.request.scratch))
                    jobs = self._filled(jobs)
                todo = self._undone(jobs)
                self._separate(self._lengths(todo), lock)
        return self._code()

    def tell(self) -> int:
        """Tell the plan; nothing is written."""
        seconds, size, count = 0.0, 0, 0
        for job, decision in self._decided(self._readable(self.plan.jobs)):
            action = "separate" if decision.action == Action.SEPARATE else "skip"
            length = None
            if action == "separate" and str(job.input) != STANDARD:
                found = self._lengths([job])
                if not found:
                    continue
                length = found[job]
            needed = None if length is None else self._bytes([length])
            duration = None if length is None else length.seconds
            count += action == "separate"
            seconds, size = seconds + (duration or 0.0), size + (needed or 0)
            self.listener(TrackPlanned(job.input, action, decision.reason, job.record, duration, needed))
        self._tell_all(count, seconds, size)
        return self._code()

    def _tell_all(self, count: int, seconds: float, size: int) -> None:
        factor = _CPU_SECONDS_PER_SECOND.get(self.checked.request.model)
        self.listener(
            RunPlanned(
                tracks=len(self.plan.jobs),
                to_separate=count,
                duration_seconds=round(seconds, 3),
                size_bytes=size,
                free_bytes=free_bytes(self.checked.naming.folder),
                estimated_seconds=None if factor is None else round(factor * seconds, 1),
                dry_run=self.options.dry_run,
            )
        )

    def _path(self, job: Job) -> Path:
        return job.input if self._stdin is None or str(job.input) != STANDARD else self._stdin

    def _readable(self, jobs: Sequence[Job]) -> list[Job]:
        """Keep the inputs that can be opened at all; costs no import."""
        good = []
        for job in jobs:
            if self.stopped:
                break
            try:
                if str(job.input) != STANDARD:
                    check_readable(job.input)
            except MssError as error:
                self.fail(job.input, error)
            else:
                good.append(job)
        return good

    def _filled(self, jobs: Sequence[Job]) -> list[Job]:
        """Leave stdin out if it was empty."""
        kept = []
        for job in jobs:
            try:
                check_readable(self._path(job))
            except MssError as error:
                self.fail(job.input, error)
            else:
                kept.append(job)
        return kept

    def _decided(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Decision]]:
        for job in jobs:
            if self.stopped:
                return
            if self.options.dry_run and str(job.input) == STANDARD:
                yield job, Decision(Action.SEPARATE, "stdin")
                continue
            try:
                wanted = self.making.wanted(job)
                options = self.options
                yield (
                    job,
                    decide(self._path(job), job.record, wanted, policy=options.policy, checksum=options.checksum),
                )
            except MssError as error:
                self.fail(job.input, error)

    def _undone(self, jobs: Sequence[Job]) -> list[Job]:
        """Skip what is done."""
        undone = []
        for job, decision in self._decided(jobs):
            if decision.action == Action.SEPARATE:
                undone.append(job)
                continue
            if decision.action == Action.REFRESH and decision.record is not None:
                try:
                    refresh_record(job.record, decision.record)
                except OutputError as error:
                    self.listener(Warned(f"the record stays as it is: {error.message}", job.record))
            self.listener(TrackSkipped(job.input, decision.reason))
        return undone

    def _lengths(self, jobs: Sequence[Job]) -> dict[Job, TrackLength | None]:
        """Read the headers before the model is loaded, and keep no more than lengths: covers fill memory."""
        if not jobs:
            return {}
        from mss_cli.separation.track import open_source

        lengths: dict[Job, TrackLength | None] = {}
        for job in jobs:
            if self.stopped:
                break
            if self.mirror is not None and self.mirror.source(job.input) is not None:
                lengths[job] = None  # headers are read when the track is fetched
                continue
            try:
                source = open_source(self._path(job), self.checked.read_settings, name=job.input)
            except MssError as error:
                self.fail(job.input, error)
                continue
            seconds = source.info.seconds
            lengths[job] = None if seconds is None else TrackLength(seconds, source.info.sample_rate, source.channels)
        return lengths

    def _bytes(self, lengths: Sequence[TrackLength | None], *, at_once: int = 1) -> int:
        """Give the most room that tracks need beside each other, with the floats of the longest ones on the way."""
        stems = len(self.checked.stems.parts)
        known = [length for length in lengths if length is not None]
        files = sum(track_bytes(length, self.checked.format, stems=stems) for length in known)
        if self.checked.request.scratch is not None or self.options.dry_run:
            return files
        stored = stored_bytes_per_second(self.checked.weights) if self.checked.request.segment_seconds is None else 0.0
        floats = sorted((scratch_bytes(one, stems=stems, stored_per_second=stored) for one in known), reverse=True)
        return files + sum(floats[:at_once])

    def _separate(self, lengths: dict[Job, TrackLength | None], lock: FolderLock) -> None:
        seconds = sum(length.seconds for length in lengths.values() if length is not None)
        if not lengths or self.stopped:
            self._tell_all(len(lengths), seconds, self._bytes(list(lengths.values())))
            return
        waiting = iter(lengths)
        guess = sum(_USUAL_SECONDS if length is None else length.seconds for length in lengths.values())
        brief = Brief(self.checked, self.making, self.mirror)
        with ExitStack() as stack:
            engine, division = stack.enter_context(
                chosen_engine(brief, self.options, tracks=len(lengths), seconds=guess)
            )
            size = self._bytes(list(lengths.values()), at_once=division.jobs)
            self._tell_all(len(lengths), seconds, size)
            check_room(self.checked.naming.folder, size)
            self._check_scratch()
            folders = stack.enter_context(TrackFolders())
            tasks = self._tasks(waiting, lock, folders)
            outcomes = stack.enter_context(closing(engine.run(tasks, self.listener)))
            for outcome in outcomes:
                if outcome.error is None:
                    folders.keep(outcome.task.job)
                else:
                    self.fail(outcome.task.job.input, outcome.error)
        left = sum(1 for _ in waiting)
        if left:
            self.listener(Warned(f"stopped after {len(self.failures)} failures; {left} tracks were not tried"))

    def _tasks(self, jobs: Iterator[Job], lock: FolderLock, folders: TrackFolders) -> Iterator[Task]:
        """Give the next task while the run may go on."""
        while not self.stopped:
            lock.check()
            job = next(jobs, None)
            if job is None:
                return
            try:
                folders.make(job)
            except OutputError as error:
                self.fail(job.input, error)
            else:
                yield Task(job, self._path(job))

    def _check_scratch(self) -> None:
        from mss_cli.files import make_folder, remove_empty

        if self.checked.request.scratch is not None:
            remove_empty(make_folder(self.checked.request.scratch))

    def _code(self) -> int:
        """Give the exit code; in a batch, list the failures again where they are found: at the end."""
        if not self.failures:
            return ExitCode.OK
        places = {job.input: place for place, job in enumerate(self.plan.jobs)}
        self.failures.sort(key=lambda failure: places.get(failure[0], -1))
        codes = Counter(error.code for _, error in self.failures)
        if len(self.plan.jobs) > len(self.failures):
            for name, error in self.failures:
                failed = track_failed(name, error)
                self.listener(Warned(f"failed: {failed.message}", name))
        alike = len(self.failures) >= len(self.plan.jobs) and len(codes) == 1
        return next(iter(codes)) if alike else ExitCode.PARTIAL
