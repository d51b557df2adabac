"""Files of Demucs that name several networks beside them, with a weight for each network and stem."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mss_cli.weights.families.contents import Part, refuse

SUFFIXES: Final = (".yaml", ".yml")
_MOST_BYTES: Final = 65_536
_LARGEST: Final = 1e6  # of a weight
_LONGEST_SECONDS: Final = 3600
_KEYS: Final = ("models", "weights", "segment")


@dataclass(frozen=True, slots=True)
class BagFile:
    """What such a file says.

    Parameters
    ----------
    parts : tuple of Part
        The networks' files.
    weights : tuple of tuples of float
        A row for each network, a column for each stem; none if all weigh the same.
    segment_seconds : float or None
        For all, where it says so.
    """

    parts: tuple[Part, ...]
    weights: tuple[tuple[float, ...], ...] = ()
    segment_seconds: float | None = None


def read_bag_file(path: Path) -> BagFile:
    """Read a file with ``models``, a list of signatures, and perhaps ``weights`` and ``segment``.

    The network of a signature is the one file ``SIGNATURE.th`` or ``SIGNATURE-HASH.th`` beside it.

    Raises
    ------
    WeightsError
        If it is something else, or a network is not there.
    """
    import yaml

    try:
        with path.open("rb") as file:
            content = yaml.safe_load(file.read(_MOST_BYTES).decode())
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise refuse(path, f"cannot be read as YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(content, Mapping) or not isinstance(content.get("models"), list) or not content["models"]:
        raise refuse(path, "names no `models`", hint="give a file with `models: [SIGNATURE, ...]`")
    unknown = [str(key) for key in content if key not in _KEYS]
    if unknown:
        raise refuse(path, f"has the unknown key `{unknown[0]}`", hint=f"use {', '.join(_KEYS)}")
    parts = tuple(_part(path, str(signature)) for signature in content["models"])
    segment = content.get("segment")
    if segment is not None and not (_is_number(segment) and 0 < segment <= _LONGEST_SECONDS):
        raise refuse(path, "its `segment` is no length in seconds")
    return BagFile(parts, _weights(path, content.get("weights"), len(parts)), segment)


def _part(path: Path, signature: str) -> Part:
    found = sorted(
        file for file in path.parent.glob("*.th") if file.stem == signature or file.stem.split("-")[0] == signature
    )
    if len(found) != 1:
        reason = f"network `{signature}` is {'there more than once' if found else 'not beside it'}"
        raise refuse(path, reason, hint=f"put one file `{signature}-HASH.th` into its folder")
    return Part(found[0])


def _weights(path: Path, rows: object, networks: int) -> tuple[tuple[float, ...], ...]:
    if rows is None:
        return ()
    good = isinstance(rows, list) and len(rows) == networks and all(isinstance(row, list) for row in rows)
    if not isinstance(rows, list) or not good or not all(_is_number(weight) for row in rows for weight in row):
        raise refuse(path, f"its `weights` are not {networks} rows of numbers")
    return tuple(tuple(float(weight) for weight in row) for row in rows)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
