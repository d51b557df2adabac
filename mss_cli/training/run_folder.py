"""The folder of a training: its recipe, what made it, its state, curves and weights."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mss_cli.errors import UsageError
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


def open_run(folder: Path, recipe: str, *, resume: str) -> tuple[RunFolder, Path | None]:
    """Decide whether a run begins or goes on, and from where.

    Parameters
    ----------
    folder : Path
        Of the run; made if it is missing.
    recipe : str
        The effective recipe.
    resume : str
        "auto": from the state in the folder if there is one; "never": anew, replacing what is there; else the path
        of a state.

    Returns
    -------
    tuple of RunFolder and Path or None
        The state to continue from.

    Raises
    ------
    UsageError
        If the state is missing, or the folder holds a run of another recipe.
    OutputError
        If the folder cannot be written.
    """
    run = RunFolder(folder)
    make_folder(folder)
    if resume == "never":
        for path in (run.state, run.curves, run.best, run.last):
            path.unlink(missing_ok=True)
        state = None
    elif resume == "auto":
        _refuse_other_recipe(run, recipe)
        state = run.state if run.state.exists() else None
    else:
        state = Path(resume)
        if not state.is_file():
            raise UsageError("no such state to resume from", path=resume, hint="give a `state.ckpt`, `auto` or `never`")
    write_text(run.recipe, recipe)
    return run, state


def _refuse_other_recipe(run: RunFolder, recipe: str) -> None:
    """A run may go on with more steps or other folders and workers, not with another network, loss or seed."""
    if not run.state.exists() or not run.recipe.exists():
        return
    ours, theirs = (_without_changeable(text) for text in (recipe, run.recipe.read_text(encoding="utf-8")))
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


def write_facts(path: Path, content: Mapping[str, Json]) -> None:
    """Write them as JSON."""
    write_text(path, json.dumps(content, indent=2) + "\n")


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
