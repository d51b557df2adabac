"""Spawned processes that do tracks: a dead one costs its track, not the run."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Self

from mss_cli.datasets.track import Track
from mss_cli.errors import ExitCode
from mss_cli.evaluation.track_job import Failure, Job, Outcome, Scorer

_SECONDS_TO_LEAVE = 5.0


class Workers:
    """A few processes, each with its own loaded system and one thread.

    Use as a context manager: leaving it ends them, also in the middle of a track.

    Parameters
    ----------
    job : Job
        Sent to each.
    count : int, >= 1
    """

    def __init__(self, job: Job, count: int) -> None:
        self._job = job
        self._count = count
        self._context = multiprocessing.get_context("spawn")
        self._running: dict[Connection, tuple[SpawnProcess, Track | None]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection, (process, _) in self._running.items():
            connection.close()  # an idle worker leaves by itself
            if kind is not None:
                process.kill()
        for process, _ in self._running.values():
            process.join(_SECONDS_TO_LEAVE)
            if process.is_alive():
                process.kill()
                process.join()
        self._running.clear()

    def run(self, tracks: Sequence[Track]) -> Iterator[tuple[Track, Outcome]]:
        """Do the tracks, giving each as it is done."""
        waiting = deque(tracks)
        for _ in range(min(self._count, len(tracks))):
            self._give(self._start(), waiting)
        while any(track is not None for _, track in self._running.values()):
            busy = [connection for connection, (_, track) in self._running.items() if track is not None]
            for ready in wait(busy):
                if not isinstance(ready, Connection):
                    continue
                process, track = self._running[ready]
                if track is None:
                    continue
                try:
                    outcome = ready.recv()
                except (EOFError, OSError):
                    outcome = self._bury(ready, process)
                    ready = self._start() if waiting else ready
                if ready in self._running:
                    self._give(ready, waiting)
                yield track, outcome

    def _start(self) -> Connection:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self._job), daemon=True)
        process.start()
        theirs.close()  # so that the end of the worker ends the pipe
        self._running[ours] = (process, None)
        return ours

    def _give(self, connection: Connection, waiting: deque[Track]) -> None:
        process, _ = self._running[connection]
        track = waiting.popleft() if waiting else None
        self._running[connection] = (process, track)
        if track is not None:
            connection.send(track)

    def _bury(self, connection: Connection, process: SpawnProcess) -> Outcome:
        process.join(_SECONDS_TO_LEAVE)
        del self._running[connection]
        connection.close()
        reason = f"its worker died (exit status {process.exitcode})"
        hint = "often out of memory: use fewer `--jobs`, and run again: finished tracks are kept"
        return Outcome(None, failure=Failure(ExitCode.MEMORY, reason, None, hint))


def _work(connection: Connection, job: Job) -> None:
    """Do tracks until the other end closes; signals are the parent's business."""
    for number in (signal.SIGINT, signal.SIGHUP) if hasattr(signal, "SIGHUP") else (signal.SIGINT,):
        signal.signal(number, signal.SIG_IGN)
    scorer = Scorer(job)
    try:
        while True:
            connection.send(_outcome(scorer, connection.recv()))
    except (EOFError, OSError):
        return  # the parent has gone, or has no more tracks


def _outcome(scorer: Scorer, track: Track) -> Outcome:
    """Do one track; `Scorer.run` raises only if the system cannot be opened, and then for every track."""
    try:
        return scorer.run(track)
    except Exception as error:
        hint = "this is a bug; run with `--jobs 1` to save a traceback"
        text = f"internal error: {type(error).__name__}: {error}"
        return Outcome(None, failure=Failure(ExitCode.INTERNAL, text, None, hint, fatal=True))
