"""`--summary`: how a run ended, and one row for each of its tracks, as one JSON file."""

import errno
import json
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from mss_cli.console.log_file import refusal
from mss_cli.events import (
    SCHEMA,
    Event,
    Json,
    RunFinished,
    TrackFailed,
    TrackFinished,
    TrackNotTried,
    TrackPlanned,
    TrackSkipped,
    TrackStarted,
    as_object,
    entries,
)
from mss_cli.files import temporary_name
from mss_cli.version import version

_COPIED_BYTES = 1 << 20


class Summary:
    """A listener that writes the summary of a run when it takes the last event.

    Rows wait in a file without a name, in the summary's folder: memory does not grow with the number of tracks, and a
    run that is killed leaves nothing behind. The summary of the last run stands until the new one is whole.

    Parameters
    ----------
    path : Path
        Replaced in one step; its folder must exist.

    Raises
    ------
    OutputError
        Here if it cannot be written; from the last event if it no longer could.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._target = Path(os.path.realpath(path))  # a link stays one
        self._trouble: OSError | None = None
        self._started: dict[Path, float] = {}
        self._last: Path | None = None
        self._rows = 0
        try:
            if self._target.is_dir():
                raise IsADirectoryError(errno.EISDIR, "is a directory")
            if self._target.exists() and not self._target.is_file():
                raise OSError(errno.EINVAL, "not a plain file")  # to rename a file over a device would remove it
            self._spool = tempfile.TemporaryFile(dir=self._target.parent, buffering=0)  # noqa: SIM115 - lives as long as the run
        except (OSError, ValueError) as error:
            raise refusal(path, error, "--summary") from error

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event:
            case TrackStarted():
                self._started[event.path] = time.monotonic()
            case TrackFinished():
                self._started.pop(event.path, None)
                self._row(event.path, "done", elapsed=event.elapsed_seconds, outputs=[*map(entries, event.outputs)])
            case TrackFailed():
                started = self._started.pop(event.path, None)
                elapsed = None if started is None else round(time.monotonic() - started, 3)
                self._row(event.path, "failed", code=event.code, message=event.message, elapsed=elapsed)
            case TrackSkipped():
                self._row(event.path, "skipped", message=event.reason)
            case TrackPlanned():
                self._row(event.path, "skipped" if event.action == "skip" else "not-tried", message=event.reason)
            case TrackNotTried() if event.path != self._last:  # a signal came between a row and its bookkeeping
                self._row(event.path, "not-tried")
            case RunFinished():
                self._write(event)

    def _row(
        self,
        path: Path,
        status: str,
        *,
        code: int | None = None,
        message: str | None = None,
        elapsed: float | None = None,
        outputs: list[Json] | None = None,
    ) -> None:
        if self._trouble is not None:
            return
        row: dict[str, Json] = {
            **entries(TrackNotTried(path)),
            "status": status,
            "code": code,
            "message": message,
            "elapsed_seconds": elapsed,
            "outputs": outputs or [],
        }
        line = ((",\n" if self._rows else "\n") + json.dumps(row, allow_nan=False)).encode()
        try:
            while line:
                line = line[self._spool.write(line) or 0 :]
        except OSError as error:  # the tracks come first: it is told at the end
            self._trouble = error
        self._rows += 1
        self._last = path

    def _write(self, finished: RunFinished) -> None:
        head = json.dumps({**as_object(finished), "schema": SCHEMA, "version": version()}, allow_nan=False)
        temporary = temporary_name(self._target)
        with self._spool:
            try:
                if self._trouble is not None:
                    raise self._trouble
                self._spool.seek(0)
                with temporary.open("xb") as file:
                    file.write(head.removesuffix("}").encode() + b', "tracks": [')
                    while block := self._spool.read(_COPIED_BYTES):
                        file.write(block)
                    file.write(b"\n]}\n")
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, self._target)  # noqa: PTH105 - os.replace names its guarantee
            except OSError as error:
                raise refusal(self.path, error, "--summary") from error
            finally:
                with suppress(OSError):  # it is still there only if something failed
                    temporary.unlink(missing_ok=True)
