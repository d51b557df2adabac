"""Settings of Open-Unmix as configurations hold them, and those that were published."""

from typing import get_args

from mss_models.configuration import Reader, Values
from mss_models.networks.open_unmix.network import Crossing
from mss_models.networks.open_unmix.separator import OpenUnmixSettings
from mss_models.stft import StftSettings

_FOUR_STEMS = ("vocals", "drums", "bass", "other")
_NUMBERS = ("hidden_size", "layers", "wiener_iterations", "wiener_frames", "segment_frames")
_KEYS = (
    *("stems", "sample_rate", "channels", "n_fft", "hop_length", "heard_bins"),
    *("bidirectional", "crossing", "residual", "wiener_softmask", *_NUMBERS),
)


def read_open_unmix(values: Values) -> OpenUnmixSettings:
    """Read the settings of "open-unmix".

    Keys are the fields of `OpenUnmixSettings`, with ``stems`` for ``network_stems``, ``n_fft`` and ``hop_length`` for
    its transform. From ``hidden_size`` on all may be missing.

    Raises
    ------
    ConfigurationError, ValueError
        If a key is unknown or missing; if a value is not allowed.
    """
    reader = Reader(values, allowed=_KEYS)
    residual = reader.get("residual", None)
    if residual is not None and not isinstance(residual, str):
        raise ValueError(f"residual must be a name or null, got {residual!r}")
    return OpenUnmixSettings(
        network_stems=reader.names("stems"),
        sample_rate=reader.integer("sample_rate"),
        channels=reader.integer("channels"),
        stft=StftSettings(n_fft=reader.integer("n_fft"), hop_length=reader.integer("hop_length")),
        heard_bins=reader.integer("heard_bins"),
        hidden_size=reader.integer("hidden_size", 512),
        layers=reader.integer("layers", 3),
        bidirectional=reader.flag("bidirectional", True),
        crossing=reader.choice("crossing", get_args(Crossing), "none"),
        residual=residual,
        wiener_iterations=reader.integer("wiener_iterations", 1),
        wiener_softmask=reader.flag("wiener_softmask", False),
        wiener_frames=reader.integer("wiener_frames", 300),
        segment_frames=reader.integer("segment_frames", 1200),
    )


def open_unmix_values(settings: OpenUnmixSettings) -> Values:
    """The inverse of `read_open_unmix`."""
    return {
        "stems": list(settings.network_stems),
        "sample_rate": settings.sample_rate,
        "channels": settings.channels,
        "n_fft": settings.stft.n_fft,
        "hop_length": settings.stft.hop_length,
        "heard_bins": settings.heard_bins,
        "bidirectional": settings.bidirectional,
        "crossing": settings.crossing,
        "residual": settings.residual,
        "wiener_softmask": settings.wiener_softmask,
        **{key: getattr(settings, key) for key in _NUMBERS},
    }


def _music(**changed: object) -> Values:
    """44.1 kHz stereo, 4096 / 1024, up to 16 kHz: 1487 bins."""
    return {
        "stems": list(_FOUR_STEMS),
        "sample_rate": 44_100,
        "channels": 2,
        "n_fft": 4096,
        "hop_length": 1024,
        "heard_bins": 1487,
        **changed,
    }


OPEN_UNMIX: dict[str, Values] = {
    "umx": _music(),
    "umxhq": _music(),
    "umxl": _music(hidden_size=1024),
    "umxse": {
        "stems": ["speech", "noise"],
        "sample_rate": 16_000,
        "channels": 1,
        "n_fft": 1024,
        "hop_length": 512,
        "heard_bins": 513,
        "hidden_size": 256,
        "segment_frames": 900,
    },
    # X-UMX as published: the networks of all stems are averaged.
    "xumx": _music(crossing="average"),
    # The report's extension: each second linear layer sees the signals of all four networks.
    "umx-crossed": _music(crossing="concatenate"),
    # The report's setting for real time; looking at no later frame is ours.
    "umx-realtime": _music(
        channels=1, n_fft=2048, heard_bins=744, bidirectional=False, wiener_iterations=0, segment_frames=600
    ),
}
"""Settings by name: the published models, and those of the report."""
