"""Demucs 2 to 4: bare weights, or the class of the network by name, its settings and half-precision weights.

These are in a pickle or in safetensors. What the settings mean is known to `mss_models.networks.demucs.published` and
`published_time`; classes are told by their names alone.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mss_cli.weights.families.contents import Contents, Part, refuse
from mss_cli.weights.safe_loading import StandIn, load_safely, plain, tensors

if TYPE_CHECKING:
    from torch import Tensor

    from mss_models.networks.demucs.time_settings import TimeSettings

HYBRID: Final = "hybrid-demucs"
TIME: Final = "time-demucs"
BAG: Final = "bag"
_TIME_CLASS: Final = "demucs.demucs.Demucs"
_QUANTISED: Final = ("__quantized", "quantized", "compressed")


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
    if any(len(row) != len(first.stems) for row in rows):
        raise refuse(parts[0].path, f"a row of weights has not one for each of {', '.join(first.stems)}")
    configuration = {
        "members": [
            {"architecture": one.architecture, "configuration": dict(one.configuration), "weights": row}
            for one, row in zip(members, rows, strict=True)
        ]
    }
    state = {f"members.{i}.{key}": value for i, one in enumerate(members) for key, value in one.state.items()}
    return Contents(BAG, configuration, state, first.stems, first.sample_rate)


def fits(content: object) -> bool:
    """Tell whether something that was read is a package of Demucs, or bare weights of its second version."""
    from mss_models.networks.demucs.published_time import is_second_version

    return isinstance(content, Mapping) and (_is_package(content) or is_second_version(content))


def _is_package(content: Mapping[object, object]) -> bool:
    return {"klass", "args", "kwargs", "state"} <= set(content)


def _member(path: Path, segment_seconds: float | None) -> Contents:
    if path.name.endswith(".gz"):
        raise refuse(path, "a pickle of Demucs v1, which could run any code", hint="take `htdemucs` instead")
    try:
        if path.suffix == ".safetensors":
            return _contents(*_from_safetensors(path), segment_seconds)
        content = _read_pickle(path)
        if not _is_package(content):
            return _second_version(content, path, segment_seconds)
        return _contents(*_from_package(content, path), segment_seconds)
    except (ValueError, TypeError) as error:
        raise refuse(path, str(error)) from error


_Package = tuple[str, list[object], dict[str, object], "Mapping[str, Tensor]"]


def _read_pickle(path: Path) -> Mapping[object, object]:
    content = load_safely(path)
    if isinstance(content, tuple | list):
        raise refuse(path, "a pickle of Demucs v1, which could run any code", hint="take `htdemucs` instead")
    if isinstance(content, Mapping):
        state = content.get("state", content)
        if isinstance(state, Mapping) and any(key in state for key in _QUANTISED):
            hint = "take the model of the same name without `_q`"
            raise refuse(path, "packed by DiffQ, which only its own package unpacks", hint=hint)
    if not isinstance(content, Mapping) or not fits(content):
        raise refuse(path, "no package of Demucs: it does not say of which network it is")
    return content


def _from_package(package: Mapping[object, object], path: Path) -> _Package:
    klass = package["klass"]
    name = klass.name if isinstance(klass, type) and issubclass(klass, StandIn) else str(klass)
    arguments, settings = plain(package["args"]), plain(package["kwargs"])
    return (name, *_checked(arguments, settings, path), tensors(package["state"], path))


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
    from mss_models.networks.demucs.published_time import published_time

    if name == _TIME_CLASS:
        return _time_contents(published_time(name, arguments, settings), state, segment_seconds)
    found = published_hybrid(name, arguments, settings)
    if segment_seconds is not None:
        found = replace(found, segment_samples=int(segment_seconds * found.sample_rate))
    return Contents(HYBRID, dict(hybrid_values(found)), state, found.stems, found.sample_rate)


def _second_version(content: Mapping[object, object], path: Path, segment_seconds: float | None) -> Contents:
    from mss_models.networks.demucs.published_time import second_version

    return _time_contents(*second_version(tensors(content, path)), segment_seconds)


def _time_contents(found: "TimeSettings", state: "Mapping[str, Tensor]", segment_seconds: float | None) -> Contents:
    from mss_models.networks.demucs.configurations import time_values

    if segment_seconds is not None:
        found = replace(found, segment_samples=int(segment_seconds * found.sample_rate))
    return Contents(TIME, dict(time_values(found)), state, found.stems, found.sample_rate)
