"""Begins a track: each separator gets the way it needs, all with one face, `push` and `finish`.

Most separators hear segments, which `mss_models.streaming` cuts and joins. Some hear a whole track before they decide
on its first sample (`TrackSeparator`). An ensemble is the weighted mean of what each of its members makes of the track,
with its own segments, its own normalisation and its own way. All read the track as blocks, as often as they must
before the last reading, in memory that does not grow with it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from mss_models.separator import Normalization, Separator
from mss_models.streaming import PerChannel, Scale, Stream, StreamSettings, measure_scale

Blocks = Callable[[], Iterable[Tensor]]
"""Gives the blocks of a track, (channel, sample) each, from its start; called as often as it must be read."""


class FrameStore(Protocol):
    """Keeps rows of numbers, one for each frame."""

    def write(self, first: int, rows: Tensor) -> None:
        """Put rows away, from frame ``first`` on.

        Parameters
        ----------
        first : int
            Any: a pass that goes backward writes the last frames first.
        rows : Tensor of shape (frame, number)
            On the CPU, contiguous, of the store's width and precision. They replace older ones.
        """

    def read(self, first: int, count: int) -> Tensor:
        """Give ``count`` rows from frame ``first`` on, (frame, number), all of which were written.

        The caller may change them.
        """


NewStore = Callable[[int, torch.dtype], FrameStore]
"""Makes an empty store for rows of so many numbers of this precision."""


class MemoryStore:
    """A store in memory, for short tracks.

    Parameters
    ----------
    width : int
        Numbers of a row.
    dtype : torch.dtype
        Their precision.
    """

    def __init__(self, width: int, dtype: torch.dtype) -> None:
        self._rows = torch.empty(0, width, dtype=dtype)

    def write(self, first: int, rows: Tensor) -> None:
        """See `FrameStore`."""
        end = first + rows.shape[0]
        if end > self._rows.shape[0]:
            grown = self._rows.new_zeros(end, self._rows.shape[1])
            grown[: self._rows.shape[0]] = self._rows
            self._rows = grown
        self._rows[first:end] = rows

    def read(self, first: int, count: int) -> Tensor:
        """See `FrameStore`."""
        return self._rows[first : first + count].clone()


class TrackInput:
    """A track that is to be separated, and what there is to do it with.

    Parameters
    ----------
    blocks : callable that gives an iterable of float32 Tensor of shape (channel, sample)
        The mixture, on the CPU, the same whenever it is called.
    device : torch.device
        Of `Separator.prepare`.
    new_store : callable
        Makes stores for separators that hear the whole track.
    on_smaller_batch : callable, optional
        Called with the new batch size when the device ran out of memory.
    on_progress : callable, optional
        Called with the share of the work that is done, in (0, 1], by separators that hear the whole track.
    """

    def __init__(
        self,
        blocks: Blocks,
        *,
        device: torch.device,
        new_store: NewStore = MemoryStore,
        on_smaller_batch: Callable[[int], None] | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        self.blocks = blocks
        self.device = device
        self.new_store = new_store
        self.on_smaller_batch = on_smaller_batch
        self.on_progress = on_progress
        self._scales: dict[Normalization, Scale] = {"none": Scale()}

    def scale(self, normalization: Normalization) -> Scale:
        """Measure the track for a separator's normalisation; reads it once for each kind."""
        if normalization not in self._scales:
            self._scales[normalization] = measure_scale(normalization, self.blocks())
        return self._scales[normalization]

    def channel(self, number: int) -> "TrackInput":
        """Give one channel as a track of its own."""
        return TrackInput(
            lambda: (block[number : number + 1] for block in self.blocks()),
            device=self.device,
            new_store=self.new_store,
            on_smaller_batch=self.on_smaller_batch,
            on_progress=self.on_progress,
        )


class TrackStream(Protocol):
    """A track on its last way through a separator."""

    def push(self, block: Tensor) -> Tensor:
        """Take the next block, (channel, sample), and give the estimates that are ready, (stem, channel, sample)."""

    def finish(self) -> Tensor:
        """End the track and give the rest of the estimates, (stem, channel, sample)."""


@runtime_checkable
class TrackSeparator(Separator, Protocol):
    """A separator that hears a whole track before it decides on the first sample."""

    def begin_track(self, track: TrackInput) -> TrackStream:
        """Read the track as often as needed before the reading whose blocks are pushed."""

    def store_bytes_per_second(self) -> float:
        """Tell how much its stores take for one second of a track, in the precision it was prepared for."""


@runtime_checkable
class Ensemble(Separator, Protocol):
    """Several separators whose estimates are averaged, with weights for each stem.

    Attributes
    ----------
    separators : tuple of Separator
        Of one sample rate and number of channels.
    weights : tuple of mappings of str to float
        For each of them its weight for each of its stems.
    """

    @property
    def separators(self) -> Sequence[Separator]:
        """The members."""

    @property
    def weights(self) -> Sequence[Mapping[str, float]]:
        """For each member its weight for each stem."""


@dataclass(frozen=True, slots=True)
class TrackSettings:
    """How a track is cut and averaged, whoever separates it.

    Parameters
    ----------
    segment_seconds : float or None, > 0
        Audio given to a separator at once. None leaves it to each separator; some then hear the whole track.
    overlap, batch_size, shifts, seed
        See `StreamSettings`; they are for segments.
    """

    segment_seconds: float | None = None
    overlap: float = 0.25
    batch_size: int = 1
    shifts: int = 0
    seed: int = 0

    def segments_of(self, separator: Separator) -> StreamSettings:
        """Give the settings in samples of a separator."""
        own = separator.segment_samples
        seconds = self.segment_seconds
        samples = own if seconds is None else max(1, round(seconds * separator.sample_rate))
        return StreamSettings(samples, self.overlap, self.batch_size, self.shifts, self.seed)


def begin_track(separator: Separator, track: TrackInput, settings: TrackSettings) -> TrackStream:
    """Do what must be done before the last reading of a track.

    Parameters
    ----------
    separator : Separator
        Prepared for the track's device.
    track : TrackInput
        Its blocks have the separator's rate and channels.
    settings : TrackSettings
        Segments, overlap, shifts.

    Returns
    -------
    TrackStream
        Takes the blocks of the last reading.

    Raises
    ------
    torch.OutOfMemoryError
        If memory does not suffice.
    """
    if isinstance(separator, PerChannel) and (_is_whole(separator.mono) or isinstance(separator.mono, Ensemble)):
        channels = [track.channel(number) for number in range(separator.channels)]
        return _SideBySide([begin_track(separator.mono, channel, settings) for channel in channels])
    if isinstance(separator, Ensemble):
        return _Mean(separator, track, settings)
    if isinstance(separator, TrackSeparator) and settings.segment_seconds is None:
        return separator.begin_track(track)
    return Stream(
        separator,
        settings.segments_of(separator),
        device=track.device,
        scale=track.scale(separator.normalization),
        on_smaller_batch=track.on_smaller_batch,
    )


def segment_seconds(separator: Separator, settings: TrackSettings) -> float | None:
    """Give the segment length in force, the longest of an ensemble; None where the whole track is heard."""
    if settings.segment_seconds is not None:
        return settings.segment_seconds
    return None if _is_whole(separator) else separator.segment_samples / separator.sample_rate


def store_bytes_per_second(separator: Separator) -> float:
    """Tell how much the stores of a separator, or of all members of an ensemble, take for one second of a track."""
    if isinstance(separator, PerChannel):
        return separator.channels * store_bytes_per_second(separator.mono)
    if isinstance(separator, Ensemble):
        return math.fsum(store_bytes_per_second(member) for member in separator.separators)
    return separator.store_bytes_per_second() if isinstance(separator, TrackSeparator) else 0.0


def _is_whole(separator: Separator) -> bool:
    """Tell whether a separator, or one of an ensemble, hears whole tracks where it may."""
    if isinstance(separator, PerChannel):
        return _is_whole(separator.mono)
    if isinstance(separator, Ensemble):
        return any(_is_whole(member) for member in separator.separators)
    return isinstance(separator, TrackSeparator)


class _SideBySide:
    """A mono separator's tracks, one for each channel."""

    def __init__(self, channels: Sequence[TrackStream]) -> None:
        self._channels = channels

    def push(self, block: Tensor) -> Tensor:
        """See `TrackStream`."""
        pieces = zip(self._channels, block.unbind(), strict=True)
        return torch.cat([channel.push(piece[None]) for channel, piece in pieces], dim=1)

    def finish(self) -> Tensor:
        """See `TrackStream`."""
        return torch.cat([channel.finish() for channel in self._channels], dim=1)


class _Mean:
    """The members of an ensemble on their ways, and what the faster ones have given already."""

    def __init__(self, ensemble: Ensemble, track: TrackInput, settings: TrackSettings) -> None:
        totals = {stem: math.fsum(own.get(stem, 0) for own in ensemble.weights) for stem in ensemble.stems}
        asked = [pair for pair in zip(ensemble.separators, ensemble.weights, strict=True) if any(pair[1].values())]
        self._members = [begin_track(member, track, settings) for member, _ in asked]
        # (place in the ensemble's stems, place in the member's, share)
        self._shares = [
            [
                (ensemble.stems.index(stem), place, own[stem] / totals[stem])
                for place, stem in enumerate(member.stems)
                if own.get(stem)
            ]
            for member, own in asked
        ]
        self._waiting = [torch.zeros(len(member.stems), ensemble.channels, 0) for member, _ in asked]
        self._stems = len(ensemble.stems)

    def push(self, block: Tensor) -> Tensor:
        """See `TrackStream`."""
        return self._mean(member.push(block) for member in self._members)

    def finish(self) -> Tensor:
        """See `TrackStream`."""
        return self._mean(member.finish() for member in self._members)

    def _mean(self, given: Iterator[Tensor]) -> Tensor:
        self._waiting = [torch.cat(pair, dim=-1) for pair in zip(self._waiting, given, strict=True)]
        ready = min(waiting.shape[-1] for waiting in self._waiting)
        mean = torch.zeros(self._stems, self._waiting[0].shape[1], ready)
        for waiting, shares in zip(self._waiting, self._shares, strict=True):
            for place, own, share in shares:
                mean[place].add_(waiting[own, :, :ready], alpha=share)
        self._waiting = [waiting[..., ready:].clone() for waiting in self._waiting]
        return mean
