"""Estimates that a run keeps, and the proof of which system made them."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from mss_cli.audio.encode import encode
from mss_cli.audio.extensions import AUDIO_EXTENSIONS
from mss_cli.audio.formats import OutputFormat
from mss_cli.datasets.track import MIXTURE
from mss_cli.errors import OutputError
from mss_cli.evaluation.results import SystemInfo, write_text
from mss_cli.events import Json
from mss_cli.files import make_folder, output_error, publish, temporary_name

Block = NDArray[np.float32]

# Lies beside the stems of a track.
_MARK: Final = ".estimates.json"
# Size in bytes and time of change in nanoseconds; None while the file is being written.
_State = tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class _Mark:
    """What a run saved in a folder: by which system, which files; no fingerprint before all are there."""

    fingerprint: str | None
    system: Mapping[str, Json]
    files: Mapping[str, _State]

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read it; None if there is none, or it is damaged."""
        try:
            content = json.loads((folder / _MARK).read_text(encoding="utf-8", errors="surrogateescape"))
            files = {Path(name).name: _state_of(state) for name, state in content["files"].items()}
            return cls(content["fingerprint"], dict(content["system"]), files)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, folder: Path) -> None:
        """Write it."""
        files: dict[str, Json] = {name: None if state is None else list(state) for name, state in self.files.items()}
        content: Json = {"fingerprint": self.fingerprint, "system": dict(self.system), "files": files}
        write_text(folder / _MARK, json.dumps(content, sort_keys=True) + "\n")

    def still_has(self, path: Path) -> bool:
        """Tell whether a file is the one that was saved."""
        return path.name in self.files and self.files[path.name] in (None, _state(path))


@dataclass(frozen=True, slots=True)
class SavedEstimates:
    """The kept estimates of one track.

    Attributes
    ----------
    folder : Path
        Receives `<stem>.wav` in 32-bit float.
    fingerprint : str
        Of system, settings and track: estimates with another one are not these.
    system : SystemInfo
    """

    folder: Path
    fingerprint: str
    system: SystemInfo

    def are_there(self) -> bool:
        """Tell whether the folder holds exactly these estimates, untouched."""
        mark = _Mark.read(self.folder)
        if mark is None or mark.fingerprint != self.fingerprint:
            return False
        names = {path.name for path in _stems(self.folder)}
        return names == set(mark.files) and all(mark.still_has(self.folder / name) for name in mark.files)

    def clear(self) -> None:
        """Remove what an earlier run saved, and nothing else.

        Raises
        ------
        OutputError
            If a file cannot be removed.
        """
        mark = _Mark.read(self.folder)
        if mark is None:
            return
        for path in (*(path for path in _stems(self.folder) if mark.still_has(path)), self.folder / _MARK):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise output_error(path, error) from error

    def write(self, signals: Mapping[str, Callable[[], Iterator[Block]]], *, sample_rate: int, channels: int) -> None:
        """Write every estimate; all appear at once.

        Parameters
        ----------
        signals : mapping of str to callable
            As in `Estimates`.
        sample_rate : int, Hz
        channels : int

        Raises
        ------
        OutputError
            If one cannot be written, or the folder holds stems that no run has saved: they would be taken for
            this system's.
        """
        make_folder(self.folder)
        targets = {stem: self.folder / f"{stem}.wav" for stem in sorted(signals)}
        others = [path.name for path in _stems(self.folder) if path not in targets.values()]
        if others:
            names = ", ".join(f"`{name}`" for name in others)
            hint = "choose an empty folder for `--save-estimates`"
            raise OutputError(f"holds {names}, which would pass for an estimate", path=str(self.folder), hint=hint)
        named = (("kind", self.system.kind), ("name", self.system.name), ("settings", dict(self.system.settings)))
        system: dict[str, Json] = dict(named)
        # Before the stems, so that a killed run leaves nothing whose origin is not known.
        _Mark(None, system, {path.name: None for path in targets.values()}).write(self.folder)
        finished: dict[Path, Path] = {}
        try:
            for stem, target in targets.items():
                temporary = temporary_name(target)
                finished[temporary] = target
                samples = sum(block.shape[1] for block in signals[stem]())
                form = OutputFormat("wav", "float32")
                encode(
                    signals[stem](), temporary, format=form, sample_rate=sample_rate, channels=channels, samples=samples
                )
            publish(finished)
        finally:
            for temporary in finished:
                temporary.unlink(missing_ok=True)
        _Mark(self.fingerprint, system, {path.name: _state(path) for path in targets.values()}).write(self.folder)


def saved_by(folder: Path) -> SystemInfo | None:
    """Say whose estimates a track's folder holds; None if no run saved them, or they were changed since."""
    mark = _Mark.read(folder)
    if mark is None or mark.fingerprint is None:
        return None
    stems = _stems(folder)
    if {path.name for path in stems} != set(mark.files) or not all(map(mark.still_has, stems)):
        return None
    settings = mark.system.get("settings")
    if not isinstance(settings, dict):
        return None
    return SystemInfo(str(mark.system.get("kind")), str(mark.system.get("name")), settings)


def _stems(folder: Path) -> list[Path]:
    """Give the files that are read as estimates."""
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if path.suffix.lower() in AUDIO_EXTENSIONS and path.stem != MIXTURE)
    return sorted(path for path in found if not path.name.startswith("."))


def _state(path: Path) -> _State:
    try:
        status = path.stat()
    except OSError:
        return (-1, -1)  # equals no file that was saved
    return status.st_size, status.st_mtime_ns


def _state_of(value: Json) -> _State:
    if value is None:
        return None
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], int) and isinstance(value[1], int):
        return value[0], value[1]
    raise ValueError("a size and a time are needed")
