"""TFC-TDF v3 (MDX23C): a state dict, and the YAML file it was published with beside it.

Keys, shapes and the meaning of the YAML file: github.com/kuielab/sdx23 and
github.com/ZFTurbo/Music-Source-Separation-Training.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from mss_cli.weights.families.contents import refuse
from mss_cli.weights.families.training_yaml import TrainingYaml
from mss_cli.weights.families.yaml_checkpoint import YamlFamily, check_keys

if TYPE_CHECKING:
    from torch import Tensor

    from mss_models.networks.tfc_tdf_v3 import Activation, Norm, TfcTdfV3
    from mss_models.networks.tfc_tdf_v3_separator import TfcTdfV3Settings

_MARKS: Final = ("first_conv.weight", "bottleneck_block.blocks.0.tdf.2.weight", "final_conv.2.weight")
_MEANT: Final = (
    *("act", "bottleneck_factor", "growth", "norm", "num_blocks_per_scale", "num_channels", "num_scales"),
    *("num_subbands", "scale"),
)
_NORMS: "Final[dict[object, Norm]]" = {None: "none", "BatchNorm": "batch", "InstanceNorm": "instance"}
_ALPHA: Final = re.compile(r"elu(\d+(?:\.\d*)?(?:[eE]-?\d+)?)")


def _settings(file: TrainingYaml, state: "Mapping[str, Tensor]") -> "TfcTdfV3Settings":
    """Read the sizes."""
    from mss_models.networks.tfc_tdf_v3 import TfcTdfV3Shape
    from mss_models.networks.tfc_tdf_v3_separator import TfcTdfV3Settings
    from mss_models.stft import StftSettings

    model, audio = file.model, file.audio
    check_keys(model, _MEANT)
    stems = file.stems(1 if file.training.values.get("target_instrument") else len(file.training.names("instruments")))
    channels, hop = audio.integer("num_channels", 2), audio.integer("hop_length", 1024)
    norm, groups = _norm(file)
    activation, alpha = _activation(file)
    scale = model.integers("scale", (2, 2))
    if len(scale) != 2:
        raise refuse(file.path, "its `model.scale` is no pair")
    shape = TfcTdfV3Shape(
        planes=2 * channels,
        targets=len(stems),
        bins=audio.integer("dim_f", 4096),
        sub_bands=model.count("num_subbands", 4),
        scales=model.count("num_scales", 5),
        blocks=model.count("num_blocks_per_scale", 2),
        channels=model.integer("num_channels", 128),
        growth=model.integer("growth", 128),
        bottleneck=model.integer("bottleneck_factor", 4),
        scale_frames=scale[0],
        scale_bins=scale[1],
        norm=norm,
        norm_groups=groups,
        activation=activation,
        elu_alpha=alpha,
    )
    transform = StftSettings(n_fft=audio.integer("n_fft", 8192), hop_length=hop)
    segment = file.segment_samples(hop, default=255 * hop)
    return TfcTdfV3Settings(stems, audio.integer("sample_rate", 44_100), channels, transform, segment, shape)


def _norm(file: TrainingYaml) -> "tuple[Norm, int]":
    """Give the norm, and its groups."""
    name = file.model.values.get("norm")
    found = re.fullmatch(r"GroupNorm(\d{1,4})", name) if isinstance(name, str) else None
    if found is not None:
        return "group", int(found[1])
    if not isinstance(name, str | None) or name not in _NORMS:
        raise refuse(file.path, f"its `model.norm` is not known here: `{name}`")
    return _NORMS[name], 1


def _activation(file: TrainingYaml) -> "tuple[Activation, float]":
    """Give the activation, and the parameter of ELU."""
    name = file.model.values.get("act", "gelu")
    if name == "gelu" or name == "relu":
        return name, 1.0
    found = _ALPHA.fullmatch(name) if isinstance(name, str) else None
    if found is None:
        raise refuse(file.path, f"its `model.act` is not known here: `{name}`")
    return "elu", float(found[1])


def _values(settings: "TfcTdfV3Settings") -> Mapping[str, object]:
    from mss_models.networks.tfc_tdf_v3_separator import tfc_tdf_v3_values

    return tfc_tdf_v3_values(settings)


def _network(settings: "TfcTdfV3Settings") -> "TfcTdfV3":
    from mss_models.networks.tfc_tdf_v3 import TfcTdfV3

    return TfcTdfV3(settings.shape)


TFC_TDF_V3: Final = YamlFamily("tfc-tdf-v3", "TFC-TDF v3 (MDX23C)", _MARKS, _settings, _values, _network)
