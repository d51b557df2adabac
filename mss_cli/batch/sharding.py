"""A share of the tracks for each of several runs, the same on every host and in every run."""

import hashlib
import os
import re
import unicodedata
from dataclasses import dataclass

from mss_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several shares of a plan.

    Parameters
    ----------
    index : int, 1 to count
        Which share.
    count : int, >= 1
        How many there are.

    Raises
    ------
    ValueError
        If the index is not from 1 to the count.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ValueError(f"shard {self.index} of {self.count} does not exist")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def holds(self, key: str) -> bool:
        """Tell whether a track is in this share.

        The first eight bytes of the key's SHA-256, as a big-endian number, modulo the count, plus 1, is the share. The
        key is hashed in NFC: file systems differ in the form in which they give a name back.

        Parameters
        ----------
        key : str
            Relative path of the track, with `/`; bytes that are no UTF-8 as surrogates.
        """
        content = os.fsencode(unicodedata.normalize("NFC", key))
        number = int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
        return number % self.count + 1 == self.index


def parse_shard(text: str) -> Shard:
    """Read `i/n`.

    Raises
    ------
    UsageError
        If it is something else, or i is not from 1 to n.
    """
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    try:
        if found is not None:
            return Shard(int(found[1]), int(found[2]))
    except ValueError:
        pass
    raise UsageError(f"`--shard {text}` names no share", hint="write `--shard 1/8` to `--shard 8/8` for eight runs")
