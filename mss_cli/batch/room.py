"""Room on the output disk: what a plan needs at most, and whether it is there."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mss_cli.audio.formats import OutputFormat
from mss_cli.errors import OutputError
from mss_cli.files import output_error

# Headers, tags without a picture, seek tables, and the rest of the last block on disk.
_OVERHEAD_BYTES = 16 * 1024
_RECORD_BYTES = 4096
_SAMPLE_BYTES = {"int16": 2, "int24": 3, "float32": 4}
# Variable bit rates: how far above the nominal one a whole file of loud, dense music may lie.
_LOSSY_MARGIN = 1.25
# In fp32; half of it in half precisions.
_NUMBER_BYTES = 4


@dataclass(frozen=True, slots=True)
class TrackLength:
    """What a header tells of a track.

    Parameters
    ----------
    seconds : float, >= 0
    sample_rate_hz : int, > 0
    channels : int, 1 or 2
        As it is separated.
    """

    seconds: float
    sample_rate_hz: int
    channels: int


def stem_bytes(length: TrackLength, form: OutputFormat) -> int:
    """Give the most that one stem takes on disk: its samples uncompressed, or the bit rate with a margin.

    Parameters
    ----------
    length : TrackLength
    form : OutputFormat
        A flac counts like a wav: noise does not shrink.
    """
    bitrate = form.effective_bitrate
    if bitrate is not None:
        streams = 5 if form.name == "stem.mp4" else 1
        return round(length.seconds * bitrate / 8 * _LOSSY_MARGIN * streams) + _OVERHEAD_BYTES
    samples = length.seconds * form.sample_rate(length.sample_rate_hz)
    return round(samples * length.channels * _SAMPLE_BYTES[form.depth]) + _OVERHEAD_BYTES


def track_bytes(length: TrackLength, form: OutputFormat, *, stems: int) -> int:
    """Give the most that the stems of a track and its record take."""
    files = 1 if form.name == "stem.mp4" else stems
    return files * stem_bytes(length, form) + _RECORD_BYTES


def scratch_bytes(length: TrackLength, *, stems: int, stored_per_second: float = 0.0) -> int:
    """Give what a track takes while it is separated: its stems as 32-bit floats, and what its model puts away.

    Parameters
    ----------
    length : TrackLength
    stems : int
        That are written.
    stored_per_second : float
        Of `stored_bytes_per_second`.
    """
    floats = round(length.seconds * length.sample_rate_hz) * length.channels * stems * 4
    return floats + round(length.seconds * stored_per_second)


def stored_bytes_per_second(weights: Sequence[Path]) -> float:
    """Give the most that models put away for each second of a track which they hear as a whole; mostly 0.

    Parameters
    ----------
    weights : sequence of Path
        Checkpoints of a model or of an ensemble. Torch is imported only where one hears whole tracks.

    Raises
    ------
    WeightsError
        If one cannot be read.
    """
    from mss_cli.weights.store import read_card

    cards = [read_card(path) for path in weights]
    return sum((_stored(card.architecture, card.configuration) for card in cards), 0.0)


def _stored(architecture: str, configuration: Mapping[str, object]) -> float:
    if architecture == "bag":
        members = configuration.get("members")
        kept = [member for member in members if isinstance(member, Mapping)] if isinstance(members, list) else []
        inner = [(str(member.get("architecture")), member.get("configuration")) for member in kept]
        return sum((_stored(name, values) for name, values in inner if isinstance(values, Mapping)), 0.0)
    if architecture != "open-unmix":
        return 0.0
    from mss_models.networks.open_unmix.configurations import read_open_unmix

    settings = read_open_unmix(configuration)
    at_once = 2 if settings.channels == 1 else 1  # a mono network hears the channels of a track one by one
    return at_once * settings.stored_numbers_per_second * _NUMBER_BYTES


def free_bytes(folder: Path) -> int:
    """Give the room a user has on the disk of a folder that may not exist yet.

    Raises
    ------
    OutputError
        If the disk cannot be asked.
    """
    # The folder as it will be: `a/../b` and links are followed before a parent is taken.
    real = Path(os.path.realpath(folder))
    there = next(parent for parent in (real, *real.parents) if parent.exists())
    try:
        return shutil.disk_usage(there).free
    except OSError as error:
        raise output_error(folder, error) from error


def check_room(folder: Path, needed_bytes: int) -> None:
    """Refuse a plan for which there is no room.

    Raises
    ------
    OutputError
        With both figures.
    """
    free = free_bytes(folder)
    if needed_bytes > free:
        raise OutputError(
            f"the plan may need {readable(needed_bytes)}, and {readable(free)} are free",
            path=str(folder),
            hint="free some space, choose another `--output`, or write `--format flac` or `mp3`",
        )


def readable(size_bytes: int) -> str:
    """Write a size in powers of 1000: `999 B`, `1.5 kB`, `20 GB`."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" or size >= 9.95 else f"{size:.1f} {unit}"
