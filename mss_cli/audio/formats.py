"""Formats that can be written: depths, bit rates, sample rates they hold. Standard library only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from mss_cli.errors import UsageError

FormatName = Literal["wav", "flac", "mp3", "ogg", "opus", "m4a", "stem.mp4"]
Depth = Literal["int16", "int24", "float32"]

FORMATS: Final[tuple[FormatName, ...]] = get_args(FormatName)
DEPTHS: Final[tuple[Depth, ...]] = get_args(Depth)

# Bit rates (lowest, highest, default) in bit/s. Highest: MPEG-1 layer III table; Vorbis quality 10; RFC 6716 for
# stereo; what the AAC encoder accepts for stereo at 44.1 kHz. Defaults are transparent for stereo music.
_BIT_RATES: Final[dict[FormatName, tuple[int, int, int]]] = {
    "mp3": (32_000, 320_000, 320_000),
    "ogg": (64_000, 500_000, 192_000),
    "opus": (6_000, 510_000, 192_000),
    "m4a": (32_000, 512_000, 256_000),
    "stem.mp4": (32_000, 512_000, 256_000),
}

_MP3_RATES: Final = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_AAC_RATES: Final = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_OPUS_RATES: Final = (48000,)
_VORBIS_HIGHEST: Final = 192_000
# The frame header of FLAC holds rates above 65535 Hz in units of 10 Hz, in 16 bits.
_FLAC_FREE: Final = 65_535
_FLAC_HIGHEST: Final = 655_350


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """A container with its codec, as chosen by the user.

    Attributes
    ----------
    name : {"wav", "flac", "mp3", "ogg", "opus", "m4a", "stem.mp4"}
        Container and codec: ogg holds Vorbis, m4a and stem.mp4 hold AAC.
    depth : {"int16", "int24", "float32"}
        Sample type of wav (all three) and flac (integers); the others ignore it.
    bitrate : int or None, bit/s
        Target rate of the lossy codecs; None for the default. Vorbis takes it as nominal.
    """

    name: FormatName
    depth: Depth = "int16"
    bitrate: int | None = None

    @property
    def extension(self) -> str:
        """File name extension without the dot."""
        return self.name

    @property
    def is_float(self) -> bool:
        """Whether samples beyond ±1 survive."""
        return self.name == "wav" and self.depth == "float32"

    @property
    def effective_bitrate(self) -> int | None:
        """Bit rate in bit/s with the default filled in; None for wav and flac."""
        if self.name not in _BIT_RATES:
            return None
        return self.bitrate if self.bitrate is not None else _BIT_RATES[self.name][2]

    def sample_rate(self, input_rate: int) -> int:
        """Give the rate nearest to the input's that the format can hold.

        Parameters
        ----------
        input_rate : int, Hz, > 0
            Rate of the input.

        Returns
        -------
        int, Hz
            ``input_rate`` where the format can hold it; of two equally near rates the higher one.
        """
        if self.name == "opus":
            return _nearest(_OPUS_RATES, input_rate)
        if self.name == "mp3":
            return _nearest(_MP3_RATES, input_rate)
        if self.name in ("m4a", "stem.mp4"):
            return _nearest(_AAC_RATES, input_rate)
        if self.name == "ogg":
            return min(input_rate, _VORBIS_HIGHEST)
        if self.name == "flac" and input_rate > _FLAC_FREE:
            return min((input_rate + 5) // 10 * 10, _FLAC_HIGHEST)
        return input_rate


def _nearest(rates: Sequence[int], rate: int) -> int:
    return min(rates, key=lambda candidate: (abs(candidate - rate), -candidate))


def output_format(name: str, depth: str | None = None, bitrate: int | None = None) -> OutputFormat:
    """Check a choice of format, depth and bit rate.

    Parameters
    ----------
    name : str
        One of `FORMATS`.
    depth : str or None
        One of `DEPTHS`; None for int16.
    bitrate : int or None, bit/s
        Only for mp3, ogg, opus, m4a and stem.mp4.

    Returns
    -------
    OutputFormat

    Raises
    ------
    UsageError
        If the name or depth is unknown, flac shall hold floats, a depth is asked of a lossy format, a bit rate is
        asked of wav or flac, or the bit rate is out of the format's range.
    """
    if name not in FORMATS:
        raise UsageError(f"no output format `{name}`", hint=f"choose one of {', '.join(FORMATS)}")
    if depth is not None and depth not in DEPTHS:
        raise UsageError(f"no sample type `{depth}`", hint=f"choose one of {', '.join(DEPTHS)}")
    chosen: Depth = depth or "int16"
    if name == "flac" and chosen == "float32":
        raise UsageError("flac holds integers only", hint="use `int24`, or wav for float32")
    lossy = name in _BIT_RATES
    if lossy and depth is not None:
        raise UsageError(f"{name} has no sample type to choose", hint="leave out the depth, or write wav or flac")
    if bitrate is None:
        return OutputFormat(name, chosen, None)
    if not lossy:
        raise UsageError(f"{name} is lossless and has no bit rate", hint="leave out `--bitrate`, or write mp3")
    lowest, highest, _ = _BIT_RATES[name]
    if not lowest <= bitrate <= highest:
        raise UsageError(
            f"{name} cannot have {bitrate} bit/s",
            hint=f"choose a bit rate from {lowest // 1000}k to {highest // 1000}k",
        )
    return OutputFormat(name, chosen, bitrate)
