"""Half-written files in a cache of songs, left by runs that were killed: found by their names, removed by the next run.

A cache may be shared, by runs on other hosts too, so a file is only removed if nobody can be writing it.
"""

import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

# Of `mss_cli.files.temporary_name`: `.NAME.RANDOM.CHECKSUM.PID.part`.
_NAMED: Final = re.compile(r"\..+\.[0-9a-f]{8}\.(?P<pid>[0-9]{1,10})\.part", re.DOTALL)
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
        named = _NAMED.fullmatch(path.name)
        if named is None or _lives(int(named["pid"])):
            continue
        with suppress(OSError):  # another run has removed it, or its folder may not be written to
            if shared and time.time() - path.stat().st_mtime < _IN_USE_SECONDS:
                continue
            path.unlink()
            removed.append(path)
    return removed


def _lives(pid: int) -> bool:
    if os.name != "posix":  # where signal 0 is no question
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # it is there and belongs to someone else
    return True
