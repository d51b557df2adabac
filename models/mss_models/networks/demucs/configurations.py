"""Settings of Demucs to and from what a checkpoint or a recipe holds."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import get_args

from mss_models.configuration import ConfigurationError, Reader, Values
from mss_models.networks.demucs.settings import HybridSettings, Planes, ResidualSettings, TransformerSettings
from mss_models.networks.demucs.time_settings import Activation, Decoders, TimeSettings

_INTEGERS = (
    *("sample_rate", "channels", "segment_samples", "width", "growth", "depth", "n_fft", "kernel_size", "stride"),
    *("time_stride", "context", "norm_from", "norm_groups", "wiener_iterations", "banded_levels"),
)
_TIME_INTEGERS = (
    *("sample_rate", "channels", "segment_samples", "width", "growth", "depth", "kernel_size", "stride", "context"),
    *("lstm_layers", "norm_from", "norm_groups"),
)


def read_hybrid(values: Values) -> HybridSettings:
    """Read the settings of "hybrid-demucs".

    Parameters
    ----------
    values : mapping of str to object
        Keys are the fields of `HybridSettings`; ``residual`` and ``transformer`` are mappings with the fields of
        theirs. All but ``stems`` may be missing.

    Returns
    -------
    HybridSettings
        The settings.

    Raises
    ------
    ConfigurationError, ValueError
        If a key is unknown or of another kind; if a value is out of its range.
    """
    defaults = HybridSettings(stems=("vocals",))
    reader = Reader(values, allowed=tuple(one.name for one in fields(HybridSettings)))
    whole = {name: reader.integer(name, getattr(defaults, name)) for name in _INTEGERS}
    transformer = _inner("transformer", reader.get("transformer", None))
    residual = _inner("residual", reader.get("residual", {}))
    return HybridSettings(
        stems=reader.names("stems"),
        **whole,
        planes=reader.choice("planes", get_args(Planes), defaults.planes),
        band_ends=_shares(reader.get("band_ends", [])),
        mirrored_ends=reader.flag("mirrored_ends", defaults.mirrored_ends),
        frequency_embedding=reader.number("frequency_embedding", defaults.frequency_embedding),
        residual=_residual(residual or {}),
        transformer=None if transformer is None else _transformer(transformer),
    )


def hybrid_values(settings: HybridSettings) -> Values:
    """Give what `read_hybrid` reads, with all keys."""
    return {**asdict(settings), "stems": list(settings.stems), "band_ends": list(settings.band_ends)}


def read_time(values: Values) -> TimeSettings:
    """Read the settings of "time-demucs".

    Parameters
    ----------
    values : mapping of str to object
        Keys are the fields of `TimeSettings`; ``residual`` is a mapping with the fields of its own, or null. All but
        ``stems`` may be missing.

    Returns
    -------
    TimeSettings
        The settings.

    Raises
    ------
    ConfigurationError, ValueError
        If a key is unknown or of another kind; if a value is out of its range.
    """
    defaults = TimeSettings(stems=("vocals",))
    reader = Reader(values, allowed=tuple(one.name for one in fields(TimeSettings)))
    whole = {name: reader.integer(name, getattr(defaults, name)) for name in _TIME_INTEGERS}
    residual = _inner("residual", reader.get("residual", {}))
    return TimeSettings(
        stems=reader.names("stems"),
        **whole,
        context_padding=reader.flag("context_padding", defaults.context_padding),
        lstm_bidirectional=reader.flag("lstm_bidirectional", defaults.lstm_bidirectional),
        normalize=reader.flag("normalize", defaults.normalize),
        resample=reader.flag("resample", defaults.resample),
        activation=reader.choice("activation", get_args(Activation), defaults.activation),
        decoders=reader.choice("decoders", get_args(Decoders), defaults.decoders),
        residual=None if residual is None else _residual(residual),
    )


def time_values(settings: TimeSettings) -> Values:
    """Give what `read_time` reads, with all keys."""
    return {**asdict(settings), "stems": list(settings.stems)}


def _shares(value: object) -> tuple[float, ...]:
    if not isinstance(value, list | tuple) or any(
        isinstance(one, bool) or not isinstance(one, int | float) for one in value
    ):
        raise ConfigurationError(f"band_ends: expected numbers, got {value!r}")
    return tuple(float(one) for one in value)


def _inner(name: str, value: object) -> Values | None:
    if value is not None and not isinstance(value, Mapping):
        raise ConfigurationError(f"{name}: expected settings, got {value!r}")
    return value


def _residual(values: Values) -> ResidualSettings:
    defaults = ResidualSettings()
    reader = Reader(values, allowed=tuple(one.name for one in fields(ResidualSettings)))

    def level(name: str, default: int | None) -> int | None:
        return None if reader.get(name, default) is None else reader.integer(name, default)

    return ResidualSettings(
        in_encoder=reader.flag("in_encoder", defaults.in_encoder),
        in_decoder=reader.flag("in_decoder", defaults.in_decoder),
        layers=reader.integer("layers", defaults.layers),
        compression=reader.integer("compression", defaults.compression),
        lstm_from=level("lstm_from", defaults.lstm_from),
        attention_from=level("attention_from", defaults.attention_from),
        scale=reader.number("scale", defaults.scale),
    )


def _transformer(values: Values) -> TransformerSettings:
    defaults = TransformerSettings()
    reader = Reader(values, allowed=tuple(one.name for one in fields(TransformerSettings)))
    return TransformerSettings(
        bottom_channels=reader.integer("bottom_channels", defaults.bottom_channels),
        layers=reader.integer("layers", defaults.layers),
        heads=reader.integer("heads", defaults.heads),
        hidden_scale=reader.number("hidden_scale", defaults.hidden_scale),
        dropout=reader.number("dropout", defaults.dropout),
    )
