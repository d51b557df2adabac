"""One run per output folder and shard: claimed by a file of its own, renewed while it lives.

Every run has a lock file of its own, `.mss-cli/lock-TOKEN.json`, so that a dead run's lock can be removed without
touching another's. A run first claims, then looks: claims that conflict go to the smaller token, a lock that is held
wins over every claim. Of two runs that claim at once each sees the other, since both claim before they look.

No clocks are compared. On the same host a lock is dead when its process is; elsewhere when a run that waits saw its
content stand still for `stale_seconds` of its own time.
"""

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mss_cli.batch.holders import Holder, Life, holder_to_json, myself, parse_holder
from mss_cli.batch.inputs import STATE_FOLDER
from mss_cli.batch.json_fields import MalformedError, sync_folder
from mss_cli.batch.sharding import Shard
from mss_cli.errors import FolderBusy
from mss_cli.files import make_folder, output_error, remove_empty, temporary_name

_NAME = re.compile(r"lock-[0-9a-f]{32}\.json")
# Renewals are written in place, so that they need no room on a full disk; all are of this size.
_BYTES = 1024


@dataclass(frozen=True, slots=True)
class LockTiming:
    """How often a lock is renewed and looked at, in seconds.

    Parameters
    ----------
    renew_seconds : float
        Between two renewals.
    stale_seconds : float
        How long the lock of another host must stand still to count as dead.
    poll_seconds : float
        Between two looks at the locks of others.
    settle_seconds : float
        How long a claim of another run may take to be decided.
    """

    renew_seconds: float = 10.0
    stale_seconds: float = 120.0
    poll_seconds: float = 1.0
    settle_seconds: float = 5.0


class FolderLock:
    """A lock that is held; given by `folder_lock`.

    Attributes
    ----------
    lost : threading.Event
        Set when another run took this one for dead: it slept too long. Then stop with `FolderBusy` before the next
        track; what was published is whole.
    """

    def __init__(self, path: Path, holder: Holder, timing: LockTiming) -> None:
        self.path = path
        self.holder = holder
        self.lost = threading.Event()
        self._timing = timing
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        # A lock appears whole, never half written: under another name first.
        temporary = temporary_name(path)
        try:
            self._file = temporary.open("x+b", buffering=0)
            try:
                self._write()
                temporary.rename(path)
            except BaseException:
                self._file.close()
                temporary.unlink(missing_ok=True)
                raise
        except FileNotFoundError:
            raise  # the folder went with the last run's lock: the caller makes it again
        except OSError as error:
            raise output_error(path, error) from error
        sync_folder(path.parent)

    def check(self) -> None:
        """Stop a run whose lock was taken.

        Raises
        ------
        FolderBusy
            If it was.
        """
        if self.lost.is_set():
            hint = "run the command again; what is finished stays"
            raise FolderBusy("another run took this one for dead and works there", path=str(self._folder), hint=hint)

    def others(self) -> list["Lock"]:
        """Give the locks beside this one, as they are now: sisters, and runs that are about to give up."""
        return [lock for lock in locks_in(self._folder) if lock.path != self.path]

    @property
    def _folder(self) -> Path:
        return self.path.parent.parent

    def hold(self) -> None:
        """Turn the claim into a lock and renew it from now on."""
        self.holder = replace(self.holder, held=True)
        try:
            self._write()
        except OSError as error:
            raise output_error(self.path, error) from error
        self._thread = threading.Thread(target=self._renew, name="lock renewal", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Let others in."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._file.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _renew(self) -> None:
        while not self._stop.wait(self._timing.renew_seconds):
            # A renewal that fails is tried again; only a file that is no longer there is a lost lock.
            with suppress(OSError):
                self.holder = replace(self.holder, beats=self.holder.beats + 1)
                self._write()
            if self._gone():
                self.lost.set()
                return

    def _gone(self) -> bool:
        try:
            there, mine = self.path.stat(), os.fstat(self._file.fileno())
        except FileNotFoundError:
            return True
        except OSError:
            return False  # the file system is away for a moment
        return (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino)

    def _write(self) -> None:
        text = json.dumps(holder_to_json(self.holder), sort_keys=True)
        self._file.seek(0)
        self._file.write(text.encode("ascii").ljust(_BYTES - 1) + b"\n")
        os.fsync(self._file.fileno())


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file of another run; the holder is None if it cannot be read."""

    path: Path
    raw: bytes
    holder: Holder | None

    def conflicts(self, shard: Shard | None) -> bool:
        """Tell whether it keeps a run of that shard out; one that cannot be read keeps everyone out."""
        return self.holder is None or self.holder.conflicts(shard)

    @property
    def words(self) -> str:
        """For messages."""
        return f"a run whose lock `{self.path.name}` cannot be read" if self.holder is None else str(self.holder)


def locks_in(folder: Path) -> list[Lock]:
    """Give all locks in an output folder, dead ones too, sorted."""
    locks = []
    with suppress(OSError):
        for path in sorted((folder / STATE_FOLDER).iterdir()):
            if _NAME.fullmatch(path.name):
                with suppress(OSError):
                    locks.append(_read(path))
    return locks


def _read(path: Path) -> Lock:
    raw = path.read_bytes()
    try:
        return Lock(path, raw, parse_holder(raw, path.name))
    except MalformedError:
        return Lock(path, raw, None)


class _Watch:
    """Tells which locks are dead, by what was seen of them so far."""

    def __init__(self, timing: LockTiming) -> None:
        self._timing = timing
        self._still: dict[Path, tuple[bytes, float]] = {}
        self._looked = time.monotonic()

    def living(self, folder: Path, *, mine: Path | None) -> list[Lock]:
        """Give the locks of living runs and remove those of dead ones."""
        now = time.monotonic()
        # A run that was itself stopped for a while saw nothing in that time.
        passed = min(now - self._looked, 2 * self._timing.poll_seconds)
        self._looked = now
        living = []
        for lock in locks_in(folder):
            if lock.path == mine:
                continue
            raw, still = self._still.get(lock.path, (b"", 0.0))
            still = still + passed if raw == lock.raw else 0.0
            self._still[lock.path] = (lock.raw, still)
            life = Life.UNKNOWN if lock.holder is None else lock.holder.life()
            if life == Life.GONE or (life == Life.UNKNOWN and still >= self._timing.stale_seconds):
                with suppress(OSError):
                    lock.path.unlink(missing_ok=True)
                continue
            living.append(lock)
        return living


@contextmanager
def folder_lock(
    folder: Path, shard: Shard | None = None, *, wait_seconds: float = 0.0, timing: LockTiming | None = None
) -> Iterator[FolderLock]:
    """Keep conflicting runs out of an output folder.

    A run without shard conflicts with every other; one of shard i/n with the same i of n, with every other n, and
    with a run without shard.

    Parameters
    ----------
    folder : Path
        The output folder; made if it is missing, and removed again if it stays empty.
    shard : Shard or None
        The run's own.
    wait_seconds : float, >= 0
        How long to wait for others to end.
    timing : LockTiming, optional

    Raises
    ------
    FolderBusy
        If others still hold it after that time; names one.
    OutputError
        If it cannot be written.
    """
    timing = timing or LockTiming()
    made = make_folder(folder / STATE_FOLDER)
    try:
        lock = _acquire(folder, shard, wait_seconds, timing)
        try:
            yield lock
        finally:
            lock.release()
    finally:
        # The state folder stays if a list of failures or another run's lock lies there.
        remove_empty(made or [folder / STATE_FOLDER])


def _acquire(folder: Path, shard: Shard | None, wait_seconds: float, timing: LockTiming) -> FolderLock:
    watch = _Watch(timing)
    started = time.monotonic()
    settled = started + timing.settle_seconds
    while True:
        # Whoever comes to a held folder does not even claim: it would only disturb others who wait.
        rivals = [lock for lock in watch.living(folder, mine=None) if lock.conflicts(shard) and _is_held(lock)]
        if not rivals:
            lock, rivals = _claim(folder, shard, watch, timing)
            if lock is not None:
                lock.hold()
                return lock
        now = time.monotonic()
        limit = started + wait_seconds
        if not any(map(_is_held, rivals)):
            limit = max(limit, settled)  # two that came at once: one of them is about to win
        if now >= limit:
            raise _busy(folder, rivals[0], timing)
        time.sleep(min(timing.poll_seconds if any(map(_is_held, rivals)) else 0.05, max(0.0, limit - now)))


def _claim(
    folder: Path, shard: Shard | None, watch: _Watch, timing: LockTiming
) -> tuple[FolderLock | None, list[Lock]]:
    """Claim and look; give the lock, or who was first."""
    mine = myself(shard)
    lock = _new_lock(folder, mine, timing)
    limit = time.monotonic() + timing.settle_seconds
    try:
        while True:
            rivals = [other for other in watch.living(folder, mine=lock.path) if other.conflicts(shard)]
            if not rivals:
                return lock, []
            first = [other for other in rivals if _is_held(other) or other.path.name < lock.path.name]
            if first or time.monotonic() >= limit:
                lock.release()
                return None, first or rivals
            time.sleep(0.02)
    except BaseException:
        lock.release()
        raise


def _new_lock(folder: Path, holder: Holder, timing: LockTiming) -> FolderLock:
    path = folder / STATE_FOLDER / f"lock-{holder.token}.json"
    for _ in range(20):
        make_folder(path.parent)
        with suppress(FileNotFoundError):  # a run that ended removed the empty folder just now
            return FolderLock(path, holder, timing)
    raise output_error(path, FileNotFoundError(2, "no such file or directory"))


def _is_held(lock: Lock) -> bool:
    return lock.holder is None or lock.holder.held


def _busy(folder: Path, lock: Lock, timing: LockTiming) -> FolderBusy:
    hint = "wait for it with `--wait-lock SECONDS`, or choose another `--output`"
    if lock.holder is None or lock.holder.life() == Life.UNKNOWN:
        hint = f"`--wait-lock {round(timing.stale_seconds + 10)}` waits and takes over if it is dead"
    return FolderBusy(f"{lock.words} works there", path=str(folder), hint=hint)
