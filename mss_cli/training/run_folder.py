"""The folder of a training: its recipe, what made it, its state, curves and weights."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mss_cli.errors import ExitCode, MssError, UsageError
from mss_cli.files import make_folder, output_error, temporary_name
from mss_cli.version import version

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
_PACKAGES = ("torch", "lightning", "numpy", "pydantic")
_GIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Names inside the folder of a run.

    Attributes
    ----------
    path : Path
    """

    path: Path

    @property
    def recipe(self) -> Path:
        """The effective recipe; itself a recipe."""
        return self.path / "recipe.yaml"

    @property
    def facts(self) -> Path:
        """Versions, seed, git state, command, as JSON."""
        return self.path / "run.json"

    @property
    def state(self) -> Path:
        """What the training continues from."""
        return self.path / "state.ckpt"

    @property
    def curves(self) -> Path:
        """Losses and scores over the steps."""
        return self.path / "curves.csv"

    @property
    def best(self) -> Path:
        """Weights with the highest validation score; for `separate` and `evaluate`."""
        return self.path / "best.safetensors"

    @property
    def last(self) -> Path:
        """Weights of the last state."""
        return self.path / "last.safetensors"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's files."""
        return self.path / "tensorboard"

    @property
    def cache(self) -> Path:
        """Decoded and played songs, unless the recipe names a place."""
        return self.path / "cache"


def find_state(folder: Path, recipe: str, *, resume: str) -> Path | None:
    """Decide whether a run begins or goes on, and from where; nothing is changed.

    Parameters
    ----------
    folder : Path
        Of the run; need not exist.
    recipe : str
        The effective recipe.
    resume : str
        "auto": from the state in the folder if there is one; "never": anew; else the path of a state.

    Returns
    -------
    Path or None
        The state to continue from.

    Raises
    ------
    UsageError
        If the state is missing, or the folder holds a run of another recipe.
    OutputError
        If there can be no such folder.
    """
    run = RunFolder(folder)
    try:
        run.state.exists()
    except OSError as error:  # a name too long for the file system
        raise output_error(folder, error) from error
    if resume == "never":
        return None
    if resume == "auto":
        _refuse_other_recipe(run, recipe)
        return run.state if run.state.exists() else None
    state = Path(resume)
    if not state.is_file():
        raise UsageError("no such state to resume from", path=resume, hint="give a `state.ckpt`, `auto` or `never`")
    if not (run.state.exists() and state.samefile(run.state)):
        _refuse_other_recipe(run, recipe)
    return state


def begin(folder: Path, recipe: str, *, seed: int, anew: bool) -> RunFolder:
    """Make a folder that of a run, and write what the run is; the first process alone does so.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    recipe : str
        The effective recipe.
    seed : int
    anew : bool
        Remove what an earlier run left there.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    run = RunFolder(folder)
    make_folder(folder)
    if is_first_process():
        if anew:
            for path in (run.state, run.curves, run.best, run.last, *run.tensorboard.glob("events.*")):
                _remove(path)
        if run.tensorboard.exists() and not run.tensorboard.is_dir():
            raise output_error(run.tensorboard, NotADirectoryError(errno.ENOTDIR, "not a directory"))
        write_text(run.recipe, recipe)
        write_text(run.facts, json.dumps(facts(sys.argv, seed=seed), indent=2) + "\n")
    return run


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(path, error) from error


class RunBusy(MssError):
    """Another process trains in the folder."""

    code: ClassVar[ExitCode] = ExitCode.TEMPORARY


def is_first_process() -> bool:
    """Tell whether this process writes the run: on several devices or nodes one does, the others only compute.

    Read from what torchrun, SLURM and Lightning tell the processes that they start.
    """
    names = ("RANK",) if "RANK" in os.environ else ("SLURM_PROCID", "NODE_RANK", "LOCAL_RANK")
    return all(os.environ.get(name, "0") == "0" for name in names)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder; the lock goes with the process, however it ends.

    What a killed process left half-written is removed. Where the system has no locks nobody is kept out.

    Raises
    ------
    RunBusy
        If another process holds it.
    OutputError
        If the folder cannot be made.
    """
    if not is_first_process():
        yield
        return
    make_folder(folder)
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise output_error(folder, error) from error
    try:
        if _locked(descriptor, folder):
            for path in folder.glob(".*.part"):
                path.unlink(missing_ok=True)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int, folder: Path) -> bool:
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        hint = "wait for it, or choose another `--output`"
        raise RunBusy("another process trains there", path=str(folder), hint=hint) from error
    except (ImportError, OSError):  # no such system, or a file system without locks
        return False
    return True


def _refuse_other_recipe(run: RunFolder, recipe: str) -> None:
    """A run may go on with more steps, another cache or number of workers, not with other data, network or loss."""
    import yaml

    if not run.state.exists() or not run.recipe.exists():
        return
    ours = _without_changeable(recipe)
    try:
        theirs = _without_changeable(run.recipe.read_text(encoding="utf-8"))
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        hint = "remove it to go on with the recipe given, or use `--resume never` to begin anew"
        raise UsageError("is no recipe any more", path=str(run.recipe), hint=hint) from error
    if ours != theirs:
        changed = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
        hint = "use another `--output`, or `--resume never` to begin anew"
        raise UsageError(
            f"holds a run of another recipe (changed: {', '.join(changed)})", path=str(run.path), hint=hint
        )


def _without_changeable(text: str) -> dict[str, str]:
    import yaml

    recipe = yaml.safe_load(text)
    if not isinstance(recipe, dict):
        return {}
    for key in ("workers", "cache"):
        recipe.get("data", {}).pop(key, None)
    if recipe.get("optimizer", {}).get("schedule") == "constant":
        recipe.get("training", {}).pop("steps", None)
    for key in ("checkpoint_minutes", "validate_steps"):
        recipe.get("training", {}).pop(key, None)
    return {section: json.dumps(content, sort_keys=True) for section, content in recipe.items()}


def facts(command: list[str], *, seed: int) -> dict[str, Json]:
    """Collect what made a run: command, versions, seed, and the git state of the working folder."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    versions: dict[str, Json] = {"mss-cli": version(), "python": sys.version.split()[0]}
    for name in _PACKAGES:
        try:
            versions[name] = version_of(name)
        except PackageNotFoundError:
            versions[name] = None
    return {
        "command": list[Json](command),
        "seed": seed,
        "versions": versions,
        "git": {"commit": _git("rev-parse", "HEAD"), "changed": bool(_git("status", "--porcelain"))},
    }


def write_text(path: Path, text: str) -> None:
    """Write a small file, whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    temporary = temporary_name(path)
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _git(*arguments: str) -> str | None:
    try:
        result = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=_GIT_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
