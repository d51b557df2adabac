"""What a user asked of `evaluate`, checked before anything heavy is imported."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

from mss_cli.devices import PrecisionChoice
from mss_cli.errors import UsageError

ORACLES = ("irm1", "irm2", "ibm1", "ibm2", "cirm", "mwf")
_DEVICE: Final = re.compile(r"auto|cpu|mps|cuda(:[0-9]+)?")


@dataclass(frozen=True, slots=True)
class SystemRequest:
    """What a user named; opened in every worker.

    Attributes
    ----------
    kind : {"model", "estimates", "oracle", "baseline"}
    name : str
        Model name or path, folder, oracle; "" for the baseline.
    device, precision : str
    threads : int or None
    segment_seconds, overlap, shifts, seed
        As in `EngineSettings`.
    architecture : str or None
        Family of a checkpoint of others, where its contents do not tell it.
    download, accept_licence : bool
        As in `mss_cli.weights.installing.Terms`.
    """

    kind: str
    name: str = ""
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    segment_seconds: float | None = None
    overlap: float = 0.25
    shifts: int = 0
    seed: int = 0
    architecture: str | None = None
    download: bool = True
    accept_licence: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asked of `evaluate`, as typed; the fields are those of the command's flags."""

    system: SystemRequest
    dataset: str
    root: Path | None
    subset: str | None
    tracks: tuple[str, ...] | None
    output: Path
    scores: str
    scenario: str
    against: str | None
    tolerance: float
    fail_under: tuple[str, ...]
    compare: tuple[Path, ...]
    save_estimates: Path | None
    published: str
    jobs: int
    report: Path | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The flags that name what is evaluated; exactly one of them must be given."""

    model: str | None
    estimates: Path | None
    oracle: str | None
    baseline_mixture: bool


def choose_system(
    chosen: Chosen,
    *,
    device: str,
    precision: str,
    threads: int | None,
    segment_seconds: float | None,
    overlap: float,
    shifts: int,
    seed: int,
    architecture: str | None,
    download: bool,
    accept_licence: bool,
) -> SystemRequest:
    """Turn the flags into the one system.

    Raises
    ------
    UsageError
        If none or several are named, or one does not exist.
    """
    given = {
        "--model": chosen.model is not None,
        "--estimates": chosen.estimates is not None,
        "--oracle": chosen.oracle is not None,
        "--baseline-mixture": chosen.baseline_mixture,
    }
    named = [flag for flag, there in given.items() if there]
    if len(named) != 1:
        problem = "nothing to evaluate is named" if not named else f"{' and '.join(named)} are given"
        raise UsageError(problem, hint=f"give exactly one of {', '.join(given)}")
    one_of("--precision", precision, get_args(PrecisionChoice))
    _check_device(device, chosen)
    if chosen.model is not None:
        from mss_cli.weights.choice import members_of
        from mss_cli.weights.manifest import find

        for name in members_of(chosen.model):
            find(name)
        return SystemRequest(
            "model",
            chosen.model,
            device,
            precision,
            threads,
            segment_seconds,
            overlap,
            shifts,
            seed,
            architecture,
            download,
            accept_licence,
        )
    if architecture is not None or accept_licence:
        raise UsageError("`--architecture` and `--accept-licence` are for `--model`", hint="leave them out")
    if chosen.estimates is not None:
        return SystemRequest("estimates", str(chosen.estimates), threads=threads)
    if chosen.oracle is not None:
        return SystemRequest("oracle", one_of("--oracle", chosen.oracle, ORACLES), threads=threads)
    return SystemRequest("baseline", threads=threads)


def _check_device(device: str, chosen: Chosen) -> None:
    """Refuse what is no device, and a GPU where none would be used."""
    if _DEVICE.fullmatch(device) is None:
        raise UsageError(f"no device is called `{device}`", hint="use `auto`, `cpu`, `cuda`, `cuda:N` or `mps`")
    if chosen.model is None and device not in ("auto", "cpu"):
        hint = "leave it out: oracles and scores are computed on the CPU"
        raise UsageError(f"`--device {device}` is for `--model`", hint=hint)


def split_tracks(text: str | None) -> tuple[str, ...] | None:
    """Read the names of `--tracks`; None if it is not given.

    Raises
    ------
    UsageError
        If a name is empty.
    """
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise UsageError(f"`--tracks {text}` has an empty name", hint="write names separated by single commas")
    return names


def one_of(flag: str, value: str, allowed: Sequence[str]) -> str:
    """Give a value back if it is allowed; raise `UsageError` with those that are."""
    if value not in allowed:
        raise UsageError(f"`{flag} {value}` is not known", hint=f"use one of {', '.join(allowed)}")
    return value
