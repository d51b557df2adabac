"""Scores of one track from aligned blocks of its true and estimated stems, in memory that does not grow."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mss_cli.datasets.track import ACCOMPANIMENT, VOCALS, in_order
from mss_cli.errors import DatasetError
from mss_cli.evaluation.scores import (
    FOUR_STEMS,
    FURTHER_METRICS,
    METRICS,
    PAIR,
    Frames,
    FurtherScore,
    StemScores,
    rounded,
)

if TYPE_CHECKING:
    from torch import Tensor


Block = NDArray[np.float64]
Scenario = Literal["auto", "four-stems", "vocals-accompaniment"]
ScoreSet = Literal["sdr", "full", "all"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)
SCORE_SETS: tuple[ScoreSet, ...] = get_args(ScoreSet)

_NAMES = "check the names of the stem files"
_ONLY_VOCALS = "add the stems that vocals are mixed with, or use `--scenario four-stems`"

# Changes whenever the numbers could: scores of another version are made anew.
SCORER_VERSION = 1


@dataclass(frozen=True, slots=True)
class Group:
    """Stems that are projected together and share their unscored frames.

    Attributes
    ----------
    scenario : str
        `FOUR_STEMS` or `PAIR`.
    stems : tuple of str
        Scored together.
    shown : tuple of str
        Those of them whose scores are kept.
    """

    scenario: str
    stems: tuple[str, ...]
    shown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pairs:
    """True and estimated stems of a track, side by side.

    Attributes
    ----------
    stems : tuple of str
        On the first axis of the blocks.
    sample_rate : int, Hz
    channels : int
    blocks : callable
        Gives (references, estimates) from the start, float64 arrays of shape (stem, channel, sample), the same at each
        call.
    mixture : callable or None
        Gives the mixture from the start, (channel, sample) blocks cut in any way; NSDR and log-WMSE need it.
    """

    stems: tuple[str, ...]
    sample_rate: int
    channels: int
    blocks: Callable[[], Iterator[tuple[Block, Block]]]
    mixture: Callable[[], Iterator[NDArray[np.float32]]] | None = None


def plan_groups(stems: Sequence[str], scenario: Scenario) -> tuple[Group, ...]:
    """Decide which stems are scored together.

    "auto" does what museval and so all published tables do: the stems together, then vocals and accompaniment as a
    pair, from which the row of the vocals is taken. SDR is the same in both, but for the frames that are left out;
    SIR and SAR are not.

    Parameters
    ----------
    stems : sequence of str
        That have a reference and an estimate.
    scenario : {"auto", "four-stems", "vocals-accompaniment"}

    Raises
    ------
    DatasetError
        If there is nothing to score in that scenario.
    """
    singles = in_order([stem for stem in stems if stem != ACCOMPANIMENT])
    has_pair = VOCALS in stems and ACCOMPANIMENT in stems
    pair = Group(PAIR, (VOCALS, ACCOMPANIMENT), (VOCALS, ACCOMPANIMENT))
    groups: list[Group] = []
    if scenario == PAIR or (scenario == "auto" and singles == (VOCALS,)):
        groups = [pair] if has_pair else []
    elif singles and (scenario == FOUR_STEMS or not has_pair):
        groups = [Group(FOUR_STEMS, singles, singles)]
    elif singles:
        groups = [Group(FOUR_STEMS, singles, tuple(stem for stem in singles if stem != VOCALS)), pair]
    if not groups:
        alone = scenario == PAIR or VOCALS in stems
        needed = "vocals and another stem" if alone else "a stem with reference and estimate"
        raise DatasetError(f"nothing to score: {needed} needed", hint=_ONLY_VOCALS if VOCALS in stems else _NAMES)
    return tuple(groups)


def score(pairs: Pairs, groups: Sequence[Group], score_set: ScoreSet) -> tuple[tuple[StemScores, ...], int]:
    """Score a track.

    A stem that is silent from beginning to end, as reference or as estimate, has no scores: the others are scored
    without it.

    Parameters
    ----------
    pairs : Pairs
        Read once for SDR, twice for the full set; for all scores the whole track is then held in memory.
    groups : sequence of Group
        Of `plan_groups`.
    score_set : {"sdr", "full", "all"}
        "all" adds `FURTHER_METRICS` to the full set.

    Returns
    -------
    scores : tuple of StemScores
        In the order of the groups.
    samples : int
        Scored, per channel.

    Raises
    ------
    InputError
        If a file cannot be decoded.
    """
    results: list[StemScores] = []
    silent: dict[str, str] = {}
    while True:
        passes = [_Pass(pairs, group, silent, score_set) for group in groups]
        heard = _Heard(pairs.stems)
        samples = 0
        for references, estimates in pairs.blocks():
            together = _tensors(references, estimates)
            heard.add(*together)
            samples += references.shape[2]
            for one in passes:
                one.first(*together)
        found = {stem: reason for stem, reason in heard.reasons().items() if stem not in silent}
        if not found:
            break
        silent |= found  # rare: start again without them
    if score_set != "sdr":
        for references, estimates in pairs.blocks():
            together = _tensors(references, estimates)
            for one in passes:
                one.second(*together)
    for one in passes:
        results += one.scores()
    if score_set == "all":
        results = _with_further_scores(results, pairs, groups, silent)
    return tuple(results), samples


def scorable_stems(references: Iterable[Sequence[str]], scenario: Scenario) -> tuple[str, ...]:
    """Name the stems that tracks with these references could have scores of, if every estimate were there."""
    found: set[str] = set()
    for stems in references:
        there = set(stems)
        if VOCALS in there and there != {VOCALS}:
            there.add(ACCOMPANIMENT)
        if scenario == FOUR_STEMS:
            there.discard(ACCOMPANIMENT)
        elif scenario == PAIR:
            there &= {VOCALS, ACCOMPANIMENT}
        found |= there
    return in_order(tuple(found))


def metrics_of(score_set: ScoreSet) -> tuple[str, ...]:
    """Name the metrics that a set of scores makes."""
    whole = ("uSDR", "SI-SDR")
    return {
        "sdr": ("SDR", *whole),
        "full": (*METRICS, *whole),
        "all": (*METRICS, *whole, *FURTHER_METRICS),
    }[score_set]


def _with_further_scores(
    scores: Sequence[StemScores], pairs: Pairs, groups: Sequence[Group], silent: Collection[str]
) -> list[StemScores]:
    """Add the whole-track scores, each stem's from the group in which it is shown."""
    from mss_cli.evaluation.whole_track import WholeTrack

    track = WholeTrack.read(pairs.blocks(), pairs.mixture, sample_rate=pairs.sample_rate)
    found: dict[tuple[str, str], tuple[FurtherScore, ...]] = {}
    for group in groups:
        stems = [stem for stem in group.stems if stem not in silent]
        further = track.scores([pairs.stems.index(stem) for stem in stems]) if stems else []
        found |= {(group.scenario, stem): values for stem, values in zip(stems, further, strict=True)}
    return [replace(one, further=found.get((one.scenario, one.stem), ())) for one in scores]


def _tensors(references: Block, estimates: Block) -> "tuple[Tensor, Tensor]":
    import torch

    return torch.from_numpy(references), torch.from_numpy(estimates)


class _Heard:
    """Which stems sound at all."""

    def __init__(self, stems: Sequence[str]) -> None:
        import torch

        self._stems = tuple(stems)
        self._heard = torch.zeros(2, len(stems), dtype=torch.bool)

    def add(self, references: "Tensor", estimates: "Tensor") -> None:
        import torch

        from mss_models.metrics.framing import sounding

        if not bool(self._heard.all()):
            self._heard |= torch.stack([sounding(references), sounding(estimates)])

    def reasons(self) -> dict[str, str]:
        """Give the silent stems and which side of them is silent."""
        reasons = {}
        for place, stem in enumerate(self._stems):
            reference, estimate = (bool(side[place]) for side in self._heard)
            if not reference:
                reasons[stem] = "silent reference"
            elif not estimate:
                reasons[stem] = "silent estimate"
        return reasons


class _Pass:
    """The scores of one group while the blocks go by."""

    def __init__(self, pairs: Pairs, group: Group, silent: dict[str, str], score_set: ScoreSet) -> None:
        from mss_models.metrics.bss_eval import BssEval
        from mss_models.metrics.sdr import SdrAccumulator
        from mss_models.metrics.si_sdr_blocks import SiSdrAccumulator

        self._group = group
        self._silent = silent
        self._stems = tuple(stem for stem in group.stems if stem not in silent)
        self._places = [pairs.stems.index(stem) for stem in self._stems]
        stems, channels, window = len(self._stems), pairs.channels, pairs.sample_rate
        self._full: BssEval | None = None
        if not stems:
            return
        self._sdr = SdrAccumulator(stems=stems, channels=channels, window_samples=window)
        self._si_sdr = SiSdrAccumulator(stems=stems, channels=channels)
        if score_set != "sdr":
            self._full = BssEval(stems=stems, channels=channels, window_samples=window)

    def first(self, references: "Tensor", estimates: "Tensor") -> None:
        if not self._stems:
            return
        s, e = references[self._places], estimates[self._places]  # (stem, channel, sample)
        self._sdr.update(s, e)
        self._si_sdr.update(s, e)
        if self._full is not None:
            self._full.correlate(s, e)

    def second(self, references: "Tensor", estimates: "Tensor") -> None:
        if self._full is not None:
            self._full.measure(references[self._places], estimates[self._places])

    def scores(self) -> list[StemScores]:
        return [self._of(stem) for stem in self._group.shown]

    def _of(self, stem: str) -> StemScores:
        nan = float("nan")
        if stem in self._silent:
            return StemScores(stem, self._group.scenario, (), nan, nan, self._silent[stem])
        place = self._stems.index(stem)
        if self._full is None:
            columns = [self._sdr.frames()]
        else:
            scores = self._full.scores()
            columns = [scores.sdr, scores.isr, scores.sir, scores.sar]
        frames = tuple(
            Frames(metric, rounded(column[place].tolist())) for metric, column in zip(METRICS, columns, strict=False)
        )
        usdr, si_sdr = rounded((float(self._sdr.usdr()[place]), float(self._si_sdr.si_sdr()[place])))
        return StemScores(stem, self._group.scenario, frames, usdr, si_sdr)
