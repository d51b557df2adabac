"""Names and settings to separators without weights, and back.

A configuration is what stands in a checkpoint or a recipe: the name of an architecture and a mapping that
JSON can hold. Reading one is strict: an unknown or missing key, a value of another kind or out of its range
is a `ConfigurationError` that names the key.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from mss_models.classical.four_stems import ClassicalSeparator
from mss_models.networks.front_end import FeatureScale, FrontEnd
from mss_models.networks.mask_separator import Head, MaskSeparator, MaskSettings
from mss_models.networks.per_stem import PerStemSeparator
from mss_models.networks.subband_separator import Consistency, SubbandHead, SubbandSeparator, SubbandSettings
from mss_models.networks.subband_unet import Context, Skips
from mss_models.networks.vocal_pitch_separator import VocalPitchSeparator
from mss_models.networks.vocal_pitch_unet import VocalPitchSettings, Wiring
from mss_models.separator import Normalization
from mss_models.stft import StftSettings

Architecture = Literal["classical", "unet", "unet-per-stem", "vocal-pitch-unet", "subband-unet"]
Values = Mapping[str, object]
Network = MaskSeparator | PerStemSeparator | VocalPitchSeparator | SubbandSeparator
Built = ClassicalSeparator | Network
_Choice = TypeVar("_Choice", bound=str)


class ConfigurationError(ValueError):
    """Tell which key or value of a configuration is not allowed."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """An architecture with its settings.

    Parameters
    ----------
    architecture : str
        A name that `build` knows.
    settings : mapping of str to object
        Strings, numbers, booleans, lists and mappings only.
    """

    architecture: Architecture
    settings: Values


def build(architecture: str, configuration: Values) -> Built:
    """Make the separator of a configuration; networks have random weights.

    Parameters
    ----------
    architecture : str
        "unet": one network for all its stems, settings as in `configuration_of`. "unet-per-stem":
        ``networks``, a list of settings of "unet", and ``residual``, a name or null.
        "vocal-pitch-unet": vocals and their pitch, ``wiring`` and settings as in `configuration_of`; some wirings
        can only be trained, see `VocalPitchSeparator`. "subband-unet": one network for all its stems, made to be
        cheap. "classical": no settings and no weights.
    configuration : mapping of str to object
        The settings.

    Returns
    -------
    ClassicalSeparator, MaskSeparator, PerStemSeparator, VocalPitchSeparator or SubbandSeparator
        Not yet prepared; weights of the networks are loaded with ``load_state_dict``.

    Raises
    ------
    ConfigurationError
        If the architecture or a key is unknown (names the nearest and lists all), a key is missing, or a
        value is not allowed.
    """
    builders: Mapping[str, Callable[[Values], Built]] = {
        "classical": _classical,
        "unet": lambda values: MaskSeparator(_mask_settings(values)),
        "unet-per-stem": _per_stem,
        "vocal-pitch-unet": lambda values: VocalPitchSeparator(_vocal_pitch_settings(values)),
        "subband-unet": lambda values: SubbandSeparator(_subband_settings(values)),
    }
    if architecture not in builders:
        raise ConfigurationError(_unknown("architecture", architecture, list(builders)))
    try:
        return builders[architecture](configuration)
    except ConfigurationError:
        raise
    except ValueError as fault:
        raise ConfigurationError(f"{architecture}: {fault}") from fault


def configuration_of(separator: Network) -> Configuration:
    """Give the configuration from which `build` makes an equal separator.

    Parameters
    ----------
    separator : MaskSeparator, PerStemSeparator, VocalPitchSeparator or SubbandSeparator
        As made by `build`.

    Returns
    -------
    Configuration
        All settings, defaults included.
    """
    if isinstance(separator, PerStemSeparator):
        networks = [_mask_values(member.settings) for member in separator.members]
        return Configuration("unet-per-stem", {"networks": networks, "residual": separator.residual})
    if isinstance(separator, VocalPitchSeparator):
        return Configuration("vocal-pitch-unet", _vocal_pitch_values(separator.settings))
    if isinstance(separator, SubbandSeparator):
        return Configuration("subband-unet", _subband_values(separator.settings))
    return Configuration("unet", _mask_values(separator.settings))


def shipped(name: str) -> Configuration:
    """Give a configuration by its name.

    Parameters
    ----------
    name : str
        One of `SHIPPED`.

    Returns
    -------
    Configuration
        Architecture and settings.

    Raises
    ------
    ConfigurationError
        If there is none of this name; names the nearest and lists all.
    """
    if name not in SHIPPED:
        raise ConfigurationError(_unknown("configuration", name, list(SHIPPED)))
    return SHIPPED[name]


_FRONT_END_KEYS = (
    "sample_rate",
    "channels",
    "n_fft",
    "hop_length",
    "window",
    "bins",
    "normalization",
    "feature_scale",
)
_SIZE_KEYS = ("segment_frames", "levels", "base_channels", "dropout_layers")
_MASK_KEYS = ("stems", *_FRONT_END_KEYS, "head", *_SIZE_KEYS, "skips", "normalize_first")
_VOCAL_PITCH_KEYS = ("wiring", *_FRONT_END_KEYS, *_SIZE_KEYS)
_SUBBAND_SIZE_KEYS = ("sub_bands", "convolutions", "bottleneck", "context_size")
_SUBBAND_KEYS = (
    "stems",
    *_FRONT_END_KEYS,
    *("head", "segment_frames", "power", "consistency", "channels_by_scale", "skips", "context"),
    *_SUBBAND_SIZE_KEYS,
)


def _classical(values: Values) -> ClassicalSeparator:
    _Reader(values, allowed=())
    return ClassicalSeparator()


def _front_end(reader: "_Reader") -> FrontEnd:
    """Read the keys of a front end."""
    reader.choice("window", ("hann",), "hann")
    return FrontEnd(
        sample_rate=reader.integer("sample_rate"),
        channels=reader.integer("channels"),
        stft=StftSettings(n_fft=reader.integer("n_fft"), hop_length=reader.integer("hop_length")),
        bins=reader.integer("bins"),
        normalization=reader.choice("normalization", get_args(Normalization), "none"),
        feature_scale=reader.choice("feature_scale", get_args(FeatureScale), "window-energy"),
    )


def _front_end_values(front_end: FrontEnd) -> dict[str, object]:
    """The inverse of `_front_end`."""
    return {  # the keys are those of _FRONT_END_KEYS
        "sample_rate": front_end.sample_rate,
        "channels": front_end.channels,
        "n_fft": front_end.stft.n_fft,
        "hop_length": front_end.stft.hop_length,
        "window": front_end.stft.window,
        "bins": front_end.bins,
        "normalization": front_end.normalization,
        "feature_scale": front_end.feature_scale,
    }


def _mask_settings(values: Values) -> MaskSettings:
    """Read the flat settings of "unet"."""
    reader = _Reader(values, allowed=_MASK_KEYS)
    return MaskSettings(
        stems=reader.names("stems"),
        front_end=_front_end(reader),
        head=reader.choice("head", get_args(Head)),
        segment_frames=reader.integer("segment_frames"),
        levels=reader.integer("levels", 6),
        base_channels=reader.integer("base_channels", 16),
        skips=reader.flag("skips", True),
        normalize_first=reader.flag("normalize_first", True),
        dropout_layers=reader.integer("dropout_layers", 3),
    )


def _mask_values(settings: MaskSettings) -> Values:
    """The inverse of `_mask_settings`."""
    return {  # the keys are those of _MASK_KEYS
        "stems": list(settings.stems),
        **_front_end_values(settings.front_end),
        "head": settings.head,
        "segment_frames": settings.segment_frames,
        "levels": settings.levels,
        "base_channels": settings.base_channels,
        "skips": settings.skips,
        "normalize_first": settings.normalize_first,
        "dropout_layers": settings.dropout_layers,
    }


def _vocal_pitch_settings(values: Values) -> VocalPitchSettings:
    """Read the settings of "vocal-pitch-unet"."""
    reader = _Reader(values, allowed=_VOCAL_PITCH_KEYS)
    return VocalPitchSettings(
        wiring=reader.choice("wiring", get_args(Wiring)),
        front_end=_front_end(reader),
        segment_frames=reader.integer("segment_frames"),
        levels=reader.integer("levels", 6),
        base_channels=reader.integer("base_channels", 16),
        dropout_layers=reader.integer("dropout_layers", 3),
    )


def _vocal_pitch_values(settings: VocalPitchSettings) -> Values:
    """The inverse of `_vocal_pitch_settings`."""
    return {  # the keys are those of _VOCAL_PITCH_KEYS
        "wiring": settings.wiring,
        **_front_end_values(settings.front_end),
        "segment_frames": settings.segment_frames,
        "levels": settings.levels,
        "base_channels": settings.base_channels,
        "dropout_layers": settings.dropout_layers,
    }


def _subband_settings(values: Values) -> SubbandSettings:
    """Read the settings of "subband-unet"."""
    reader = _Reader(values, allowed=_SUBBAND_KEYS)
    return SubbandSettings(
        stems=reader.names("stems"),
        front_end=_front_end(reader),
        head=reader.choice("head", get_args(SubbandHead)),
        segment_frames=reader.integer("segment_frames"),
        power=reader.number("power", 0.4),
        consistency=reader.choice("consistency", get_args(Consistency), "none"),
        channels=reader.integers("channels_by_scale", (48, 96, 144)),
        skips=reader.choice("skips", get_args(Skips), "add"),
        context=reader.choice("context", get_args(Context), "gru"),
        sub_bands=reader.integer("sub_bands", 8),
        convolutions=reader.integer("convolutions", 2),
        bottleneck=reader.integer("bottleneck", 8),
        context_size=reader.integer("context_size", 64),
    )


def _subband_values(settings: SubbandSettings) -> Values:
    """The inverse of `_subband_settings`."""
    return {  # the keys are those of _SUBBAND_KEYS
        "stems": list(settings.stems),
        **_front_end_values(settings.front_end),
        "head": settings.head,
        "segment_frames": settings.segment_frames,
        "power": settings.power,
        "consistency": settings.consistency,
        "channels_by_scale": list(settings.channels),
        "skips": settings.skips,
        "context": settings.context,
        **{key: getattr(settings, key) for key in _SUBBAND_SIZE_KEYS},
    }


def _per_stem(values: Values) -> PerStemSeparator:
    """Read the settings of "unet-per-stem"."""
    reader = _Reader(values, allowed=("networks", "residual"))
    networks = reader.get("networks")
    if not isinstance(networks, Sequence) or not all(isinstance(network, Mapping) for network in networks):
        raise ConfigurationError("networks: expected a list of settings")
    residual = reader.get("residual", None)
    if residual is not None and not isinstance(residual, str):
        raise ConfigurationError(f"residual: expected a name or null, got {residual!r}")
    return PerStemSeparator([MaskSeparator(_mask_settings(network)) for network in networks], residual=residual)


_REQUIRED = object()


class _Reader:
    """Takes values of the right kind out of a mapping that has no other keys than the allowed ones."""

    def __init__(self, values: Values, *, allowed: tuple[str, ...]) -> None:
        for key in values:
            if key not in allowed:
                raise ConfigurationError(_unknown("key", str(key), list(allowed)))
        self._values = values

    def get(self, key: str, default: object = _REQUIRED) -> object:
        if key in self._values:
            return self._values[key]
        if default is _REQUIRED:
            raise ConfigurationError(f"{key}: missing")
        return default

    def integer(self, key: str, default: object = _REQUIRED) -> int:
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigurationError(f"{key}: expected an integer, got {value!r}")
        return value

    def number(self, key: str, default: object = _REQUIRED) -> float:
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigurationError(f"{key}: expected a number, got {value!r}")
        return float(value)

    def integers(self, key: str, default: object = _REQUIRED) -> tuple[int, ...]:
        value = self.get(key, default)
        if isinstance(value, str) or not isinstance(value, Sequence) or not all(type(one) is int for one in value):
            raise ConfigurationError(f"{key}: expected a list of integers, got {value!r}")
        return tuple(value)

    def flag(self, key: str, default: object = _REQUIRED) -> bool:
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise ConfigurationError(f"{key}: expected true or false, got {value!r}")
        return value

    def names(self, key: str) -> tuple[str, ...]:
        value = self.get(key)
        if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(one, str) for one in value):
            raise ConfigurationError(f"{key}: expected a list of names, got {value!r}")
        return tuple(value)

    def choice(self, key: str, choices: tuple[_Choice, ...], default: object = _REQUIRED) -> _Choice:
        value = self.get(key, default)
        for choice in choices:
            if value == choice:
                return choice
        raise ConfigurationError(f"{key}: expected one of {', '.join(choices)}, got {value!r}")


def _unknown(kind: str, name: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(name, allowed, n=1, cutoff=0.5)
    meant = f", did you mean `{near[0]}`?" if near else ""
    return f"unknown {kind} `{name}`{meant} (allowed: {', '.join(allowed)})"


def _thesis_vocals(stem: str, *, skips: bool) -> Values:
    """Chapter 4: 8192 Hz mono, magnitudes in [0, 1], patches of 128 frames, 512 of 513 bins."""
    return {
        "stems": [stem],
        "sample_rate": 8192,
        "channels": 1,
        "n_fft": 1024,
        "hop_length": 768,
        "bins": 512,
        "normalization": "peak",
        "feature_scale": "window-sum",
        "head": "sigmoid",
        "segment_frames": 128,
        "skips": skips,
        "dropout_layers": 3,
    }


def _thesis_multi(head: Head) -> Configuration:
    """Chapter 6: 22050 Hz mono, one network per stem, the fifth stem is what they leave.

    The thesis's two complex configurations differ in the loss only.
    """
    networks = [
        {
            "stems": [stem],
            "sample_rate": 22_050,
            "channels": 1,
            "n_fft": 1024,
            "hop_length": 256,
            "bins": 512,
            "head": head,
            "segment_frames": 512,
            "normalize_first": False,
            "dropout_layers": 5,
        }
        for stem in ("vocals", "drums", "guitar", "bass")
    ]
    return Configuration("unet-per-stem", {"networks": networks, "residual": "other"})


def _joint(wiring: Wiring) -> Configuration:
    """Chapter 5: 22050 Hz mono and the U-Nets of chapter 4; the scale balances the two losses."""
    return Configuration(
        "vocal-pitch-unet",
        {
            "wiring": wiring,
            "sample_rate": 22_050,
            "channels": 1,
            "n_fft": 1024,
            "hop_length": 256,
            "bins": 512,
            "normalization": "peak",
            "feature_scale": "window-energy",
            "segment_frames": 512,
            "dropout_layers": 3,
        },
    )


SHIPPED: Mapping[str, Configuration] = {
    "thesis-vocals": Configuration("unet", _thesis_vocals("vocals", skips=True)),
    "thesis-baseline": Configuration("unet", _thesis_vocals("vocals", skips=False)),
    # The thesis's two networks; neither is the complement of the other.
    "thesis-vocals-pair": Configuration(
        "unet-per-stem",
        {
            "networks": [_thesis_vocals(stem, skips=True) for stem in ("vocals", "accompaniment")],
            "residual": None,
        },
    ),
    "thesis-noncomplex": _thesis_multi("sigmoid"),
    "thesis-complex": _thesis_multi("polar"),
    # Ours: chapter 6's network for all four stems at once, at full rate, with the head that learns faster.
    "unet44": Configuration(
        "unet",
        {
            "stems": ["vocals", "drums", "bass", "other"],
            "sample_rate": 44_100,
            "channels": 2,
            "n_fft": 4096,
            "hop_length": 1024,
            "bins": 2048,
            "head": "cartesian",
            "segment_frames": 256,
            "normalize_first": False,
            "dropout_layers": 3,
        },
    ),
    # Ours: a shape that learned well in little time, and that separates 20 times faster than real time on one core.
    "subband44": Configuration(
        "subband-unet",
        {
            "stems": ["vocals", "drums", "bass", "other"],
            "sample_rate": 44_100,
            "channels": 2,
            "n_fft": 4096,
            "hop_length": 1024,
            "bins": 1536,  # 16.5 kHz
            "head": "shares",
            "segment_frames": 256,
        },
    ),
    **{f"joint-{wiring}": _joint(wiring) for wiring in get_args(Wiring)},
}
