"""Where the stems of a track go: the `--filename` template, never outside the output folder."""

import os
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mss_cli.errors import UsageError

DEFAULT_TEMPLATE = "{track}/{stem}.{ext}"
FIELDS = ("track", "stem", "ext", "model", "dir", "stem_index")
# Bytes a file name may have on the usual file systems, less the temporary name's dot and suffix.
_LONGEST_NAME = 255 - 16


@dataclass(frozen=True, slots=True)
class Naming:
    """How outputs are named.

    Parameters
    ----------
    folder : Path
        The output folder; everything stays inside.
    template : str
        Relative path with the fields of `FIELDS` in braces.
    model : str
        Name of the model, for `{model}`.
    """

    folder: Path
    template: str
    model: str

    def targets(self, source: Path, stems: Sequence[str], extension: str) -> tuple[Path, ...]:
        """Give the final path of each stem of one input.

        Parameters
        ----------
        source : Path
            The input; `-` is called `stdin`.
        stems : sequence of str
            Names of the outputs, in order.
        extension : str
            Without the leading dot.

        Raises
        ------
        UsageError
            If two stems get the same name.
        """
        track = "stdin" if str(source) == "-" else _track_name(source)
        paths = []
        for index, stem in enumerate(stems, start=1):
            values = {
                "track": track,
                "stem": stem,
                "ext": extension,
                "model": self.model,
                "dir": source.parent.name,
                "stem_index": str(index),
            }
            paths.append(self.folder / _fill(self.template, values))
        if len({_folded(path) for path in paths}) < len(paths):
            raise UsageError(f"`--filename {self.template}` gives two stems one name", hint="put `{stem}` into it")
        return tuple(paths)


def check_template(template: str) -> str:
    """Refuse a template with unknown fields or one that leaves the output folder.

    Raises
    ------
    UsageError
        Naming the fields there are.
    """
    hint = f"use the fields {', '.join('{' + field + '}' for field in FIELDS)}"
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise UsageError(f"`--filename {template}`: {error}".lower(), hint=hint) from error
    for _, field, form, conversion in parsed:
        if field is not None and (field not in FIELDS or form or conversion):
            raise UsageError(f"`--filename {template}`: no field `{{{field}}}`", hint=hint)
    path = PurePosixPath(template.replace("\\", "/"))
    if not template or path.is_absolute() or ".." in path.parts or template.endswith(("/", "\\")):
        hint = "give a relative path of a file without `..`"
        raise UsageError(f"`--filename {template}` leaves the output folder or names no file", hint=hint)
    return template


def _track_name(source: Path) -> str:
    name = source.name
    lowered = name.lower()
    if lowered.endswith(".stem.mp4"):
        return name[: -len(".stem.mp4")] or name
    return source.stem or name


def _fill(template: str, values: Mapping[str, str]) -> Path:
    """Fill one path component after the other, so that no value can add a folder or leave one."""
    safe = {key: _safe(value) for key, value in values.items()}
    components = []
    for component in PurePosixPath(template.replace("\\", "/")).parts:
        excess = len(os.fsencode(component.format(**safe))) - _LONGEST_NAME
        longest = max(("track", "dir"), key=lambda key: len(safe[key]) if f"{{{key}}}" in component else 0)
        fitting = safe if excess <= 0 else {**safe, longest: _shorten(safe[longest], excess)}
        components.append(component.format(**fitting))
    return Path(*components)


def _safe(value: str) -> str:
    """Make a value one harmless piece of a name; most names stay as they are."""
    cleaned = "".join("_" if character in "/\\\0" else character for character in value)
    return "_" if cleaned in ("", ".", "..") else cleaned


def _shorten(name: str, excess: int) -> str:
    """Cut so many bytes off the end of a name, and never inside a UTF-8 character."""
    raw = os.fsencode(name)
    end = max(1, len(raw) - excess)
    while end > 1 and raw[end : end + 1] and (raw[end] & 0xC0) == 0x80:
        end -= 1
    return os.fsdecode(raw[:end])


def _folded(path: Path) -> str:
    import unicodedata

    return unicodedata.normalize("NFC", str(path)).casefold()
