"""References and estimates of a track, side by side: same stems, same form, same length."""

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mss_cli.datasets.track import ACCOMPANIMENT, MIXTURE, VOCALS, Signal, Track, aligned, in_order
from mss_cli.errors import DatasetError, InputError
from mss_cli.evaluation.scoring import Pairs
from mss_cli.evaluation.systems import Estimates
from mss_cli.events import Listener, Warned

Block = NDArray[np.float32]
Wide = NDArray[np.float64]
Opener = Callable[[], Iterator[Block]]

# Differences of length that are said: codecs and rounding of times make smaller ones.
_SLACK_SAMPLES = 4
# A signal that lacks more than both of these is cut off, not rounded: its scores would be those of another piece.
_LACK_SECONDS = 1.0
_LACK_SHARE = 0.05

# How each row is made of the signals that are read: (place of the signal, factor) pairs to be added.
_Recipe = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class _Side:
    """One side of the comparison: signals that are read, by name, and the rows that are made of them."""

    names: tuple[str, ...]
    openers: tuple[Opener, ...]
    rows: tuple[_Recipe, ...]

    def combine(self, block: Block) -> Wide:
        """Make rows (stem, channel, sample) of signals (signal, channel, sample)."""
        rows = np.empty((len(self.rows), *block.shape[1:]), np.float64)
        for row, recipe in zip(rows, self.rows, strict=True):
            first, *others = recipe
            np.multiply(block[first[0]], first[1], out=row)
            for place, factor in others:
                row += factor * block[place].astype(np.float64)
        return rows


def pair(track: Track, estimates: Estimates, listener: Listener) -> Pairs:
    """Put true and estimated stems side by side.

    Stems without a reference, or without an estimate, are left out. `accompaniment` is added where both sides have
    it or can make it: as reference the sum of the true stems but vocals (as in museval); as estimate the file of that
    name, else the sum of the estimates but vocals, else the mixture minus the vocals. Estimates are cut or filled with
    zeros at their end to the length of the references. While the blocks are read for the first time, differences of
    length are told, and a signal that is cut off is refused: a reference or the mixture that lacks more than 1 s and
    more than 5 % of the other, or an estimate that lacks as much of the references.

    Raises
    ------
    DatasetError
        If no stem is on both sides, or a stem file lacks a stem; from the blocks, if a reference or the mixture is
        cut off.
    InputError
        If the references differ in rate or channels, or from a mixture that is needed, or a file cannot be read; from
        the blocks, if an estimate is cut off.
    """
    references = dict(track.references)
    forms = {stem: _form(stem, signal) for stem, signal in references.items()}
    if not forms:
        raise DatasetError("no reference", path=str(track.path), hint="the track needs files of its true stems")
    rate, channels = next(iter(forms.values()))
    for stem, form in forms.items():
        if form != (rate, channels):
            problem = f"reference `{stem}` has {form[1]} channels at {form[0]} Hz, others {channels} at {rate} Hz"
            raise InputError(problem, path=str(track.path), hint="give all stems of a track one form")
    truth = {stem: signal.blocks for stem, signal in references.items()}
    true_rows = _recipes(tuple(truth), mixture=None)
    made = dict(estimates.signals)
    made_rows = _recipes(tuple(made), mixture=len(made))
    stems = in_order([stem for stem in true_rows if stem in made_rows])
    if not stems:
        there, here = ", ".join(sorted(made)) or "none", ", ".join(references)
        raise DatasetError(
            f"no estimate belongs to a reference: estimates are {there}, references {here}",
            path=str(track.path),
            hint="name files after the stems",
        )
    left = _side(truth, [true_rows[stem] for stem in stems])
    right = _side({**made, MIXTURE: track.mixture.blocks}, [made_rows[stem] for stem in stems])
    if MIXTURE in right.names:
        track.check_mixture()
    told: list[bool] = []

    def blocks() -> Iterator[tuple[Wide, Wide]]:
        lengths = yield from _side_by_side(left, right)
        if not told:
            told.append(True)
            true = dict(zip(left.names, lengths, strict=False))
            here = dict(zip(right.names, lengths[len(true) :], strict=True))
            _refuse_cut_off(track, estimates, references=true, estimated=here, sample_rate=rate)
            _tell_lengths(true, here, track, rate, listener)

    mixture = track.mixture.blocks if track.mixture.form() == (rate, channels) else None
    return Pairs(stems=stems, sample_rate=rate, channels=channels, blocks=blocks, mixture=mixture)


def _form(stem: str, signal: Signal) -> tuple[int, int]:
    try:
        return signal.form()
    except DatasetError as error:
        raise DatasetError(f"no reference `{stem}`: {error.message}", path=error.path, hint=error.hint) from error


def _recipes(stems: Sequence[str], *, mixture: int | None) -> dict[str, _Recipe]:
    """Say how each stem is made of the signals in the order of `stems`; `mixture` is the place of the mixture."""
    recipes: dict[str, _Recipe] = {stem: ((place, 1.0),) for place, stem in enumerate(stems)}
    if ACCOMPANIMENT in recipes or VOCALS not in recipes:
        return recipes
    others = tuple((place, 1.0) for place, stem in enumerate(stems) if stem != VOCALS)
    if others:
        recipes[ACCOMPANIMENT] = others
    elif mixture is not None:
        recipes[ACCOMPANIMENT] = ((mixture, 1.0), (stems.index(VOCALS), -1.0))
    return recipes


def _side(signals: Mapping[str, Opener], rows: Sequence[_Recipe]) -> _Side:
    """Keep only the signals that a row needs."""
    needed = sorted({place for row in rows for place, _ in row})
    new_place = {place: index for index, place in enumerate(needed)}
    renumbered = tuple(tuple((new_place[place], factor) for place, factor in row) for row in rows)
    names = tuple(signals)
    return _Side(tuple(names[place] for place in needed), tuple(signals[names[place]] for place in needed), renumbered)


def _side_by_side(left: _Side, right: _Side) -> Generator[tuple[Wide, Wide], None, list[int]]:
    """Read both sides to the end of the shortest reference; give the length of every signal at last."""
    counted = [_Counted(opener()) for opener in (*left.openers, *right.openers)]
    split = len(left.openers)
    estimates = _Padded(aligned(counted[split:], until="longest"), len(right.openers))
    for block in aligned(counted[:split]):
        yield left.combine(block), right.combine(estimates.take(block.shape[1:]))
    for source in counted:
        source.drain()
    return [source.samples for source in counted]


class _Counted:
    """Passes blocks on and counts their samples."""

    def __init__(self, blocks: Iterator[Block]) -> None:
        self._blocks = blocks
        self.samples = 0

    def __iter__(self) -> "_Counted":
        return self

    def __next__(self) -> Block:
        block = next(self._blocks)
        self.samples += block.shape[1]
        return block

    def drain(self) -> None:
        """Read what nobody asked for, to know the length."""
        for _ in self:
            pass


class _Padded:
    """Gives as many samples as asked for, zeros after the end."""

    def __init__(self, blocks: Iterator[Block], signals: int) -> None:
        self._blocks = blocks
        self._signals = signals
        self._kept: Block | None = None

    def take(self, shape: tuple[int, int]) -> Block:
        """Give (signal, *shape)."""
        taken = np.zeros((self._signals, *shape), np.float32)
        done = 0
        while done < shape[1]:
            if self._kept is None:
                self._kept = next(self._blocks, None)
                if self._kept is None:
                    break
            step = min(shape[1] - done, self._kept.shape[2])
            taken[:, :, done : done + step] = self._kept[:, :, :step]
            self._kept = self._kept[:, :, step:] if step < self._kept.shape[2] else None
            done += step
        return taken


def _refuse_cut_off(
    track: Track,
    estimates: Estimates,
    *,
    references: Mapping[str, int],
    estimated: Mapping[str, int],
    sample_rate: int,
) -> None:
    """Refuse signals that end long before they should.

    Parameters
    ----------
    track : Track
    estimates : Estimates
        Tells their files.
    references, estimated : mapping of str to int
        Counted samples of each signal that was read.
    sample_rate : int, Hz

    Raises
    ------
    DatasetError
        If a reference ends before the mixture, or the mixture before every reference.
    InputError
        If an estimate ends before the shortest reference.
    """
    true = {stem: samples / sample_rate for stem, samples in references.items()}
    made = {stem: samples / sample_rate for stem, samples in estimated.items()}
    whole, shortest = _mixture_seconds(track, true.values()), min(true.values())
    for stem, seconds in true.items():
        if _lacks(seconds, whole):
            parts = dict(track.references)[stem].parts
            path = parts[0].path if len(parts) == 1 else track.path
            problem = f"reference `{stem}` is {seconds:.1f} s long, the mixture {whole:.1f} s"
            hint = "restore the file, or fill it with silence if the stem ends there"
            raise DatasetError(problem, path=str(path), hint=hint)
    if _lacks(whole, shortest):
        problem = f"the mixture is {whole:.1f} s long, its references {shortest:.1f} s"
        raise DatasetError(problem, path=str(track.mixture.parts[0].path), hint="restore the file")
    for stem, seconds in made.items():
        if _lacks(seconds, shortest):
            problem = f"estimate `{stem}` is {seconds:.1f} s long, the references {shortest:.1f} s"
            hint = "separate the whole track again, or fill the estimate with silence"
            raise InputError(problem, path=str(estimates.files.get(stem, track.path)), hint=hint)


def _mixture_seconds(track: Track, references: Collection[float]) -> float:
    """Give the length of the mixture as its header has it; counted where that decides, unknown: of the longest stem."""
    told = track.mixture.seconds()
    if told is None:
        return max(references)
    if any(_lacks(seconds, told) for seconds in references) or _lacks(told, min(references)):
        samples = sum(int(block.shape[1]) for block in track.mixture.blocks())
        return samples / track.mixture.form()[0]
    return told


def _lacks(seconds: float, whole: float) -> bool:
    return whole - seconds > max(_LACK_SECONDS, _LACK_SHARE * whole)


def _tell_lengths(
    references: Mapping[str, int], estimated: Mapping[str, int], track: Track, rate: int, listener: Listener
) -> None:
    true = list(references.values())
    if max(true) - min(true) > _SLACK_SAMPLES:
        text = f"references differ in length by {max(true) - min(true)} samples: cut to the shortest"
        listener(Warned(text, track.path))
    worst = max(estimated.values(), key=lambda length: abs(length - min(true)))
    off = worst - min(true)
    if abs(off) > _SLACK_SAMPLES:
        what = f"{off} samples longer than the references: cut" if off > 0 else f"{-off} samples short: zeros added"
        listener(Warned(f"estimates are {what} at the end ({abs(off) / rate:.3f} s)", track.path))
