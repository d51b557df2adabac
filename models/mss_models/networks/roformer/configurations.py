"""Settings of RoFormers to and from what a checkpoint or a recipe holds."""

from dataclasses import asdict, fields
from typing import get_args

from mss_models.configuration import Reader, Values
from mss_models.networks.roformer.settings import Kind, RoformerSettings

_INTEGERS = (
    *("sample_rate", "channels", "segment_samples", "n_fft", "hop_length", "window_length", "mel_bands", "width"),
    *("depth", "time_layers", "band_layers", "whole_layers", "heads", "head_width", "mask_layers", "mask_growth"),
)
_FLAGS = ("scaled_transform", "skips", "silent_zero")
_NUMBERS = ("attention_dropout", "feed_forward_dropout")


def read_roformer(values: Values) -> RoformerSettings:
    """Read the settings of "roformer".

    Parameters
    ----------
    values : mapping of str to object
        Keys are the fields of `RoformerSettings`. All but ``stems`` and ``band_widths`` or ``mel_bands`` may be
        missing.

    Raises
    ------
    ConfigurationError, ValueError
        If a key is unknown or of another kind; if a value is out of its range.
    """
    known = fields(RoformerSettings)
    defaults = {field.name: field.default for field in known}
    reader = Reader(values, allowed=tuple(field.name for field in known))
    integers = {name: reader.integer(name, defaults[name]) for name in _INTEGERS}
    flags = {name: reader.flag(name, defaults[name]) for name in _FLAGS}
    numbers = {name: reader.number(name, defaults[name]) for name in _NUMBERS}
    return RoformerSettings(
        stems=reader.names("stems"),
        kind=reader.choice("kind", get_args(Kind), defaults["kind"]),
        band_widths=reader.integers("band_widths", ()),
        **integers,  # type: ignore[arg-type]
        **flags,
        **numbers,  # type: ignore[arg-type]
    )


def roformer_values(settings: RoformerSettings) -> Values:
    """Give what `read_roformer` reads, with all keys."""
    return {**asdict(settings), "stems": list(settings.stems), "band_widths": list(settings.band_widths)}
