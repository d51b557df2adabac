"""Demucs 3 and 4: the class of the network by name, its settings, half-precision weights; in a pickle or safetensors.

What the settings mean is known to `mss_models.networks.demucs.published`; classes are told by their names alone.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from mss_cli.weights.families.contents import Contents, Part, refuse
from mss_cli.weights.safe_loading import StandIn, load_safely, plain, tensors

if TYPE_CHECKING:
    from torch import Tensor

HYBRID: Final = "hybrid-demucs"
BAG: Final = "bag"
_TIME: Final = "demucs.demucs.Demucs"
_QUANTISED: Final = ("__quantized", "quantized")


def read(
    parts: Sequence[Part],
    stems: tuple[str, ...] = (),
    *,
    weights: Sequence[Sequence[float]] = (),
    segment_seconds: float | None = None,
) -> Contents:
    """Read a network, or several whose estimates are averaged.

    Parameters
    ----------
    parts : sequence of Part
        A file for each network.
    stems : tuple of str
        Those expected, in their order; any if empty.
    weights : sequence of sequences of float
        A row for each network, a column for each stem; equal if empty.
    segment_seconds : float or None
        For all, where the publisher says so.

    Raises
    ------
    WeightsError
        If a file is of another kind, or cannot be loaded safely.
    """
    members = [_member(part.path, segment_seconds) for part in parts]
    first = members[0]
    if stems and first.stems != stems:
        raise refuse(parts[0].path, f"stems {', '.join(first.stems)} instead of {', '.join(stems)}")
    if len(members) == 1:
        return first
    if any((member.stems, member.sample_rate) != (first.stems, first.sample_rate) for member in members):
        raise refuse(parts[0].path, "its networks have different stems or rates")
    rows = [list(row) for row in weights] or [[1.0] * len(first.stems)] * len(members)
    configuration = {
        "members": [
            {"architecture": one.architecture, "configuration": dict(one.configuration), "weights": row}
            for one, row in zip(members, rows, strict=True)
        ]
    }
    state = {f"members.{i}.{key}": value for i, one in enumerate(members) for key, value in one.state.items()}
    return Contents(BAG, configuration, state, first.stems, first.sample_rate)


def fits(content: object) -> bool:
    """Tell whether something that was read is a package of Demucs."""
    return isinstance(content, Mapping) and {"klass", "args", "kwargs", "state"} <= set(content)


def _member(path: Path, segment_seconds: float | None) -> Contents:
    if path.name.endswith(".gz"):
        raise refuse(path, "a pickle of Demucs v1, which could run any code", hint="take `htdemucs` instead")
    if path.suffix == ".safetensors":
        name, arguments, settings, state = _from_safetensors(path)
    else:
        name, arguments, settings, state = _from_pickle(path)
    if name == _TIME:
        raise refuse(path, "the time-domain Demucs of version 3 is not known here yet", hint="take `htdemucs` instead")
    try:
        return _contents(name, arguments, settings, state, segment_seconds)
    except (ValueError, TypeError) as error:
        raise refuse(path, str(error)) from error


_Package = tuple[str, list[object], dict[str, object], "Mapping[str, Tensor]"]


def _from_pickle(path: Path) -> _Package:
    content = load_safely(path)
    if isinstance(content, tuple | list):
        raise refuse(path, "a pickle of Demucs v1, which could run any code", hint="take `htdemucs` instead")
    if not fits(content):
        raise refuse(path, "no package of Demucs: it does not say of which network it is")
    package = cast("Mapping[str, object]", content)
    klass, state = package["klass"], package["state"]
    if isinstance(state, Mapping) and any(key in state for key in _QUANTISED):
        hint = "take the model of the same name without `_q`"
        raise refuse(path, "packed by DiffQ, which only its own package unpacks", hint=hint)
    name = klass.name if isinstance(klass, type) and issubclass(klass, StandIn) else str(klass)
    try:
        arguments, settings = plain(package["args"]), plain(package["kwargs"])
    except ValueError as error:
        raise refuse(path, str(error)) from error
    return (name, *_checked(arguments, settings, path), tensors(state, path))


def _from_safetensors(path: Path) -> _Package:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            said = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
        arguments, settings = plain(json.loads(said["args"])), plain(json.loads(said["kwargs"]))
    except (SafetensorError, OSError, ValueError, KeyError, RecursionError) as error:
        raise refuse(path, f"no package of Demucs ({error})") from error
    return (said.get("klass", ""), *_checked(arguments, settings, path), state)


def _checked(arguments: object, settings: object, path: Path) -> tuple[list[object], dict[str, object]]:
    if not isinstance(arguments, list) or not isinstance(settings, dict):
        raise refuse(path, "its settings are damaged")
    return arguments, settings


def _contents(
    name: str,
    arguments: list[object],
    settings: dict[str, object],
    state: "Mapping[str, Tensor]",
    segment_seconds: float | None,
) -> Contents:
    from mss_models.networks.demucs.configurations import hybrid_values
    from mss_models.networks.demucs.published import published_hybrid

    found = published_hybrid(name, arguments, settings)
    if segment_seconds is not None:
        found = replace(found, segment_samples=int(segment_seconds * found.sample_rate))
    return Contents(HYBRID, dict(hybrid_values(found)), state, found.stems, found.sample_rate)
