"""What decides how a track is separated and written."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mss_cli.audio.formats import OutputFormat
from mss_cli.separation.stems import StemChoice

Clip = Literal["rescale", "clamp", "none"]

# Shortest segment tried when memory runs out.
SHORTEST_SEGMENT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How audio goes through the separator; all of them change the sound or the speed, none the length.

    Parameters
    ----------
    segment_seconds : float or None
        Audio given to the separator at once; its own preference if None.
    overlap : float, in [0, 1)
        Share of a segment that the next one covers again.
    shifts : int, >= 0
        0 for none; N averages N passes with randomly moved segments.
    seed : int
        Of the shifts.
    """

    segment_seconds: float | None = None
    overlap: float = 0.25
    shifts: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class WriteSettings:
    """How stems become files.

    Parameters
    ----------
    choice : StemChoice
        Which stems.
    format : OutputFormat
        Container, depth, bit rate.
    clip : {"rescale", "clamp", "none"}
        What happens to stems beyond full scale in integer and compressed files: one gain for all stems of the track,
        so that they still sum to the (scaled) mixture; a hard limit; or nothing before the encoder.
    scratch : Path or None
        Folder of the floats that wait for that gain; the stems' own folder if None.
    plot : bool
        Write a picture of the spectrograms beside the stems.
    """

    choice: StemChoice = field(default_factory=StemChoice)
    format: OutputFormat = field(default_factory=lambda: OutputFormat("wav"))
    clip: Clip = "rescale"
    scratch: Path | None = None
    plot: bool = False


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """How an input is read.

    Parameters
    ----------
    stream : int or None
        Number among the audio streams of the file; the first if None.
    downmix : bool
        Fold more than two channels to stereo instead of refusing them.
    """

    stream: int | None = None
    downmix: bool = False
