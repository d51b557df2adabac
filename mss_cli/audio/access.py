"""Checks on an input that need neither its content nor any library."""

import errno
import os
import stat
from pathlib import Path

from mss_cli.errors import InputError


def check_readable(path: Path) -> int:
    """Refuse a file that cannot be opened or holds nothing.

    Parameters
    ----------
    path : Path
        The input as the user named it.

    Returns
    -------
    int
        Its size in bytes, at least 1.

    Raises
    ------
    InputError
        If it is missing, a folder, not a regular file, not readable, or empty.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError("is a folder", path=str(path), hint="name the audio files inside it")
        if not stat.S_ISREG(status.st_mode):
            raise InputError("not a regular file", path=str(path), hint="pass a file, or `-` to read stdin")
        # Opening says more than the mode bits do: access lists and network file systems decide here.
        os.close(os.open(path, os.O_RDONLY))
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if status.st_size == 0:
        raise InputError("empty file (0 bytes)", path=str(path), hint="copy the file again")
    return status.st_size


def unreadable(path: Path, error: OSError | ValueError) -> InputError:
    """Give the error that tells why the system does not let a file be read."""
    if isinstance(error, ValueError):  # a NUL inside the name
        return InputError("not a file name", path=str(path).replace("\0", "\\0"), hint="check the name")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return InputError("no such file", path=str(path), hint="check the name")
    if error.errno in (errno.EACCES, errno.EPERM):
        return InputError("permission denied", path=str(path), hint="make it readable with `chmod u+r`")
    reason = error.strerror or "unknown error"
    return InputError(f"cannot read: {reason[:1].lower()}{reason[1:]}", path=str(path), hint="check the disk")
