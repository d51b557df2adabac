"""Reads what the published Demucs checkpoints of the time domain say of themselves, or leave to be known.

Those of version 3 name their class and its arguments. Those of version 2 are bare state dicts: widths and layers are
read off the shapes, the rest is what all of them were made with (github.com/facebookresearch/demucs, release 2,
``demucs/model.py`` and ``demucs/pretrained.py``). Nothing is imported by a name.
"""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from mss_models.configuration import ConfigurationError, unknown
from mss_models.networks.demucs.published_options import Known, PublishedOptions
from mss_models.networks.demucs.settings import ResidualSettings
from mss_models.networks.demucs.time_settings import TimeSettings

# Class names end so.
TIME_CLASS = "Demucs"

_KNOWN = Known(
    sizes=(
        *("sources", "audio_channels", "channels", "growth", "depth", "lstm_layers", "kernel_size", "stride"),
        *("context", "gelu", "norm_starts", "norm_groups", "normalize", "resample", "samplerate", "segment"),
        *("dconv_mode", "dconv_depth", "dconv_comp", "dconv_attn", "dconv_lstm", "dconv_init"),
    ),
    fixed={"rewrite": True, "glu": True},
    without_effect=("rescale",),
)
# The gated convolutions of the encoder and the transposed ones, which norms have pushed back by one since.
_SECOND_LAYER = re.compile(r"(encoder|decoder)\.(\d+)\.2\.(weight|bias)")
_SECOND_STEMS = ("drums", "bass", "other", "vocals")


def published_time(class_name: str, arguments: Sequence[object], options: Mapping[str, object]) -> TimeSettings:
    """Give the settings of a published Demucs of version 3 in the time domain.

    Parameters
    ----------
    class_name : str
        As stored in the checkpoint, with or without its modules.
    arguments : sequence of object
        Positional arguments; the first one is the list of stems.
    options : mapping of str to object
        Keyword arguments; what is missing has the default of the package's constructor.

    Returns
    -------
    TimeSettings
        Sizes. The state dict of `TimeDemucs` then has the names and shapes of the checkpoint's.

    Raises
    ------
    ConfigurationError
        If the class or an option is not known, or has a value that is not.
    """
    if class_name.rpartition(".")[2] != TIME_CLASS:
        raise ConfigurationError(unknown("class", class_name, [TIME_CLASS]))
    values = PublishedOptions(arguments, options, _KNOWN)
    rate = values.integer("samplerate", 44_100)
    mode = values.integer("dconv_mode", 1)
    try:
        residual = ResidualSettings(
            in_encoder=bool(mode & 1),
            in_decoder=bool(mode & 2),
            layers=values.count("dconv_depth", 2),
            compression=values.integer("dconv_comp", 4),
            lstm_from=values.integer("dconv_lstm", 4),
            attention_from=values.integer("dconv_attn", 4),
            scale=values.number("dconv_init", 1e-4),
        )
        return TimeSettings(
            stems=values.names("sources"),
            sample_rate=rate,
            channels=values.integer("audio_channels", 2),
            segment_samples=int(values.fraction("segment", 40) * rate),
            width=values.integer("channels", 64),
            growth=values.integer("growth", 2),
            depth=values.count("depth", 6),
            kernel_size=values.integer("kernel_size", 8),
            stride=values.integer("stride", 4),
            context=values.integer("context", 1),
            activation="gelu" if values.flag("gelu", True) else "relu",
            lstm_layers=values.count("lstm_layers", 0),
            norm_from=values.integer("norm_starts", 4),
            norm_groups=values.integer("norm_groups", 4),
            residual=residual if mode & 3 else None,
            normalize=values.flag("normalize", True),
            resample=values.flag("resample", True),
        )
    except ConfigurationError:
        raise
    except ValueError as fault:
        raise ConfigurationError(f"{class_name}: {fault}") from fault


def is_second_version(state: Mapping[str, Tensor]) -> bool:
    """Tell whether a bare state dict is one of Demucs 2."""
    needed = {"encoder.0.0.weight", "encoder.0.2.weight", "decoder.0.0.weight", "decoder.0.2.weight"}
    return needed | {"lstm.lstm.weight_ih_l0", "lstm.linear.weight"} <= set(state)


def second_version(state: Mapping[str, Tensor]) -> tuple[TimeSettings, Mapping[str, Tensor]]:
    """Read the sizes of a Demucs 2 off its shapes, and give its weights the names of `TimeDemucs`.

    Parameters
    ----------
    state : mapping of str to Tensor
        As `is_second_version` knows it. It does not tell stride (4), sample rate (44.1 kHz), stems (drums, bass, other,
        vocals) and segment (40 s): these are the package's.

    Returns
    -------
    TimeSettings, mapping of str to Tensor
        Sizes and state dict.

    Raises
    ------
    ConfigurationError
        If the shapes are none that Demucs 2 can have.
    """
    depth = sum(bool(re.fullmatch(r"encoder\.\d+\.0\.weight", key)) for key in state)
    first, last = state["encoder.0.0.weight"], state.get(f"decoder.{depth - 1}.2.weight")
    gate = state["decoder.0.0.weight"]
    if first.ndim != 3 or gate.ndim != 3 or last is None or last.ndim != 3 or gate.shape[2] % 2 == 0:
        raise ConfigurationError("the shapes of its convolutions are not those of Demucs 2")
    width, channels, kernel = first.shape
    if last.shape[1] != channels * len(_SECOND_STEMS):
        raise ConfigurationError(f"{last.shape[1]} outputs are not {len(_SECOND_STEMS)} stems of {channels} channels")
    second = state.get("encoder.1.0.weight")
    settings = TimeSettings(
        stems=_SECOND_STEMS,
        channels=channels,
        width=width,
        growth=2 if second is None else second.shape[0] // width,
        depth=depth,
        kernel_size=kernel,
        context=gate.shape[2] // 2,
        context_padding=False,
        activation="relu",
        lstm_layers=sum(bool(re.fullmatch(r"lstm\.lstm\.weight_ih_l\d+", key)) for key in state),
        norm_from=depth,
        residual=None,
        normalize=False,
    )
    return settings, {_SECOND_LAYER.sub(r"\1.\2.3.\3", key): value for key, value in state.items()}
