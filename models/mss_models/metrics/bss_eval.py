"""BSSEval v4: SDR, ISR, SIR and SAR of stems, frame by frame, with filters of the whole track.

The estimate is taken apart into the true stem, a filtered version of it (spatial error), leaks of the other
stems (interference) and the rest (artifacts). Filters of 512 taps are allowed; they are found once for the
whole track. Only SDR is wanted: `mss_models.metrics.sdr.framewise_sdr` gives the same number without filters.

References
----------
Vincent, Gribonval and Févotte, "Performance measurement in blind audio source separation", IEEE Trans. ASLP 14
(2006); Vincent et al., "First stereo audio source separation evaluation campaign", ICA 2007 (images version, ISR);
Stöter, Liutkus and Ito, "The 2018 Signal Separation Evaluation Campaign", LVA/ICA 2018 (version 4).
"""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from mss_models.errors import ShapeError
from mss_models.metrics.checks import BLOCK_AXES, check_blocks, check_pair
from mss_models.metrics.distortion_filters import FILTER_TAPS, Correlations
from mss_models.metrics.frame_energies import (
    ARTIFACTS,
    BEYOND,
    ENERGIES,
    FILTERED,
    INTERFERENCE,
    NOISE,
    PROJECTED,
    SIGNAL,
    SPATIAL,
    FrameFilter,
)
from mss_models.metrics.framing import check_frames, frame_bounds, frame_count, sounding

_BLOCK_SAMPLES = 1 << 16


class SilentStemError(ValueError):
    """Tell which stems are silent over the whole track, so that no filters exist.

    Attributes
    ----------
    role : str
        "reference" or "estimate".
    stems : tuple of int
        Places on the stem axis.
    """

    def __init__(self, role: str, stems: tuple[int, ...]) -> None:
        super().__init__(f"{role}: silent over the whole track: stem {', '.join(map(str, stems))}")
        self.role, self.stems = role, stems


@dataclass(frozen=True, slots=True)
class BssEvalScores:
    """Scores of one track, float64 (stem, frame), dB.

    NaN in frames where some reference or estimate is silent; infinite where an error term is exactly zero.

    Attributes
    ----------
    sdr, isr, sir, sar : Tensor of shape (stem, frame)
        Ratios of the stem to all distortion, to its spatial distortion, to interference, to artifacts. `isr` is
        NaN in the sources version.
    stable : bool
        False if a reference has an empty band (a lossy decoder's, not rounded to 16 bits): then rounding decides the
        last tenths of `isr`, `sir` and `sar`, and no two computers, or museval with another number of threads, agree.
        `sdr` is never touched.
    """

    sdr: Tensor
    isr: Tensor
    sir: Tensor
    sar: Tensor
    stable: bool = True

    @property
    def nan_frames(self) -> int:
        """Number of frames that are not scored (the same for every stem)."""
        return int(torch.isnan(self.sdr[0]).sum())


class BssEval:
    """Score a track of any length in two passes over aligned blocks.

    Call `correlate` with every block, then `measure` with the same samples again (cut into blocks in any way),
    then `scores`. Memory does not grow with the track, but for a few numbers per frame.

    Parameters
    ----------
    stems, channels : int
    window_samples, hop_samples
        As in `bss_eval`.
    filter_taps : int
        512 in every published number.
    sources_version : bool
        As in `bss_eval`.
    device : torch.device or str
        Where to compute; blocks are moved there.
    """

    def __init__(
        self,
        *,
        stems: int,
        channels: int,
        window_samples: int | None,
        hop_samples: int | None = None,
        filter_taps: int = FILTER_TAPS,
        sources_version: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        if stems < 1 or channels < 1 or filter_taps < 1:
            raise ValueError(
                f"stems, channels and filter_taps must be positive, got {stems}, {channels}, {filter_taps}"
            )
        self._hop = check_frames(window_samples, hop_samples)
        self._window = window_samples
        self._stems, self._channels, self._taps = stems, channels, filter_taps
        self._sources_version = sources_version
        self._device = torch.device(device)
        self._correlations = Correlations(stems=stems, channels=channels, taps=filter_taps, device=self._device)
        self._heard = torch.zeros(2, stems, dtype=torch.bool)
        self._samples = 0
        self._filter: FrameFilter | None = None
        self._measured = 0
        # Plain numbers: a small tensor per frame, kept among large ones that go, would leave holes in the heap.
        self._frames: list[list[float]] = []  # each (energy x stem)
        self._frame_heard: list[bool] = []
        self._pending = torch.empty(2, stems, channels, 0, dtype=torch.float64, device=self._device)
        self._sounding = torch.zeros(2, stems, dtype=torch.bool)

    @property
    def samples(self) -> int:
        """Samples seen by the first pass."""
        return self._samples

    def silent(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Stems whose reference, and stems whose estimate, has been silent in the first pass so far."""
        references, estimates = (tuple(torch.nonzero(~heard).flatten().tolist()) for heard in self._heard)
        return references, estimates

    def correlate(self, reference: Tensor, estimate: Tensor) -> None:
        """Take the next block of the first pass, (stem, channel, sample) each.

        Raises
        ------
        ShapeError, RuntimeError
            If the blocks do not fit; after `measure` has been called.
        """
        if self._filter is not None:
            raise RuntimeError("correlate() after measure(): the filters are already fixed")
        s, e = self._blocks(reference, estimate)
        self._samples += s.shape[-1]
        if not bool(self._heard.all()):
            self._heard |= torch.stack([sounding(s), sounding(e)]).cpu()
        self._correlations.add(s, e)

    def measure(self, reference: Tensor, estimate: Tensor) -> None:
        """Take the next block of the second pass; the first call solves for the filters.

        Raises
        ------
        ShapeError, SilentStemError, ValueError
            If the blocks do not fit; if a stem was silent in the whole first pass; if there are more samples
            than in the first pass.
        """
        s, e = self._blocks(reference, estimate)
        if self._filter is None:
            self._filter = self._solve()
        if self._measured + s.shape[-1] > self._samples:
            raise ValueError(f"the second pass has more samples than the first, which had {self._samples}")
        if self._window is None or self._window >= self._samples:
            self._extend(self._filter, s, e, window=self._samples, hop=self._samples)
        elif self._hop >= self._window:
            self._extend(self._filter, s, e, window=self._window, hop=self._hop)
        else:
            self._extend_overlapping(self._filter, torch.stack([s, e]), self._window)

    def scores(self) -> BssEvalScores:
        """Give the scores of all frames; raises `RuntimeError` before the second pass is complete."""
        if self._filter is None or self._measured != self._samples:
            raise RuntimeError(f"second pass incomplete: {self._measured} of {self._samples} samples")
        table = torch.tensor(self._frames, dtype=torch.float64)
        energies = table.T.reshape(ENERGIES, self._stems, -1)  # (energy, stem, frame)
        silent = ~torch.tensor(self._frame_heard)
        if self._sources_version:
            sdr = _decibels(energies[FILTERED], energies[BEYOND], silent)
            isr = torch.full_like(sdr, torch.nan)
        else:
            sdr = _decibels(energies[SIGNAL], energies[NOISE], silent)
            isr = _decibels(energies[SIGNAL], energies[SPATIAL], silent)
        sir = _decibels(energies[FILTERED], energies[INTERFERENCE], silent)
        sar = _decibels(energies[PROJECTED], energies[ARTIFACTS], silent)
        return BssEvalScores(sdr=sdr, isr=isr, sir=sir, sar=sar, stable=self._filter.stable)

    def _blocks(self, reference: Tensor, estimate: Tensor) -> tuple[Tensor, Tensor]:
        check_blocks(reference, estimate, stems=self._stems, channels=self._channels)
        return (
            reference.to(device=self._device, dtype=torch.float64),
            estimate.to(device=self._device, dtype=torch.float64),
        )

    def _solve(self) -> FrameFilter:
        for role, stems in zip(("reference", "estimate"), self.silent(), strict=True):
            if stems:
                raise SilentStemError(role, stems)
        return FrameFilter(self._correlations.solve(), frame_samples=self._window, beyond=self._sources_version)

    def _extend(self, frame_filter: FrameFilter, s: Tensor, e: Tensor, *, window: int, hop: int) -> None:
        """Add a block to frames that do not overlap, piece by piece; nothing is kept."""
        begin, end = self._measured, self._measured + s.shape[-1]
        self._measured = end
        count = frame_count(self._samples, window, hop)
        while len(self._frames) < count and (start := len(self._frames) * hop) < end:
            piece = slice(max(start, begin) - begin, min(start + window, end) - begin)
            if piece.start < piece.stop:
                frame_filter.add(s[..., piece], e[..., piece])
                if not bool(self._sounding.all()):
                    self._sounding |= torch.stack([sounding(s[..., piece]), sounding(e[..., piece])]).cpu()
            if end < start + window:
                return
            self._frames.append(frame_filter.close().flatten().tolist())
            self._frame_heard.append(bool(self._sounding.all()))
            frame_filter.restart()
            self._sounding.zero_()

    def _extend_overlapping(self, frame_filter: FrameFilter, pair: Tensor, window: int) -> None:
        """Score every overlapping frame that the block completes; keep the samples that later frames need."""
        kept = torch.cat([self._pending, pair], dim=-1)
        origin = self._measured - self._pending.shape[-1]  # position of the first sample kept
        self._measured += pair.shape[-1]
        count = frame_count(self._samples, window, self._hop)
        while len(self._frames) < count and len(self._frames) * self._hop + window <= self._measured:
            start = len(self._frames) * self._hop - origin
            s, e = kept[..., start : start + window]
            heard = bool((sounding(s) & sounding(e)).all())
            if heard:
                frame_filter.restart()
                frame_filter.add(s, e)
            energies = frame_filter.close().flatten().tolist() if heard else [0.0] * (ENERGIES * self._stems)
            self._frames.append(energies)
            self._frame_heard.append(heard)
        needed = len(self._frames) * self._hop if len(self._frames) < count else self._measured
        self._pending = kept[..., min(max(0, needed - origin), kept.shape[-1]) :].clone()


def bss_eval(
    reference: Tensor,
    estimate: Tensor,
    *,
    window_samples: int | None,
    hop_samples: int | None = None,
    filter_taps: int = FILTER_TAPS,
    framewise_filters: bool = False,
    sources_version: bool = False,
) -> BssEvalScores:
    """Score estimates by BSSEval version 4, or 3, on arrays in memory.

    With P_own(s_j) and P_all(s) the projections of the estimate e_j on delayed copies (0 to 511 samples, any channel
    to any channel) of reference j and of all references, within a frame padded with 511 zeros::

        SDR = |s_j|^2 / |e_j - s_j|^2              ISR = |s_j|^2 / |P_own - s_j|^2
        SIR = |P_own|^2 / |P_all - P_own|^2        SAR = |P_all|^2 / |e_j - P_all|^2

    Energies sum over channels and samples. Samples after the last whole frame shape the filters but are not
    scored. Estimates keep their order: nothing is permuted.

    Parameters
    ----------
    reference, estimate : Tensor of shape (stem, channel, sample)
        Computed in float64 on the device of `reference`. Equally long: padding is the caller's decision.
    window_samples : int or None
        Frame length, one second in published numbers; `None` for one frame over the whole track.
    hop_samples : int, optional
        Distance between frame starts; the window by default.
    filter_taps : int
        512 in every published number.
    framewise_filters : bool
        Find the filters anew in every frame (version 3) instead of once for the track (version 4).
    sources_version : bool
        Allow the filtering of the true stem: SDR = |P_own|^2 / |e_j - P_own|^2, no ISR. Higher than the images
        version; not comparable with it.

    Returns
    -------
    BssEvalScores

    Raises
    ------
    ShapeError, ValueError
        If shapes do not fit; if a length is not positive.
    SilentStemError
        If a stem is silent (its channels sum to zero everywhere) over the whole track.

    References
    ----------
    See the module. Equal to museval 0.4.1 (`bss_eval`) and, for mono and one frame, to mir_eval.separation.
    """
    check_pair(reference, estimate)
    if reference.ndim != 3:
        raise ShapeError("reference", BLOCK_AXES, reference.shape)
    hop = check_frames(window_samples, hop_samples)
    if framewise_filters:
        return _framewise(reference, estimate, window_samples, hop, filter_taps, sources_version)
    evaluation = BssEval(
        stems=reference.shape[0],
        channels=reference.shape[1],
        window_samples=window_samples,
        hop_samples=hop,
        filter_taps=filter_taps,
        sources_version=sources_version,
        device=reference.device,
    )
    cuts = range(0, reference.shape[-1], _BLOCK_SAMPLES)
    for step in (evaluation.correlate, evaluation.measure):
        for start in cuts:
            block = slice(start, start + _BLOCK_SAMPLES)
            step(reference[..., block], estimate[..., block])
    return evaluation.scores()


def bss_eval_permuted(
    reference: Tensor,
    estimate: Tensor,
    *,
    window_samples: int | None,
    hop_samples: int | None = None,
    filter_taps: int = FILTER_TAPS,
    sources_version: bool = False,
) -> tuple[BssEvalScores, tuple[int, ...]]:
    """Score estimates whose order is not known: `bss_eval` with the order of the highest mean SIR.

    One frame that is not scored makes every mean NaN and the given order stands, as in BSSEval v4. Costs as many
    evaluations as there are stems.

    Parameters
    ----------
    reference, estimate, window_samples, hop_samples, filter_taps, sources_version
        As in `bss_eval`.

    Returns
    -------
    scores : BssEvalScores
        In the order of the references.
    order : tuple of int
        Estimate ``order[j]`` belongs to reference j.

    Raises
    ------
    ShapeError, ValueError, SilentStemError
        As `bss_eval`.
    """
    stems = reference.shape[0]
    # Rolled by k, the estimates meet the references in the pairs (j, j + k): all rolls give all pairs.
    rolled = [
        bss_eval(
            reference,
            estimate.roll(-k, dims=0),
            window_samples=window_samples,
            hop_samples=hop_samples,
            filter_taps=filter_taps,
            sources_version=sources_version,
        )
        for k in range(stems)
    ]
    mean_sir = [[float(rolled[(e - j) % stems].sir[j].mean()) for e in range(stems)] for j in range(stems)]
    order, best = tuple(range(stems)), -torch.inf
    for candidate in itertools.permutations(range(stems)):
        mean = sum(mean_sir[j][e] for j, e in enumerate(candidate)) / stems
        if mean > best:  # never true for NaN
            order, best = candidate, mean

    def picked(name: str) -> Tensor:
        return torch.stack([getattr(rolled[(e - j) % stems], name)[j] for j, e in enumerate(order)])

    stable = all(scores.stable for scores in rolled)
    scores = BssEvalScores(sdr=picked("sdr"), isr=picked("isr"), sir=picked("sir"), sar=picked("sar"), stable=stable)
    return scores, order


def _framewise(
    reference: Tensor, estimate: Tensor, window: int | None, hop: int, taps: int, sources_version: bool
) -> BssEvalScores:
    """Score every frame as a track of its own, with its own filters."""
    for role, whole in (("reference", reference), ("estimate", estimate)):
        if not bool(sounding(whole).all()):
            raise SilentStemError(role, tuple(torch.nonzero(~sounding(whole)).flatten().tolist()))
    frames = []
    for start, stop in frame_bounds(reference.shape[-1], window, hop):
        s, e = reference[..., start:stop], estimate[..., start:stop]
        if bool((sounding(s) & sounding(e)).all()):
            frames.append(bss_eval(s, e, window_samples=None, filter_taps=taps, sources_version=sources_version))
        else:
            blank = torch.full((reference.shape[0], 1), torch.nan, dtype=torch.float64)
            frames.append(BssEvalScores(sdr=blank, isr=blank, sir=blank, sar=blank))
    return BssEvalScores(
        sdr=torch.cat([f.sdr for f in frames], dim=1),
        isr=torch.cat([f.isr for f in frames], dim=1),
        sir=torch.cat([f.sir for f in frames], dim=1),
        sar=torch.cat([f.sar for f in frames], dim=1),
        stable=all(f.stable for f in frames),
    )


def _decibels(over: Tensor, under: Tensor, silent: Tensor) -> Tensor:
    """Give 10 log10(over / under), infinite for a zero denominator, NaN in silent frames."""
    ratio = 10.0 * torch.log10(over / under)
    return ratio.masked_fill(under == 0, torch.inf).masked_fill(silent, torch.nan)
