"""Curves of a training: every term of the loss and every validation, one CSV row each, across resumed parts."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mss_cli.files import output_error, temporary_name

COLUMNS = ("step", "seconds", "kind", "name", "value")


@dataclass(frozen=True, slots=True)
class Point:
    """One number of a training.

    Attributes
    ----------
    step : int
        Updates done.
    seconds : float
        Of training until then, without the time between resumed parts.
    kind : {"train", "valid"}
    name : str
        Term of the loss, `learning_rate`, or a validation score.
    value : float
    """

    step: int
    seconds: float
    kind: str
    name: str
    value: float


class Curves:
    """Appends points to a file.

    Parameters
    ----------
    path : Path
        The CSV file.
    step : int
        Updates that are kept of what is there: a killed run wrote points of updates that are done again.

    Raises
    ------
    OutputError
        If it cannot be written.
    """

    def __init__(self, path: Path, *, step: int) -> None:
        kept = [point for point in read_curves(path) if point.step <= step] if step and path.exists() else []
        self._path = path
        # Whole or not at all: a full disk or a kill while a run is resumed must not cost its past.
        temporary = temporary_name(path)
        try:
            temporary.write_text(_text(kept, header=True), encoding="utf-8", newline="")
            temporary.replace(path)
        except OSError as error:
            raise output_error(path, error) from error
        finally:
            temporary.unlink(missing_ok=True)

    def add(self, step: int, seconds: float, kind: str, values: Mapping[str, float]) -> None:
        """Append one point per value."""
        points = [Point(step, seconds, kind, name, value) for name, value in values.items()]
        try:
            with self._path.open("a", encoding="utf-8", newline="") as file:
                file.write(_text(points, header=False))
        except OSError as error:
            raise output_error(self._path, error) from error


def read_curves(path: Path) -> list[Point]:
    """Read the points of a run; lines that are none, as the last one of a killed run, are left out."""
    points = []
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for row in csv.DictReader(line.replace("\r", "") for line in file if "\0" not in line):
            try:
                points.append(
                    Point(int(row["step"]), float(row["seconds"]), row["kind"], row["name"], float(row["value"]))
                )
            except (TypeError, ValueError, KeyError):
                continue
    return points


def _text(points: Sequence[Point], *, header: bool) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    if header:
        writer.writerow(COLUMNS)
    writer.writerows(
        (point.step, f"{point.seconds:.2f}", point.kind, point.name, f"{point.value:.8g}") for point in points
    )
    return file.getvalue()
