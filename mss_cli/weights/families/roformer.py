"""BS-RoFormer and Mel-Band RoFormer: a state dict, and the YAML file it was published with beside it.

Keys, shapes and the meaning of the YAML file: github.com/ZFTurbo/Music-Source-Separation-Training and, before it,
github.com/lucidrains/BS-RoFormer. What that package has added since (residual streams, mixed values) makes another
network.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from mss_cli.weights.families.contents import refuse
from mss_cli.weights.families.training_yaml import TrainingYaml
from mss_cli.weights.families.yaml_checkpoint import YamlFamily, check_keys

if TYPE_CHECKING:
    from torch import Tensor

    from mss_models.networks.roformer.network import Roformer
    from mss_models.networks.roformer.settings import RoformerSettings

_MARKS: Final = ("band_split.to_features.0.0.gamma", "mask_estimators.0.to_freqs.0.0.0.weight")
_FINAL_NORM: Final = "final_norm.gamma"
_ANGLES: Final = ".rotary_embed."
# Arguments that decide the network, and those that only training or another program minds.
_MEANT: Final = (
    *("dim", "depth", "stereo", "num_stems", "time_transformer_depth", "freq_transformer_depth"),
    *("linear_transformer_depth", "freqs_per_bands", "num_bands", "dim_head", "heads", "attn_dropout", "ff_dropout"),
    *("sample_rate", "stft_n_fft", "stft_hop_length", "stft_win_length", "stft_normalized", "mask_estimator_depth"),
    *("mlp_expansion_factor", "skip_connection", "zero_dc"),
)
_UNMINDED: Final = (
    *("flash_attn", "linear_flash_attn", "sage_attention", "use_torch_checkpoint", "dim_freqs_in"),
    *("match_input_audio_length", "multi_stft_resolution_loss_weight", "multi_stft_resolutions_window_sizes"),
    *("multi_stft_hop_size", "multi_stft_normalized"),
)


def _one_lower(found: re.Match[str]) -> str:
    return f"{found[1]}{int(found[2]) - 1}."


def _settings(file: TrainingYaml, state: "Mapping[str, Tensor]") -> "RoformerSettings":
    """Read the sizes."""
    from mss_models.networks.roformer.settings import PUBLISHED_MEL_BANDS, PUBLISHED_WIDTHS, RoformerSettings

    model, mel = file.model, _FINAL_NORM not in state
    check_keys(model, (*_MEANT, *_UNMINDED))
    if ("num_bands" in model.values) != mel:
        kinds = ("BS-RoFormer", "Mel-Band RoFormer")
        raise refuse(file.path, f"is of a {kinds[not mel]}, the weights are of a {kinds[mel]}")
    hop = model.integer("stft_hop_length", 512)
    rate = model.integer("sample_rate", 44_100) if mel else file.audio.integer("sample_rate", 44_100)
    if mel and file.audio.integer("sample_rate", rate) != rate:
        raise refuse(file.path, "names two sample rates")
    # The two networks count the layers of this part differently.
    hidden = model.count("mask_estimator_depth", 1) if mel else model.count("mask_estimator_depth", 2) - 1
    return RoformerSettings(
        stems=file.stems(model.count("num_stems", 1)),
        kind="mel-band" if mel else "band-split",
        sample_rate=rate,
        channels=2 if model.flag("stereo", False) else 1,
        segment_samples=file.segment_samples(hop, default=8 * rate),
        n_fft=model.integer("stft_n_fft", 2048),
        hop_length=hop,
        window_length=model.integer("stft_win_length", 2048),
        scaled_transform=model.flag("stft_normalized", False),
        band_widths=() if mel else tuple(model.integers("freqs_per_bands", PUBLISHED_WIDTHS)),
        mel_bands=model.integer("num_bands", PUBLISHED_MEL_BANDS) if mel else 0,
        width=model.integer("dim", 384),
        depth=model.count("depth", 6),
        time_layers=model.count("time_transformer_depth", 2),
        band_layers=model.count("freq_transformer_depth", 2),
        whole_layers=model.count("linear_transformer_depth", 0),
        heads=model.count("heads", 8),
        head_width=model.integer("dim_head", 64),
        mask_layers=hidden,
        mask_growth=model.integer("mlp_expansion_factor", 4),
        skips=model.flag("skip_connection", False),
        silent_zero=model.flag("zero_dc", True),
        attention_dropout=model.number("attn_dropout", 0.0),
        feed_forward_dropout=model.number("ff_dropout", 0.0),
    )


def _mended(
    state: "Mapping[str, Tensor]", expected: "Mapping[str, Tensor]", settings: "RoformerSettings"
) -> "dict[str, Tensor]":
    """Bring the versions of both packages to ours; angles that were left out are put in, none share their memory."""
    from mss_models.networks.roformer.attention import RotaryPositions

    if not any(key.startswith("layers.0.0.") for key in state):
        # The first of three transformers is left out, but counted, in lucidrains' package.
        state = {re.sub(r"^(layers\.\d+\.)([12])\.", _one_lower, key): tensor for key, tensor in state.items()}
    # Later versions of the package of rotary embeddings keep more than the angles.
    mended = {key: value for key, value in state.items() if _ANGLES not in key or key.endswith(f"{_ANGLES}freqs")}
    angles = RotaryPositions(settings.head_width).freqs
    for key in expected:
        if key.endswith(f"{_ANGLES}freqs"):
            mended[key] = mended.get(key, angles).clone()
    return mended


def _values(settings: "RoformerSettings") -> Mapping[str, object]:
    from mss_models.networks.roformer.configurations import roformer_values

    return roformer_values(settings)


def _network(settings: "RoformerSettings") -> "Roformer":
    from mss_models.networks.roformer.network import Roformer

    return Roformer(settings)


ROFORMER: Final = YamlFamily(
    "roformer", "BS-RoFormer or Mel-Band RoFormer", _MARKS, _settings, _values, _network, _mended
)
