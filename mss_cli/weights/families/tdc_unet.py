"""U-Nets on complex spectrograms with TDC or TFC-TDF blocks: a state dict alone; the sizes are read off the shapes.

Keys and shapes: github.com/ws-choi/ISMIR2020_U_Nets_SVS. Files saved by several GPUs have `module.` before every key.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from mss_cli.weights.families.contents import Contents, Part, refuse
from mss_cli.weights.safe_loading import load_safely, tensors

if TYPE_CHECKING:
    from torch import Tensor

NAME: Final = "tdc-unet"
_WRAPPED: Final = "module."
_STEMS: Final = ("vocals",)
_RATE: Final = 44_100
# Window, hop and frames of a segment, by the number of levels: that of the published ones.
_SIGNALS: Final = {8: (2048, 1024, 64), 4: (4096, 2048, 128)}


def fits(state: "Mapping[str, Tensor]") -> bool:
    """Tell whether a state dict is one of these."""
    keys = {key.removeprefix(_WRAPPED) for key in state}
    blocks = any(key.startswith(("encoders.0.H.0.", "encoders.0.tfc.H.0.")) for key in keys)
    return blocks and "first_conv.0.weight" in keys


def read(parts: Sequence[Part], stems: tuple[str, ...] = ()) -> Contents:
    """Read the one file.

    Raises
    ------
    WeightsError
        If it is no state dict of these networks.
    """
    path = parts[0].path
    wrapped = tensors(load_safely(path), path)
    if not fits(wrapped):
        raise refuse(path, "no state dict of a U-Net with TDC or TFC-TDF blocks")
    state = {key.removeprefix(_WRAPPED): tensor for key, tensor in wrapped.items()}
    first = state["first_conv.0.weight"]  # (channel, plane, bin, frame)
    levels = len({found[1] for key in state if (found := re.match(r"encoders\.(\d+)\.", key))})
    plain = "encoders.0.H.0.0.weight" in state
    if levels not in _SIGNALS or first.ndim != 4 or first.shape[1] % 2:
        raise refuse(path, f"{levels} levels are not known of these networks")
    n_fft, hop, frames = _SIGNALS[levels]
    layers = r"encoders\.0\.H\.(\d+)\." if plain else r"encoders\.0\.tfc\.H\.(\d+)\."
    order = stems or _STEMS
    configuration = {
        "stems": list(order),
        "sample_rate": _RATE,
        "channels": first.shape[1] // 2,
        "n_fft": n_fft,
        "hop_length": hop,
        "segment_frames": frames,
        "block": "tdc" if plain else "tfc-tdf",
        "levels": levels,
        "internal_channels": first.shape[0],
        "dense_layers": len({found[1] for key in state if (found := re.match(layers, key))}),
    }
    inside = {f"network.{key}": tensor for key, tensor in state.items()}
    return Contents(NAME, configuration, inside, order, _RATE)
