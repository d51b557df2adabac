"""Numbers of flags: infinity passes a range of typer's that has no upper end."""

import math
from collections.abc import Mapping

from mss_cli.errors import UsageError


def check_finite(flags: Mapping[str, float | None]) -> None:
    """Refuse a flag whose number is NaN or infinite.

    Parameters
    ----------
    flags : mapping of str to float or None
        Flags as they are typed, and their numbers; None where one is not given.

    Raises
    ------
    UsageError
        Naming the first.
    """
    for flag, number in flags.items():
        if number is not None and not math.isfinite(number):
            raise UsageError(f"`{flag} {number}` is no finite number", hint=f"give `{flag}` a number")
