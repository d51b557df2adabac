"""Open-Unmix: one state dict for each stem, and perhaps `separator.json`; the sizes are read off the shapes.

Keys and shapes: github.com/sigsep/open-unmix-pytorch, whose loader takes the number of bins that are heard from the
length of `input_mean` and ignores what early files hold beside the weights.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from mss_cli.weights.cache import file_sha256
from mss_cli.weights.families import x_umx
from mss_cli.weights.families.contents import Contents, Part, refuse
from mss_cli.weights.safe_loading import load_safely, tensors

if TYPE_CHECKING:
    from torch import Tensor

NAME: Final = "open-unmix"
# Window and hop of the published models, by the bins they give.
_TRANSFORMS: Final = {2049: (4096, 1024, 44_100, 2), 513: (1024, 512, 16_000, 1)}
_SEPARATOR_FILE: Final = "separator.json"


def fits(state: "Mapping[str, Tensor]") -> bool:
    """Tell whether a state dict is one of Open-Unmix."""
    return {"input_mean", "output_scale", "fc1.weight", "fc3.weight", "lstm.weight_ih_l0"} <= set(state)


def parts_of(folder: Path) -> list[Part]:
    """Find the stems of a folder that training has left: `separator.json` and `STEM.pth`.

    Raises
    ------
    WeightsError
        If there are none.
    """
    files = sorted(folder.glob("*.pth"))
    if not files:
        raise refuse(folder, "no checkpoints `STEM.pth` in this folder")
    return [Part(path, role_of(path)) for path in files]


def role_of(path: Path) -> str:
    """Give the stem in a file's name: what stands before the hash."""
    return re.sub(r"[-_][0-9a-f]{8}$", "", path.stem)


def read(parts: Sequence[Part], stems: tuple[str, ...] = ()) -> Contents:
    """Join the state dicts of the stems, or read the one file of a crossed network (X-UMX).

    Parameters
    ----------
    parts : sequence of Part
        One for each stem; without a role, the file's name tells it.
    stems : tuple of str
        The order wanted; that of the files if empty.

    Raises
    ------
    WeightsError
        If a file is no state dict of Open-Unmix, or they are not of one kind.
    """
    from mss_models.networks.open_unmix.network import published_state

    found = {}
    for part in parts:
        content = load_safely(part.path)
        if len(parts) == 1 and x_umx.fits(content):
            return x_umx.read(cast("Mapping[object, object]", content), part.path, stems)
        state = tensors(content, part.path)
        if not fits(state):
            raise refuse(part.path, "no state dict of Open-Unmix")
        found[part.role or role_of(part.path)] = published_state(state)
    order = stems or tuple(found)
    if set(order) != set(found):
        raise refuse(parts[0].path, f"stems {', '.join(found)} instead of {', '.join(order)}")
    shapes = [_sizes(found[stem], parts[0].path) for stem in order]
    if any(one != shapes[0] for one in shapes):
        raise refuse(parts[0].path, "its stems have networks of different sizes")
    sizes = {**shapes[0], **_settings(parts[0].path.parent, shapes[0])}
    if len(order) == 1:
        sizes["wiener_iterations"] = 0  # the filter shares a mixture among stems
    state = {f"networks.{stem}.{key}": tensor for stem in order for key, tensor in found[stem].items()}
    return Contents(NAME, {"stems": list(order), **sizes}, state, order, int(str(sizes["sample_rate"])))


def _sizes(state: "Mapping[str, Tensor]", path: Path) -> dict[str, object]:
    bins, heard = state["output_scale"].shape[0], state["input_mean"].shape[0]
    hidden, inputs = state["fc1.weight"].shape
    channels = state["fc3.weight"].shape[0] // bins
    if inputs != heard * channels or bins not in _TRANSFORMS:
        raise refuse(path, f"{bins} bins of which {heard} are heard are not known of Open-Unmix")
    n_fft, hop, rate, _ = _TRANSFORMS[bins]
    return {
        "sample_rate": rate,
        "channels": channels,
        "n_fft": n_fft,
        "hop_length": hop,
        "heard_bins": heard,
        "hidden_size": hidden,
        "layers": sum(bool(re.fullmatch(r"lstm\.weight_ih_l\d+", key)) for key in state),
        "bidirectional": "lstm.weight_ih_l0_reverse" in state,
    }


def settings_mark(folder: Path) -> str:
    """Give what decides the settings beside the weights: what `separator.json` says; "" if it is not there."""
    path = folder / _SEPARATOR_FILE
    return file_sha256(path) if path.is_file() else ""


def _settings(folder: Path, sizes: Mapping[str, object]) -> dict[str, object]:
    """Read what `separator.json` says of the transform, if it is there."""
    path = folder / _SEPARATOR_FILE
    if not path.is_file():
        return {}
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        found = {
            "sample_rate": int(said.get("sample_rate", sizes["sample_rate"])),
            "n_fft": int(said.get("nfft", sizes["n_fft"])),
            "hop_length": int(said.get("nhop", sizes["hop_length"])),
            "channels": int(said.get("nb_channels", sizes["channels"])),
        }
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise refuse(path, f"damaged ({error})") from error
    if (found["n_fft"], found["channels"]) != (sizes["n_fft"], sizes["channels"]):
        raise refuse(path, "its transform does not fit the weights")
    return dict(found)
