"""The folders of tracks: made before a worker needs them, removed at the end where nothing was written."""

from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from mss_cli.batch.plan import Job
from mss_cli.files import make_folder


class TrackFolders:
    """Makes folders for one track after the other; leaving the context removes those that stayed empty.

    One process does this for all workers: if each removed what it had made, it would do so while another is about to
    write there.
    """

    def __init__(self) -> None:
        self._made: set[Path] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for folder in sorted(self._made, key=lambda made: len(made.parts), reverse=True):
            with suppress(OSError):
                folder.rmdir()

    def make(self, job: Job) -> None:
        """Make the folders of a job's outputs.

        Raises
        ------
        OutputError
            If one cannot be made or written to.
        """
        for folder in sorted({path.parent for path in (*job.outputs, job.record)}):
            self._made.update(make_folder(folder))

    def keep(self, job: Job) -> None:
        """Forget the folders of a job that is done."""
        for path in (*job.outputs, job.record):
            self._made.difference_update(path.parents)
