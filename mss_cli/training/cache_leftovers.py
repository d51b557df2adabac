"""Half-written files in a cache of songs, left by runs that were killed: found by their names, removed by the next run.

A cache may be shared, by runs on other hosts too, so a file is only removed if nobody can be writing it.
"""

import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from mss_cli.files import writer_of
from mss_cli.processes import process_exists

# A song is written in seconds. A file that nobody has touched for so long is not being written, on any host.
_IN_USE_SECONDS: Final = 600.0


def remove_leftovers(cache: Path, *, shared: bool) -> list[Path]:
    """Remove temporary files whose process is gone.

    Parameters
    ----------
    cache : Path
        Folder of songs; may be missing.
    shared : bool
        Whether other runs may use it. Files that were touched within ten minutes then stay: their process may live on
        another host, whose numbers mean nothing here.

    Returns
    -------
    list of Path
        What was removed, sorted.
    """
    removed = []
    for path in sorted(cache.rglob(".*.part")):
        writer = writer_of(path.name)
        if writer is None or process_exists(writer):
            continue
        with suppress(OSError):  # another run has removed it, or its folder may not be written to
            if shared and time.time() - path.stat().st_mtime < _IN_USE_SECONDS:
                continue
            path.unlink()
            removed.append(path)
    return removed
