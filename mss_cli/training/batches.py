"""Batches: which examples belong to a batch, the processes that make them, and the time the network waits for them."""

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.util import Finalize
from typing import ClassVar, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mss_cli.errors import ExitCode, MssError
from mss_cli.events import Listener, Warned, ignore
from mss_cli.training.examples import Example, Examples, Key, Skipped

# Batches that each worker makes ahead; they lie in shared memory, of which containers have little.
_AHEAD = 2
# Below every priority that multiprocessing uses itself.
_LAST = -1000


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples side by side.

    Attributes
    ----------
    stems : float32 Tensor of shape (batch, stem, channel, sample)
        In the order of the recipe's `data.stems`; their sum is the mixture.
    salience : float32 Tensor of shape (batch, 360, frame), or None
        What a pitch network learns.
    seeds : int64 Tensor of shape (batch,)
        Of each example's augmentation; always in the memory of the CPU.
    skipped : tuple of Skipped
        Songs found broken while these examples were made.
    """

    stems: Tensor
    salience: Tensor | None
    seeds: Tensor
    skipped: tuple[Skipped, ...] = ()

    def to(self, device: torch.device) -> "Batch":
        """Move the signals to a device, without waiting where the memory is pinned."""
        salience = None if self.salience is None else self.salience.to(device, non_blocking=True)
        return replace(self, stems=self.stems.to(device, non_blocking=True), salience=salience)

    def pin_memory(self) -> "Batch":
        """Move the signals to memory that a GPU reads by itself; called by the loader."""
        salience = None if self.salience is None else self.salience.pin_memory()
        return replace(self, stems=self.stems.pin_memory(), salience=salience)


Made = TypeVar("Made", Batch, tuple[Skipped, ...])
Item = TypeVar("Item")


def collate(examples: Sequence[Example]) -> Batch:
    """Put examples of one form side by side.

    Parameters
    ----------
    examples : sequence of Example
        At least one; all with equal shapes, all or none with a salience.
    """
    stems = torch.from_numpy(np.stack([example.stems for example in examples]))  # (batch, stem, channel, sample)
    saliences = [example.salience for example in examples if example.salience is not None]
    salience = torch.from_numpy(np.stack(saliences)) if saliences else None  # (batch, 360, frame)
    seeds = torch.tensor([example.seed for example in examples], dtype=torch.int64)
    return Batch(stems, salience, seeds, tuple(skip for example in examples for skip in example.skipped))


class StepSampler(Sampler[list[Key]]):
    """Names the examples of each batch of one process, from any batch on, without end.

    An update takes ``accumulate * world`` batches, whose places follow each other: batch ``a`` of the process `rank`
    has the places from ``(a * world + rank) * batch``. So an update sees the same examples on any number of devices.

    Parameters
    ----------
    batch : int, >= 1
        Examples per batch.
    start : callable
        Asked whenever an iteration begins: how many batches this process has done already.
    accumulate : int, >= 1
        Batches of each process per update.
    rank, world : int
        Number of this process, and of processes.
    """

    def __init__(
        self, batch: int, start: Callable[[], int], *, accumulate: int = 1, rank: int = 0, world: int = 1
    ) -> None:
        super().__init__()
        if batch < 1 or accumulate < 1 or not 0 <= rank < world:
            raise ValueError(f"batch {batch}, accumulate {accumulate}, rank {rank} of {world}")
        self._batch, self._start, self._accumulate = batch, start, accumulate
        self._rank, self._world = rank, world

    def __iter__(self) -> Iterator[list[Key]]:
        for number in itertools.count(self._start()):
            step, part = divmod(number, self._accumulate)
            first = (part * self._world + self._rank) * self._batch
            yield [Key(step, first + place) for place in range(self._batch)]


class SkippedSongs:
    """Warns of every broken song once and counts them.

    Parameters
    ----------
    listener : callable
        Takes the warnings.
    """

    def __init__(self, listener: Listener = ignore) -> None:
        self._listener = listener
        self._found: set[Skipped] = set()

    def __call__(self, skip: Skipped) -> None:
        """Take notice of a song that was left out."""
        if skip not in self._found:
            self._found.add(skip)
            self._listener(Warned(f"skipped: {skip.message}", skip.path))

    @property
    def count(self) -> int:
        """Songs so far."""
        return len(self._found)


class Batches:
    """The batches of a training, without end, and what making them cost.

    Every iteration begins at `start`.

    Attributes
    ----------
    waited_seconds : float
        Time that whoever iterates spent waiting, over all iterations; with no workers, making the batches itself.
    given : int
        Batches given so far.
    """

    def __init__(self, loader: "DataLoader[Example | _Failed]", skipped: Callable[[Skipped], None]) -> None:
        self._loader = loader
        self._skipped = skipped
        self.waited_seconds = 0.0
        self.given = 0

    def __iter__(self) -> Iterator[Batch]:
        begun = time.perf_counter()
        for made in _living(self._loader):
            batch = _sound(made)
            self.waited_seconds += time.perf_counter() - begun
            self.given += 1
            for skip in batch.skipped:
                self._skipped(skip)
            yield batch
            begun = time.perf_counter()


def loader(
    examples: Examples,
    *,
    batch: int,
    start: Callable[[], int],
    accumulate: int = 1,
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
    pin: bool = False,
    skipped: Callable[[Skipped], None] | None = None,
) -> Batches:
    """Load batches, in processes of their own if `workers` is above 0.

    Batches come in the order of `StepSampler` and are the same bits for any number of workers. Workers are spawned
    (a fork would copy the locks of torch's threads), leave signals to their parent, use one thread each, and stay
    until the loader is gone.

    Parameters
    ----------
    examples : Examples
        Sent to each worker, so it must be picklable.
    batch, start, accumulate, rank, world
        As `StepSampler` takes them.
    workers : int, >= 0
    pin : bool
        Give pinned memory; for CUDA.
    skipped : callable or None
        Takes broken songs, each perhaps more than once.
    """
    sampler = StepSampler(batch, start, accumulate=accumulate, rank=rank, world=world)
    loaded: DataLoader[Example | _Failed] = DataLoader(
        _Keyed(examples),
        batch_sampler=sampler,
        collate_fn=_collated,
        num_workers=workers,
        pin_memory=pin,
        persistent_workers=workers > 0,
        prefetch_factor=_AHEAD if workers else None,
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_begin_worker if workers else None,
    )
    return Batches(loaded, skipped or SkippedSongs())


class Fillable(Protocol):
    """Examples whose songs can be put into their cache ahead."""

    def songs(self, step: int = 0) -> list[tuple[int, int]]:
        """Name every song that is in use at an update, as (source, number)."""

    def fill(self, source: int, number: int) -> Skipped | None:
        """Put one song into the cache; give the reason if it is broken."""


def fill(
    examples: Fillable, *, step: int = 0, workers: int = 0, skipped: Callable[[Skipped], None] | None = None
) -> Iterator[tuple[int, int]]:
    """Decode or play all songs of a training before it begins, so that its first updates need not wait.

    Songs that are in the cache already cost next to nothing. Leaving the iteration early leaves the rest undone.

    Parameters
    ----------
    examples : Fillable
        Sent to each worker, so it must be picklable.
    step : int
        The update whose songs are wanted.
    workers : int, >= 0
        Processes; 0 does it in this one.
    skipped : callable or None
        Takes broken songs, each perhaps more than once.

    Yields
    ------
    (int, int)
        Songs done, and songs in all; in no certain order of songs.
    """
    songs = examples.songs(step)
    loaded: DataLoader[tuple[Skipped, ...] | _Failed] = DataLoader(
        _Songs(examples, songs),
        batch_size=None,
        num_workers=min(workers, len(songs)),
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_begin_worker if workers else None,
        in_order=False,
    )
    for done, made in enumerate(_living(loaded), start=1):
        for skip in _sound(made):
            if skipped is not None:
                skipped(skip)
        yield done, len(songs)


class LoaderDied(MssError):
    """A process that makes examples was killed, as the system does where memory is short."""

    code: ClassVar[ExitCode] = ExitCode.TEMPORARY


def _living(loaded: Iterable[Item]) -> Iterator[Item]:
    """Give what a loader gives; torch says that a worker is dead in words only."""
    try:
        with _signals_held():
            items = iter(loaded)
        yield from items
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        hint = "run the command again to go on; if memory is short, with fewer `data.workers`"
        raise LoaderDied("a process that makes examples was killed", hint=hint) from error


@contextmanager
def _signals_held() -> Iterator[None]:
    """Start processes with SIGINT and SIGHUP held back, which they inherit: they mean nothing to a half-born one."""
    if not hasattr(signal, "pthread_sigmask"):  # not a POSIX system
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(frozen=True, slots=True)
class _Failed:
    """An error of a worker on its way to the parent, which raises it: torch would make one text of all its parts."""

    kind: type[MssError]
    message: str
    path: str | None
    hint: str | None


def _failed(error: MssError) -> _Failed:
    return _Failed(type(error), error.message, error.path, error.hint)


def _sound(made: Made | _Failed) -> Made:
    """Give what a worker made, or raise what it met."""
    if isinstance(made, _Failed):
        raise made.kind(made.message, path=made.path, hint=made.hint)
    return made


def _collated(made: Sequence[Example | _Failed]) -> Batch | _Failed:
    examples: list[Example] = []
    for example in made:
        if isinstance(example, _Failed):
            return example
        examples.append(example)
    return collate(examples)


class _Songs(Dataset[tuple[Skipped, ...] | _Failed]):
    """Songs to be filled in, as torch's loader wants them."""

    def __init__(self, examples: Fillable, songs: Sequence[tuple[int, int]]) -> None:
        self._examples, self._songs = examples, songs

    def __len__(self) -> int:
        return len(self._songs)

    def __getitem__(self, place: int) -> tuple[Skipped, ...] | _Failed:
        try:
            skipped = self._examples.fill(*self._songs[place])
        except MssError as error:
            return _failed(error)
        return () if skipped is None else (skipped,)


class _Keyed(Dataset[Example | _Failed]):
    """Examples as torch's loader wants them."""

    def __init__(self, examples: Examples) -> None:
        self._examples = examples

    def __getitem__(self, key: Key) -> Example | _Failed:
        try:
            return self._examples[key]
        except MssError as error:
            return _failed(error)


def _begin_worker(number: int) -> None:
    """One thread; signals are the parent's business, which ends the workers."""
    torch.set_num_threads(1)
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    # A worker is ended while its queue still sends batches. Taking the interpreter down would then kill that thread
    # inside torch, which aborts with "terminate called"; nothing is left to be tidied up, so the process just ends.
    Finalize(None, os._exit, args=(0,), exitpriority=_LAST)
