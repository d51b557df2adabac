"""Does a file end where its own header says?"""

from pathlib import Path


def check_length(path: Path) -> None:
    """Refuse a file that is shorter than its own header says."""
