"""Names and renames: whole files under final names or none; nothing about audio."""

import errno
import os
import re
import secrets
import zlib
from collections.abc import Iterable
from pathlib import Path

from mss_cli.errors import OutputError

# What `temporary_name` gives: `.NAME.RANDOM.CHECKSUM.PID.part`. Files of other programs that end in `.part` are not it.
_TEMPORARY = re.compile(rb"\..+\.[0-9a-f]{8}\.(?P<pid>[0-9]{1,10})\.part", re.DOTALL)
# What the operating system says, in words a user can act on.
_REMEDIES = {
    errno.ENOSPC: ("disk full", "free some space or choose another folder with `--output`"),
    errno.EDQUOT: ("disk quota used up", "free some space or choose another folder with `--output`"),
    errno.EFBIG: ("larger than the file system allows", "choose another folder with `--output`"),
    errno.EACCES: ("permission denied", "choose a folder you may write to with `--output`"),
    errno.EPERM: ("operation not permitted", "choose a folder you may write to with `--output`"),
    errno.EROFS: ("read-only file system", "choose another folder with `--output`"),
    errno.ENOENT: ("its folder does not exist", "create it or choose another with `--output`"),
    errno.ENOTDIR: ("a file stands where a folder is needed", "choose another folder with `--output`"),
    errno.EEXIST: ("a file stands where a folder is needed", "choose another folder with `--output`"),
    errno.EISDIR: ("a folder stands in its place", "move it away or choose another name"),
    errno.ENAMETOOLONG: ("name too long for this file system", "choose a shorter name"),
}


def output_error(path: Path, error: OSError) -> OutputError:
    """Turn what the operating system said about an output into one line and a remedy."""
    text, hint = _REMEDIES.get(error.errno or 0, ((error.strerror or str(error)).lower(), "check the output folder"))
    return OutputError(f"cannot write: {text}", path=str(path), hint=hint)


def temporary_name(target: Path) -> Path:
    """Give a hidden name beside `target` under which its content grows; another one each time.

    Random characters keep runs apart, on other hosts too; the process number tells whose it was. The name is cut so
    that it never outgrows the file system's 255 bytes.
    """
    name = os.fsencode(target.name)
    # Long names are cut; the check sum keeps those apart that differ behind the cut.
    suffix = f".{secrets.token_hex(4)}.{zlib.crc32(name):08x}.{os.getpid()}.part".encode()
    return target.with_name(os.fsdecode(b"." + name[: 254 - len(suffix)] + suffix))


def writer_of(temporary: str | bytes) -> int | None:
    """Give the number of the process that `temporary_name` made a name for; None for names that are not of it."""
    found = _TEMPORARY.fullmatch(os.fsencode(temporary))
    return None if found is None else int(found["pid"])


def make_folder(folder: Path) -> list[Path]:
    """Make a folder and its parents and give those that were made, outermost first.

    Raises
    ------
    OutputError
        If it cannot be made or written to.
    """
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise output_error(folder, PermissionError(errno.EACCES, "permission denied"))
    return missing[::-1]


def remove_empty(folders: list[Path]) -> None:
    """Remove those of the folders that are empty, innermost first; others are left."""
    for folder in reversed(folders):
        try:
            folder.rmdir()
        except OSError:
            return


def refuse_folders(targets: Iterable[Path]) -> None:
    """Refuse targets in whose place a folder stands, before any work is done for them.

    Raises
    ------
    OutputError
        Naming the first one.
    """
    for target in targets:
        if target.is_dir():
            raise output_error(target, IsADirectoryError(errno.EISDIR, "is a directory"))


def refuse_replacing(source: Path, targets: Iterable[Path]) -> None:
    """Refuse targets that are the input itself.

    Raises
    ------
    OutputError
        Naming the first one.
    """
    for target in targets:
        if target.exists() and source.exists() and target.samefile(source):
            raise OutputError("this output would replace the input", path=str(target), hint="choose another `--output`")


def publish(finished: dict[Path, Path]) -> None:
    """Give finished temporary files their final names, one atomic rename each, and sync their folders.

    Parameters
    ----------
    finished : dict of Path to Path
        Temporary name to final name; contents are synced already.

    Raises
    ------
    OutputError
        If a rename fails; what was not there before is taken away again.
    """
    refuse_folders(finished.values())
    new: list[Path] = []
    for temporary, target in finished.items():
        existed = target.exists()
        try:
            os.replace(temporary, target)  # noqa: PTH105 - os.replace names its guarantee
        except OSError as error:
            for published in new:
                published.unlink(missing_ok=True)
            raise output_error(target, error) from error
        if not existed:
            new.append(target)
    for folder in {target.parent for target in finished.values()}:
        _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return  # Windows opens no folders
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some network file systems refuse; the rename itself is done
    finally:
        os.close(descriptor)
