"""A track of a data set: a mixture and its true stems, named but not read."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mss_cli.audio.decode import decode
from mss_cli.audio.probe import probe
from mss_cli.datasets.rounding import is_lossy, to_sixteen_bits
from mss_cli.errors import DatasetError, InputError

Block = NDArray[np.float32]

VOCALS = "vocals"
ACCOMPANIMENT = "accompaniment"
MIXTURE = "mixture"
# Order of stems in every table and file.
ORDER = (VOCALS, "drums", "bass", "other")


@dataclass(frozen=True, slots=True)
class Part:
    """One signal of one file.

    Attributes
    ----------
    path : Path
    stem_stream : int or None
        Number of the stream in a MUSDB18 stem file, read as musdb reads it: rounded to 16 bits.
    channel : int or None
        Only this channel, as mono; all if None.
    gain : float
        Factor on every sample.
    sixteen_bits : bool
        Round to 16 bits if the file is lossy, as a true stem: see `mss_cli.datasets.rounding`.
    """

    path: Path
    stem_stream: int | None = None
    channel: int | None = None
    gain: float = 1.0
    sixteen_bits: bool = False

    def form(self) -> tuple[int, int]:
        """Give sample rate in Hz and channels.

        Raises
        ------
        InputError
            If the file is not audio, or lacks the channel.
        DatasetError
            If it is a stem file that lacks the stream.
        """
        if self.stem_stream is not None:
            from mss_cli.datasets.stem_streams import stream_form

            return stream_form(self.path, self.stem_stream)
        info = probe(self.path)
        if self.channel is None:
            return info.sample_rate, info.channels
        if self.channel >= info.channels:
            hint = "check that this is the data set you named"
            raise InputError(f"has {info.channels} channels, not {self.channel + 1}", path=str(self.path), hint=hint)
        return info.sample_rate, 1

    def blocks(self) -> Iterator[Block]:
        """Decode from the start, (channel, sample) float32.

        Raises
        ------
        InputError
            If it cannot be decoded.
        """
        if self.stem_stream is not None:
            from mss_cli.datasets.stem_streams import stream_blocks

            blocks = stream_blocks(self.path, self.stem_stream)
        else:
            info = probe(self.path)
            blocks = decode(info)
            if self.sixteen_bits and is_lossy(info):
                blocks = map(to_sixteen_bits, blocks)
        for block in blocks:
            chosen = block if self.channel is None else block[self.channel : self.channel + 1]
            yield chosen if self.gain == 1.0 else chosen * np.float32(self.gain)


@dataclass(frozen=True, slots=True)
class Signal:
    """A sum of parts, aligned at their starts; usually one."""

    parts: tuple[Part, ...]

    def form(self) -> tuple[int, int]:
        """Give sample rate in Hz and channels.

        Raises
        ------
        InputError
            If a part cannot be read, or the parts differ in rate or channels.
        """
        forms = [part.form() for part in self.parts]
        for part, form in zip(self.parts, forms, strict=True):
            if form != forms[0]:
                raise InputError(
                    f"{form[1]} channels at {form[0]} Hz, but {self.parts[0].path.name} has {forms[0][1]} at "
                    f"{forms[0][0]} Hz",
                    path=str(part.path),
                    hint="give all files of a track one form",
                )
        return forms[0]

    def seconds(self) -> float | None:
        """Give the length in seconds where the file of the one part tells it."""
        part = self.parts[0]
        return None if len(self.parts) > 1 or part.stem_stream is not None else probe(part.path).seconds

    def blocks(self) -> Iterator[Block]:
        """Decode and add, (channel, sample) float32, as long as the longest part."""
        if len(self.parts) == 1:
            yield from self.parts[0].blocks()
            return
        for together in aligned([part.blocks() for part in self.parts], until="longest"):
            yield together.sum(axis=0, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a track cannot be used; a value, so that it can be sent to another process.

    Attributes
    ----------
    message : str
        One line.
    path : Path
        The file or folder that is wrong.
    hint : str or None
        What to do about it.
    """

    message: str
    path: Path
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Track:
    """One piece of music of a data set.

    A track that is broken stands in the list like any other, with its fault: it must not hide the rest.

    Attributes
    ----------
    name, subset : str
        Together unique in the data set.
    path : Path
        What a message about the track names.
    mixture : Signal
    references : tuple of (str, Signal)
        True stems by name, in the order `ORDER`, then others by name. `accompaniment` only where the data set has it
        as a signal of its own.
    required : tuple of str
        Stems that every track of the data set has.
    fault : Fault or None
        What was found wrong when the data set was listed; mixture and references are empty then.
    pitch : Path or None
        Labels of the pitch of the vocals: lines of `time,frequency`, or `.pv` as iKala has them.
    """

    name: str
    subset: str
    path: Path
    mixture: Signal
    references: tuple[tuple[str, Signal], ...]
    required: tuple[str, ...] = ()
    fault: Fault | None = None
    pitch: Path | None = None

    @classmethod
    def broken(cls, name: str, subset: str, path: Path, fault: Fault) -> Self:
        """Make a track that only says what is wrong with it."""
        return cls(name, subset, path, Signal(()), (), fault=fault)

    def check(self) -> None:
        """Refuse a track that is broken or incomplete; no file is opened.

        Raises
        ------
        DatasetError
            If it has a fault, no reference at all, or lacks one that every track of the data set has.
        """
        if self.fault is not None:
            raise DatasetError(self.fault.message, path=str(self.fault.path), hint=self.fault.hint)
        missing = [stem for stem in self.required if stem not in self.stems]
        if missing:
            names = ", ".join(f"`{stem}`" for stem in missing)
            hint = f"complete the data set: its tracks have {', '.join(self.required)}"
            raise DatasetError(f"no reference {names}", path=str(self.path), hint=hint)
        if not self.references:
            raise DatasetError("no reference", path=str(self.path), hint="the track needs files of its true stems")

    def check_mixture(self) -> None:
        """Refuse a mixture of another form than its references: stems made of it could not stand beside them.

        Raises
        ------
        InputError
            If it has another rate or other channels, or a file cannot be read.
        """
        own, (name, reference) = self.mixture.form(), self.references[0]
        form = reference.form()
        if own != form:
            problem = f"{own[1]} channels at {own[0]} Hz, but reference `{name}` has {form[1]} at {form[0]} Hz"
            hint = "give all files of a track one form"
            raise InputError(problem, path=str(self.mixture.parts[0].path), hint=hint)

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the references."""
        return tuple(name for name, _ in self.references)

    def files(self) -> tuple[Path, ...]:
        """Every file that is read for the track, once each."""
        signals = (self.mixture, *(signal for _, signal in self.references))
        return tuple(dict.fromkeys(part.path for signal in signals for part in signal.parts))

    def fingerprint(self) -> str:
        """Give a hash that changes with any file of the track: by name, size and time of change."""
        return files_fingerprint(self.files())


def files_fingerprint(paths: Sequence[Path]) -> str:
    """Hash names, sizes and times of change; a file that is missing counts as such."""
    rows: list[list[str | int]] = []
    for path in sorted(paths):
        try:
            status = path.stat()
            rows.append([str(path), status.st_size, status.st_mtime_ns])
        except OSError:
            rows.append([str(path)])
    return hashlib.sha256(json.dumps(rows).encode("utf-8", "surrogateescape")).hexdigest()


def in_order(stems: Sequence[str]) -> tuple[str, ...]:
    """Sort stem names: vocals, drums, bass, other, then the rest by name, accompaniment last."""
    known = {name: place for place, name in enumerate(ORDER)} | {ACCOMPANIMENT: len(ORDER) + 1}
    return tuple(sorted(stems, key=lambda name: (known.get(name, len(ORDER)), name)))


def aligned(sources: Sequence[Iterator[Block]], *, until: str = "shortest") -> Iterator[Block]:
    """Read several signals side by side.

    Parameters
    ----------
    sources : sequence of iterators of float32 arrays of shape (channel, sample)
        With equal channels, cut into blocks in any way.
    until : {"shortest", "longest"}
        Where to end; "longest" fills with zeros.

    Yields
    ------
    float32 array of shape (source, channel, sample)
        Memory is bounded by the longest block of any source.
    """
    waiting: list[Block | None] = [next(source, None) for source in sources]
    while True:
        present = [block for block in waiting if block is not None]
        if not present or (until == "shortest" and len(present) < len(waiting)):
            return
        samples = min(block.shape[1] for block in present)
        together = np.zeros((len(waiting), present[0].shape[0], samples), np.float32)
        for place, block in enumerate(waiting):
            if block is None:
                continue
            together[place] = block[:, :samples]
            waiting[place] = block[:, samples:] if block.shape[1] > samples else next(sources[place], None)
        yield together
