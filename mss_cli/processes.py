"""Processes of this host by their numbers."""

import os
from pathlib import Path


def start_of(pid: int) -> str | None:
    """Give the start of a process in ticks since the system's; None if it is gone or the system does not tell.

    A process that ended and was not yet waited for is gone.
    """
    try:
        raw = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name in parentheses may hold anything; fields 3 (state) and 22 (start) are counted from its end (proc(5)).
    rest = raw.rpartition(b")")[2].split()
    return None if rest[0] in (b"Z", b"X") else rest[19].decode("ascii")


def process_exists(pid: int) -> bool:
    """Tell whether a process of that number runs on this host; True where the system does not tell."""
    if Path("/proc/self/stat").exists():
        return start_of(pid) is not None
    if os.name != "posix":  # where signal 0 is no question
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # it is there and belongs to someone else
    return True
