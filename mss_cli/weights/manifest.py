"""The models one can name without a path, and what is known of each; reads no weights and imports no torch."""

import difflib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mss_cli.errors import UsageError, WeightsError
from mss_cli.weights.published import Published, manifest, speed_class

SUFFIX = ".safetensors"
# Weights that are part of the package.
FOLDER = Path(__file__).parent / "files"


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of the package.

    Parameters
    ----------
    name : str
        What `--model` takes.
    architecture : str
        Name in `mss_models.catalog`.
    stems : tuple of str
        In the order they are estimated.
    sample_rate : int, Hz
        Rate it works at.
    licence : str
        Of the weights; of the code where there are none.
    description : str
        One line.
    cpu_seconds_per_second : float
        Of `separate` on one core, per second of audio, as measured (docs/results).
    file : str
        Name of the weights in `FOLDER`; "" for a method without weights.
    """

    name: str
    architecture: str
    stems: tuple[str, ...]
    sample_rate: int
    licence: str
    description: str
    cpu_seconds_per_second: float
    file: str = ""

    @property
    def weights(self) -> Path | None:
        """The file of the weights, part of the package; None for a method without weights."""
        return FOLDER / self.file if self.file else None

    @property
    def size_bytes(self) -> int:
        """Of the weights; 0 without any."""
        return 0 if self.weights is None else self.weights.stat().st_size

    @property
    def speed_class(self) -> str | None:
        """How fast it is, in one word."""
        return speed_class(self.cpu_seconds_per_second)


_KNOWN = (
    Entry(
        name="subband44",
        architecture="subband-unet",
        stems=("vocals", "drums", "bass", "other"),
        sample_rate=44100,
        licence="CC-BY-4.0 (attributions in its card)",
        description="our small network, trained on freely licensed audio only",
        cpu_seconds_per_second=0.05,
        file="subband44.safetensors",
    ),
    Entry(
        name="classical",
        architecture="classical",
        stems=("vocals", "drums", "bass", "other"),
        sample_rate=44100,
        licence="MIT (code only: no weights)",
        description="weight-free: stereo position, harmonic/percussive and repetition cues; modest quality",
        cpu_seconds_per_second=0.17,
    ),
)

# A source tree may come without weights.
ENTRIES = tuple(entry for entry in _KNOWN if entry.weights is None or entry.weights.is_file())
# The first one is the default.
DEFAULT = ENTRIES[0].name


def find(name: str) -> Entry | Published | Path:
    """Find what `--model` names: a model of the package, a published one, or a checkpoint.

    Parameters
    ----------
    name : str
        A name of `ENTRIES` or of a published model, or a path: of a file, ours or of others, or of a folder with a
        file `STEM.pth` for each stem.

    Raises
    ------
    UsageError
        If there is no such name; the line lists those there are, the nearest first.
    WeightsError
        If it is a path and no file is there, or a published model that cannot be loaded safely.
    """
    for entry in ENTRIES:
        if entry.name == name:
            return entry
    published = manifest().published(name)
    if published is not None and published.separates:
        return published
    path = Path(name)
    with suppress(OSError):  # as of a name that is too long
        if path.is_file() or (path.is_dir() and any(path.glob("*.pth"))):
            return path
    if name.endswith(SUFFIX) or "/" in name or "\\" in name:
        raise WeightsError("no checkpoint file there", path=name, hint="check the path, or see `mss-cli models`")
    if published is not None:
        raise UsageError(f"`{name}` tells pitch and separates nothing", hint="give it to `--pitch-weights`")
    names = [entry.name for entry in ENTRIES]
    others = [model.name for model in manifest().models.values() if model.separates]
    nearest = difflib.get_close_matches(name, [*names, *others], n=1, cutoff=0.5)
    guess = f"did you mean `{nearest[0]}`? " if nearest else ""
    listed = ", ".join(f"`{known}`" for known in names)
    listed += f", the {len(others)} published ones that `mss-cli models` lists"
    raise UsageError(f"no model is called `{name}`", hint=f"{guess}there are {listed}, or the path of a checkpoint")
