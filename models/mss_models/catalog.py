"""Names and settings to separators without weights, and back."""

from collections.abc import Callable, Mapping, Sequence
from typing import get_args

from mss_models.classical.four_stems import ClassicalSeparator
from mss_models.configuration import Configuration, ConfigurationError, Reader, Values, unknown
from mss_models.networks.bag import Bag
from mss_models.networks.demucs.configurations import hybrid_values, read_hybrid, read_time, time_values
from mss_models.networks.demucs.separator import HybridDemucsSeparator
from mss_models.networks.demucs.time_separator import TimeDemucsSeparator
from mss_models.networks.front_end import FeatureScale, FrontEnd
from mss_models.networks.mask_separator import Head, MaskSeparator, MaskSettings
from mss_models.networks.open_unmix.configurations import open_unmix_values, read_open_unmix
from mss_models.networks.open_unmix.separator import OpenUnmixSeparator
from mss_models.networks.per_stem import PerStemSeparator
from mss_models.networks.roformer.configurations import read_roformer, roformer_values
from mss_models.networks.roformer.separator import RoformerSeparator
from mss_models.networks.scnet.configurations import read_scnet, scnet_values
from mss_models.networks.scnet.separator import ScnetSeparator
from mss_models.networks.subband_separator import Consistency, Level, SubbandHead, SubbandSeparator, SubbandSettings
from mss_models.networks.subband_unet import Context, Skips
from mss_models.networks.tdc_unet_separator import TdcUnetSeparator, read_tdc_unet, tdc_unet_values
from mss_models.networks.tfc_tdf_v3_separator import TfcTdfV3Separator, read_tfc_tdf_v3, tfc_tdf_v3_values
from mss_models.networks.vocal_pitch_separator import VocalPitchSeparator
from mss_models.networks.vocal_pitch_unet import VocalPitchSettings, Wiring
from mss_models.separator import Normalization
from mss_models.stft import StftSettings

Network = (
    MaskSeparator
    | PerStemSeparator
    | VocalPitchSeparator
    | SubbandSeparator
    | HybridDemucsSeparator
    | TimeDemucsSeparator
    | OpenUnmixSeparator
    | TdcUnetSeparator
    | RoformerSeparator
    | TfcTdfV3Separator
    | ScnetSeparator
)
Built = ClassicalSeparator | Network | Bag


def build(architecture: str, configuration: Values) -> Built:
    """Make the separator of a configuration; networks have random weights.

    Parameters
    ----------
    architecture : str
        "unet": one network for all its stems, settings as in `configuration_of`. "unet-per-stem":
        ``networks``, a list of settings of "unet", and ``residual``, a name or null.
        "vocal-pitch-unet": vocals and their pitch, ``wiring`` and settings as in `configuration_of`; some wirings
        can only be trained, see `VocalPitchSeparator`. "subband-unet": one network for all its stems, made to be
        cheap. "hybrid-demucs": with and without transformer, see `read_hybrid`. "time-demucs": on waveforms
        alone, see `read_time`. "open-unmix": a recurrent network for each stem and a filter, see `read_open_unmix`.
        "roformer": masks by attention along time and bands, see `read_roformer`.
        "tdc-unet": one stem from complex spectrograms, see `read_tdc_unet`. "tfc-tdf-v3", also known as MDX23C: all
        stems from them, see `read_tfc_tdf_v3`. "scnet": the same with compressed bands, see `read_scnet`. "bag":
        ``members``, a list of ``architecture``, ``configuration`` and ``weights``, a number for each of the member's
        stems. "classical": no settings and no weights.
    configuration : mapping of str to object
        The settings.

    Returns
    -------
    ClassicalSeparator, a network or a Bag
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
        "hybrid-demucs": lambda values: HybridDemucsSeparator(read_hybrid(values)),
        "time-demucs": lambda values: TimeDemucsSeparator(read_time(values)),
        "open-unmix": lambda values: OpenUnmixSeparator(read_open_unmix(values)),
        "tdc-unet": lambda values: TdcUnetSeparator(read_tdc_unet(values)),
        "roformer": lambda values: RoformerSeparator(read_roformer(values)),
        "tfc-tdf-v3": lambda values: TfcTdfV3Separator(read_tfc_tdf_v3(values)),
        "scnet": lambda values: ScnetSeparator(read_scnet(values)),
        "bag": _bag,
    }
    if architecture not in builders:
        raise ConfigurationError(unknown("architecture", architecture, list(builders)))
    try:
        return builders[architecture](configuration)
    except ConfigurationError:
        raise
    except ValueError as fault:
        raise ConfigurationError(f"{architecture}: {fault}") from fault


def configuration_of(separator: Network | Bag) -> Configuration:
    """Give the configuration from which `build` makes an equal separator.

    Parameters
    ----------
    separator : a network or a Bag
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
    if isinstance(separator, HybridDemucsSeparator):
        return Configuration("hybrid-demucs", hybrid_values(separator.settings))
    if isinstance(separator, TimeDemucsSeparator):
        return Configuration("time-demucs", time_values(separator.settings))
    if isinstance(separator, OpenUnmixSeparator):
        return Configuration("open-unmix", open_unmix_values(separator.settings))
    if isinstance(separator, TdcUnetSeparator):
        return Configuration("tdc-unet", tdc_unet_values(separator.settings))
    if isinstance(separator, RoformerSeparator):
        return Configuration("roformer", roformer_values(separator.settings))
    if isinstance(separator, TfcTdfV3Separator):
        return Configuration("tfc-tdf-v3", tfc_tdf_v3_values(separator.settings))
    if isinstance(separator, ScnetSeparator):
        return Configuration("scnet", scnet_values(separator.settings))
    if isinstance(separator, Bag):
        return Configuration("bag", _bag_values(separator))
    return Configuration("unet", _mask_values(separator.settings))


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
    *("head", "segment_frames", "power", "level", "consistency", "channels_by_scale", "skips", "context"),
    *_SUBBAND_SIZE_KEYS,
)


def _classical(values: Values) -> ClassicalSeparator:
    Reader(values, allowed=())
    return ClassicalSeparator()


def _front_end(reader: "Reader") -> FrontEnd:
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
    reader = Reader(values, allowed=_MASK_KEYS)
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
    reader = Reader(values, allowed=_VOCAL_PITCH_KEYS)
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
    reader = Reader(values, allowed=_SUBBAND_KEYS)
    return SubbandSettings(
        stems=reader.names("stems"),
        front_end=_front_end(reader),
        head=reader.choice("head", get_args(SubbandHead)),
        segment_frames=reader.integer("segment_frames"),
        power=reader.number("power", 0.4),
        level=reader.choice("level", get_args(Level), "absolute"),
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
        "level": settings.level,
        "consistency": settings.consistency,
        "channels_by_scale": list(settings.channels),
        "skips": settings.skips,
        "context": settings.context,
        **{key: getattr(settings, key) for key in _SUBBAND_SIZE_KEYS},
    }


def _per_stem(values: Values) -> PerStemSeparator:
    """Read the settings of "unet-per-stem"."""
    reader = Reader(values, allowed=("networks", "residual"))
    networks = reader.get("networks")
    if not isinstance(networks, Sequence) or not all(isinstance(network, Mapping) for network in networks):
        raise ConfigurationError("networks: expected a list of settings")
    residual = reader.get("residual", None)
    if residual is not None and not isinstance(residual, str):
        raise ConfigurationError(f"residual: expected a name or null, got {residual!r}")
    return PerStemSeparator([MaskSeparator(_mask_settings(network)) for network in networks], residual=residual)


def _bag(values: Values) -> Bag:
    """Read the settings of "bag"."""
    listed = Reader(values, allowed=("members",)).get("members")
    if not isinstance(listed, Sequence) or not all(isinstance(member, Mapping) for member in listed):
        raise ConfigurationError("members: expected a list of settings")
    members: list[Built] = []
    weights: list[Mapping[str, float]] = []
    for settings in listed:
        reader = Reader(settings, allowed=("architecture", "configuration", "weights"))
        configuration = reader.get("configuration")
        if not isinstance(configuration, Mapping):
            raise ConfigurationError(f"configuration: expected settings, got {configuration!r}")
        member = build(str(reader.get("architecture")), configuration)
        shares = reader.numbers("weights", (1.0,) * len(member.stems))
        if len(shares) != len(member.stems):
            raise ConfigurationError(f"weights: expected one for each of {', '.join(member.stems)}")
        members.append(member)
        weights.append(dict(zip(member.stems, shares, strict=True)))
    return Bag(members, weights)


def _bag_values(bag: Bag) -> Values:
    """The inverse of `_bag`."""
    members = []
    for member, weights in zip(bag.separators, bag.weights, strict=True):
        classical = Configuration("classical", {})
        made = configuration_of(member) if isinstance(member, Network | Bag) else classical
        shares = list(weights.values())
        members.append({"architecture": made.architecture, "configuration": made.settings, "weights": shares})
    return {"members": members}
