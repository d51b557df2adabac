"""The user's words about pitch checked, and who tells the pitch of a run."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mss_cli.errors import UsageError, WeightsError
from mss_cli.separation.stems import StemPlan

if TYPE_CHECKING:
    from mss_cli.pitch.step import PitchFiles, PitchStep
    from mss_cli.separation.engine import Engine

_STEM = "vocals"
_TELLS_PITCH = "vocal-pitch-unet"  # the architecture whose checkpoints may have a salience of their own


def check_pitch(plan: StemPlan, *, wanted: bool, weights: Path | None, architecture: str, output: str) -> None:
    """Refuse `--pitch` where it cannot be done, before any work.

    Parameters
    ----------
    plan : StemPlan
        What will be written.
    wanted : bool
        Whether `--pitch` was given.
    weights : Path or None
        Of `--pitch-weights`.
    architecture : str
        Of the model.
    output : str
        Of `--output`.

    Raises
    ------
    UsageError
        Without vocals to listen to, without the library that is needed, or to stdout.
    WeightsError
        If there are no such weights.
    """
    from mss_cli.pitch.figure import check_matplotlib
    from mss_cli.pitch.teachers import check_pyin

    if not wanted:
        raise UsageError("`--pitch-weights` needs `--pitch`", hint="give both, or neither")
    if output == "-":
        raise UsageError("`--pitch` needs an output folder", hint="leave out `--output -`")
    if _STEM not in plan.names:
        raise UsageError(
            f"`--pitch` listens to `{_STEM}`, and only {', '.join(plan.names)} would be written",
            hint=f"write `{_STEM}` too" if _STEM in plan.available else f"choose a model with the stem `{_STEM}`",
        )
    if weights is not None and not weights.is_file():
        raise WeightsError("no such file", path=str(weights), hint="give weights of Deep Salience as safetensors")
    if weights is None and architecture != _TELLS_PITCH:
        check_pyin()
    check_matplotlib("`--pitch` draws the salience and")


def pitch_steps(engine: "Engine", weights: Path | None) -> "Callable[[PitchFiles], PitchStep]":
    """Load who tells the pitch; give what makes the pitch step of a track.

    Weights of Deep Salience come first, where they are given; then the model's own salience, which hears the mixture;
    then pYIN.

    Raises
    ------
    UsageError, WeightsError
        As `mss_cli.pitch.teachers.find_teacher`.
    """
    from mss_cli.pitch.separator_teacher import own_pitch
    from mss_cli.pitch.step import PitchStep
    from mss_cli.pitch.teachers import Teacher, find_teacher

    own = own_pitch(engine.separator, engine.device) if weights is None else None
    teacher: Teacher = find_teacher(weights) if own is None else own
    return lambda files: PitchStep(teacher, files, hears_mixture=own is not None)
