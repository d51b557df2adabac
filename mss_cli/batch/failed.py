"""The list of failed tracks of an output folder: what `--retry-failed` does.

`.mss-cli/failed.json` in the output folder, for shard i of n `failed-i-of-n.json`; gone when nothing failed. It is
written while the folder's lock is held, and names tracks with the folder they had in the plan, so that a retry without
inputs gives them the same names.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from mss_cli.batch.inputs import STANDARD, STATE_FOLDER, Found, Inputs
from mss_cli.batch.json_fields import MalformedError, path_entry, read_object, write_object
from mss_cli.batch.ledger import Ledger
from mss_cli.batch.plan import Job, Plan
from mss_cli.batch.sharding import Shard
from mss_cli.errors import InputError, OutputError
from mss_cli.events import Json, Listener, TrackFailed, Warned
from mss_cli.files import output_error

SCHEMA = 1
_NAMES = "failed*.json"
# Some hundred bytes for each failed track; a million of them fit.
_LONGEST_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class FailedTrack:
    """A track that failed when it was last tried.

    Parameters
    ----------
    path : Path
        As it was named.
    absolute : Path
        The same from the root, links left as they are.
    folder : PurePath
        Of its job: what stands before `{track}` in the names of its stems.
    code : int
        Exit code of its failure.
    message : str
    """

    path: Path
    absolute: Path
    folder: PurePath
    code: int
    message: str


def read_failed(output: Path, shard: Shard | None) -> tuple[FailedTrack, ...]:
    """Read the list of an output folder; empty if there is none.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    path = _place(output, shard)
    try:
        return _read(path)
    except (OSError, ValueError) as error:
        hint = "run without `--retry-failed`: that writes a new one"
        raise InputError(f"cannot read the list of failed tracks: {error}", path=str(path), hint=hint) from error


def listed_inputs(failed: Sequence[FailedTrack], output: Path) -> Inputs:
    """Give the tracks of a list as inputs that `make_plan` puts where they were."""
    return Inputs(tuple(Found(_shown(track), output, track.folder / track.path.name) for track in failed))


def only_failed(plan: Plan, failed: Sequence[FailedTrack], listener: Listener) -> Plan:
    """Keep the tracks of a plan that are on a list; tell how many of the list are not in the plan."""
    wanted = {track.absolute for track in failed}
    jobs = tuple(job for job in plan.jobs if absolute(job.input) in wanted)
    missing = len(wanted) - len(jobs)
    if not wanted:
        listener(Warned("nothing to do: no track is listed as failed"))
    elif missing:
        listener(Warned(f"{missing} of {len(wanted)} failed tracks are not among the inputs and stay listed"))
    return replace(plan, jobs=jobs)


@contextmanager
def failures_kept(output: Path, shard: Shard | None, ledger: Ledger, *, retry: bool) -> Iterator[None]:
    """Bring the lists up to date when a run on a folder ends, however it ends. To be entered with its lock held.

    A track that was done, or skipped because it is done, is struck out, by a run without shard from the lists of all
    shards; a failed one is noted. Tracks that this run did not get to, or was not about, stay listed as long as their
    inputs are there; with `retry` also without.

    Parameters
    ----------
    output : Path
    shard : Shard or None
    ledger : Ledger
        Knows what became of the run's tracks.
    retry : bool
        The run is about listed tracks only.
    """
    try:
        yield
    finally:
        try:
            _update(output, shard, ledger, retry=retry)
        except OutputError as error:  # disk full: what is finished stays finished
            ledger(Warned(f"the list of failed tracks is not up to date: {error}"))


def absolute(path: Path) -> Path:
    """Give a path from the root without `.` and `..`; links stay."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links


def _update(output: Path, shard: Shard | None, ledger: Ledger, *, retry: bool) -> None:
    over = {absolute(job.input) for job in ledger.over()}
    own = _place(output, shard)
    failed = [_failed(job, event) for job, event in ledger.failed if str(job.input) != STANDARD]
    lists = {own, *own.parent.glob(_NAMES)} if shard is None else {own}
    for path in sorted(lists):
        before: tuple[FailedTrack, ...] = ()
        with suppress(OSError, ValueError):  # a damaged list is replaced
            before = _read(path)
        after = [track for track in before if track.absolute not in over and (retry or os.path.lexists(track.absolute))]
        after += failed if path == own else []
        if after != list(before):
            _write(path, after)


def _failed(job: Job, event: TrackFailed) -> FailedTrack:
    return FailedTrack(job.input, absolute(job.input), job.folder, event.code, event.message)


def _place(output: Path, shard: Shard | None) -> Path:
    name = "failed.json" if shard is None else f"failed-{shard.index}-of-{shard.count}.json"
    return output / STATE_FOLDER / name


def _shown(track: FailedTrack) -> Path:
    """Name a track as it was named, where that still means the same."""
    return track.path if absolute(track.path) == track.absolute else track.absolute


def _read(path: Path) -> tuple[FailedTrack, ...]:
    try:
        top = read_object(path, longest_bytes=_LONGEST_BYTES)
    except FileNotFoundError:
        return ()
    if top.whole("schema") != SCHEMA:
        raise MalformedError("another schema")
    return tuple(
        FailedTrack(
            part.path("path"), part.path("absolute"), part.path("folder"), part.whole("code"), part.text("message")
        )
        for part in top.each("failed")
    )


def _write(path: Path, tracks: Sequence[FailedTrack]) -> None:
    if not tracks:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise output_error(path, error) from error
        return
    rows: list[Json] = [
        {
            **path_entry("path", track.path),
            **path_entry("absolute", track.absolute),
            **path_entry("folder", track.folder),
            "code": track.code,
            # What names a file that is not UTF-8 holds surrogates, which have no JSON form.
            "message": track.message.encode("utf-8", errors="replace").decode(),
        }
        for track in tracks
    ]
    write_object(path, {"schema": SCHEMA, "failed": rows})
