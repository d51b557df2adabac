"""SCNet, plain and masked: a state dict, and the YAML file it was published with beside it.

Keys, shapes and the meaning of the YAML file: github.com/starrytong/SCNet and
github.com/ZFTurbo/Music-Source-Separation-Training.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from mss_cli.weights.families.contents import refuse
from mss_cli.weights.families.training_yaml import TrainingYaml
from mss_cli.weights.families.yaml_checkpoint import YamlFamily, check_keys

if TYPE_CHECKING:
    from torch import Tensor

    from mss_models.networks.scnet.network import Scnet
    from mss_models.networks.scnet.settings import ScnetSettings

_MARKS: Final = ("encoder.0.SDlayer.convs.0.weight", "separation_net.dp_modules.0.lstm_layers.0.weight_ih_l0")
_MASKED: Final = "mask_layer.0.weight"
_MEANT: Final = (
    *("sources", "audio_channels", "dims", "nfft", "hop_size", "win_size", "normalized", "band_SR", "band_stride"),
    *("band_kernel", "conv_depths", "compress", "conv_kernel", "num_dplayer", "expand"),
)


def _settings(file: TrainingYaml, state: "Mapping[str, Tensor]") -> "ScnetSettings":
    """Read the sizes."""
    from mss_models.networks.scnet.settings import Bands, ScnetSettings

    model = file.model
    check_keys(model, _MEANT)
    rate, size = file.audio.integer("sample_rate", 44_100), model.integer("nfft", 4096)
    if model.integer("win_size", size) != size:
        raise refuse(file.path, "its window is shorter than its transform, which is not known here")
    bands = Bands()
    return ScnetSettings(
        stems=file.stems(len(model.names("sources")) or 4),
        sample_rate=rate,
        channels=model.integer("audio_channels", 2),
        segment_samples=file.segment_samples(model.integer("hop_size", 1024), default=11 * rate),
        n_fft=size,
        hop_length=model.integer("hop_size", 1024),
        unitary=model.flag("normalized", True),
        normalization="deviation" if file.inference.flag("normalize", False) else "none",
        masked=_MASKED in state,
        widths=tuple(model.integers("dims", (4, 32, 64, 128))),
        bands=Bands(
            shares=tuple(model.numbers("band_SR", bands.shares)),
            strides=tuple(model.integers("band_stride", bands.strides)),
            kernels=tuple(model.integers("band_kernel", bands.kernels)),
            depths=tuple(model.integers("conv_depths", bands.depths)),
        ),
        compression=model.count("compress", 4),
        kernel=model.count("conv_kernel", 3),
        dual_paths=model.count("num_dplayer", 6),
        expansion=model.count("expand", 1),
    )


def _values(settings: "ScnetSettings") -> Mapping[str, object]:
    from mss_models.networks.scnet.configurations import scnet_values

    return scnet_values(settings)


def _network(settings: "ScnetSettings") -> "Scnet":
    from mss_models.networks.scnet.network import Scnet

    return Scnet(settings)


SCNET: Final = YamlFamily("scnet", "SCNet", _MARKS, _settings, _values, _network)
