"""Signal-to-distortion ratios that need no distortion filters.

Every function takes the reference first. Sums are made in float64 whatever the input, in pieces, so that a
track of any length needs no second copy of itself. Which of these numbers a table means must stand beside it:
they differ by decibels on the same audio.
"""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mss_models.metrics.checks import check_blocks, check_pair
from mss_models.metrics.framing import check_frames, frame_bounds, sounding

CHALLENGE_DELTA = 1e-7
# 512 KiB of float64: a piece and its difference stay in the second-level cache; a frame of one second is one piece.
_PIECE_SAMPLES = 65536


def usdr(reference: Tensor, estimate: Tensor, *, delta: float = CHALLENGE_DELTA) -> Tensor:
    """Give the global SDR of the Music Demixing Challenges, one number per stem and track.

    ``10 log10((sum s^2 + delta) / (sum (s - e)^2 + delta))`` over all samples and channels: the score of MDX21 and
    SDX23, also called uSDR. The song's score is the mean over its stems, the leaderboard's the mean over songs.
    A silent reference with a silent estimate gives 0 dB, with a loud one down to -100 dB: report medians too.

    Parameters
    ----------
    reference, estimate : Tensor of shape ([batch,] stem, channel, sample)
        True and computed stems, full scale 1. Finite; not checked.
    delta : float, >= 0
        1e-7 in the challenges; 1e-8 in some training code; 0 for the plain ratio.

    Returns
    -------
    float64 Tensor of shape ([batch,] stem), dB

    Raises
    ------
    ShapeError
        If the axes are not as above or the shapes differ.

    References
    ----------
    Mitsufuji et al., "Music Demixing Challenge 2021", Frontiers in Signal Processing 1 (2022), equation 1.
    """
    check_pair(reference, estimate)
    signal, noise = _energies(reference, estimate)
    return 10.0 * torch.log10((signal + delta) / (noise + delta))


def framewise_sdr(
    reference: Tensor, estimate: Tensor, *, window_samples: int | None, hop_samples: int | None = None
) -> Tensor:
    """Give the SDR of BSSEval v4 (images version) in every frame, without its filters.

    ``10 log10(sum s^2 / sum (e - s)^2)`` over the frame's samples and channels. The three error terms of BSSEval
    add up to e - s, so its distortion filters cancel and this is the same number. In a frame where any reference
    or any estimate is silent (see `framing.sounding`) all stems are NaN; an exact copy gives infinity.

    Parameters
    ----------
    reference, estimate : Tensor of shape ([batch,] stem, channel, sample)
        All stems that are scored together: they share the NaN frames.
    window_samples : int or None
        Frame length, one second in BSSEval v4; `None` for one frame over the whole track.
    hop_samples : int, optional
        Distance between frame starts; the window by default. Samples after the last whole frame are not scored.

    Returns
    -------
    float64 Tensor of shape ([batch,] stem, frame), dB

    Raises
    ------
    ShapeError, ValueError
        If axes or shapes do not fit; if a length is not positive.

    References
    ----------
    Vincent et al., "First stereo audio source separation evaluation campaign", ICA 2007 (images version);
    Stöter, Liutkus and Ito, "The 2018 Signal Separation Evaluation Campaign", LVA/ICA 2018 (framewise, v4).
    """
    check_pair(reference, estimate)
    hop = check_frames(window_samples, hop_samples)
    if reference.ndim == 4:
        pairs = zip(reference, estimate, strict=True)
        return torch.stack([_framewise(r, e, window_samples, hop) for r, e in pairs])
    return _framewise(reference, estimate, window_samples, hop)


def si_sdr(reference: Tensor, estimate: Tensor, *, zero_mean: bool = False) -> Tensor:
    """Give the scale-invariant SDR: the estimate may have any gain.

    ``a = <e, s> / <s, s>``, then ``10 log10(|a s|^2 / |a s - e|^2)``, with one gain a for all channels of a stem.
    It hides level errors, which matter in a remix; `usdr` does not. NaN for a silent reference or estimate,
    infinity for an exact multiple.

    Parameters
    ----------
    reference, estimate : Tensor of shape ([batch,] stem, channel, sample)
    zero_mean : bool
        Take the mean of each channel away first, as some speech code does. The paper's equation does not.

    Returns
    -------
    float64 Tensor of shape ([batch,] stem), dB

    Raises
    ------
    ShapeError
        If the axes are not as above or the shapes differ.

    References
    ----------
    Le Roux, Wisdom, Erdogan and Hershey, "SDR - half-baked or well done?", ICASSP 2019, equations 4 and 5.
    """
    check_pair(reference, estimate)
    means = [torch.zeros_like(reference[..., :1], dtype=torch.float64)] * 2
    if zero_mean:
        means = [x.mean(dim=-1, keepdim=True, dtype=torch.float64) for x in (reference, estimate)]
    pieces = [slice(a, a + _PIECE_SAMPLES) for a in range(0, reference.shape[-1], _PIECE_SAMPLES)]
    signal = torch.zeros(reference.shape[:-2], dtype=torch.float64, device=reference.device)
    cross = torch.zeros_like(signal)
    for piece in pieces:
        s, e = reference[..., piece].double() - means[0], estimate[..., piece].double() - means[1]
        signal += (s * s).sum(dim=(-2, -1))
        cross += (s * e).sum(dim=(-2, -1))
    gain = (cross / signal)[..., None, None]
    # A second pass: |e|^2 - <e, s>^2 / |s|^2 would lose all digits of a good estimate.
    noise = torch.zeros_like(signal)
    for piece in pieces:
        s, e = reference[..., piece].double() - means[0], estimate[..., piece].double() - means[1]
        noise += (gain * s - e).square_().sum(dim=(-2, -1))
    return 10.0 * torch.log10(gain[..., 0, 0] ** 2 * signal / noise)


def nsdr(
    reference: Tensor, estimate: Tensor, mixture: Tensor, *, score: Callable[[Tensor, Tensor], Tensor] = usdr
) -> Tensor:
    """Give the normalised SDR: what the estimate gains over the untouched mixture.

    ``score(reference, estimate) - score(reference, mixture)``, the mixture standing for every stem.

    Parameters
    ----------
    reference, estimate : Tensor of shape ([batch,] stem, channel, sample)
    mixture : Tensor of shape ([batch,] channel, sample)
    score : callable
        Takes (reference, estimate) and gives one number per stem: `bss_eval_v3.sources_sdr` for MIREX's and the
        thesis's NSDR, `usdr` (default) for the gain in global SDR. Numbers of the two are not comparable.

    Returns
    -------
    float64 Tensor of shape ([batch,] stem), dB

    Raises
    ------
    ShapeError
        If the axes are not as above or the shapes differ.

    References
    ----------
    Ozerov, Philippe, Bimbot and Gribonval, IEEE Trans. ASLP 15 (2007), equation 35, who introduced the gain;
    Jansson, "Musical source separation with deep learning and large-scale datasets" (2019), equation 2.26.
    """
    baseline = mixture.unsqueeze(-3)
    check_pair(reference, estimate)
    check_pair(reference[..., :1, :, :], baseline)
    return score(reference, estimate) - score(reference, baseline.expand_as(reference))


def gnsdr(values: Tensor, lengths: Sequence[float] | Tensor) -> Tensor:
    """Give the global NSDR of a set: the mean of its tracks' NSDR weighted by their lengths.

    Parameters
    ----------
    values : Tensor of shape (track,) or (track, stem), dB
        Also for GSIR and GSAR.
    lengths : sequence or Tensor of shape (track,)
        In any one unit, positive.

    Returns
    -------
    float64 Tensor of shape () or (stem,), dB

    Raises
    ------
    ValueError
        If there is not one positive length per track.

    References
    ----------
    Hsu and Jang, "On the improvement of singing voice separation for monaural recordings using the MIR-1K
    dataset", IEEE Trans. ASLP 18 (2010).
    """
    weights = torch.as_tensor(lengths, dtype=torch.float64, device=values.device)
    if weights.shape != values.shape[:1] or not bool((weights > 0).all()):
        raise ValueError(f"lengths must be one positive number for each of {values.shape[0]} tracks")
    return (values.double().movedim(0, -1) * (weights / weights.sum())).sum(dim=-1)


class SdrAccumulator:
    """Take aligned blocks of references and estimates; give `framewise_sdr` and `usdr` of the whole.

    Memory is a few numbers per frame, whatever the length of the track or of the blocks. The results equal those
    of the two functions up to the order of summation.

    Parameters
    ----------
    stems, channels : int
    window_samples, hop_samples
        As in `framewise_sdr`.
    """

    def __init__(
        self, *, stems: int, channels: int, window_samples: int | None, hop_samples: int | None = None
    ) -> None:
        self._hop = check_frames(window_samples, hop_samples)
        self._stems, self._channels, self._window = stems, channels, window_samples
        self._samples = 0
        self._totals = torch.zeros(2, stems, dtype=torch.float64)
        # Plain numbers: a small tensor per frame, kept among large ones that go, would leave holes in the heap.
        self._frames: list[list[float]] = []  # each (2 x stem): energies of signal and noise
        self._heard: list[list[bool]] = []  # each (2 x stem): reference and estimate are not silent

    @property
    def samples(self) -> int:
        """Samples taken so far."""
        return self._samples

    def update(self, reference: Tensor, estimate: Tensor) -> None:
        """Take the next block, (stem, channel, sample) each; raise `ShapeError` if the two do not fit."""
        check_blocks(reference, estimate, stems=self._stems, channels=self._channels)
        begin, end = self._samples, self._samples + reference.shape[-1]
        self._samples = end
        if self._window == self._hop or self._window is None:
            for start, stop in self._cuts(begin, end):
                self._totals += self._add(start, slice(start - begin, stop - begin), reference, estimate)
            return
        self._totals += torch.stack(_energies(reference, estimate)).cpu()
        first = max(0, (begin - self._window) // self._hop + 1)
        for index in range(first, -(-end // self._hop)):
            start, stop = max(begin, index * self._hop), min(end, index * self._hop + self._window)
            if start < stop:
                self._add(index * self._hop, slice(start - begin, stop - begin), reference, estimate)

    def frames(self) -> Tensor:
        """SDR of every frame so far, float64 (stem, frame), dB; NaN where nothing can be scored."""
        if not self._samples:
            return torch.empty(self._stems, 0, dtype=torch.float64)
        count = len(list(frame_bounds(self._samples, self._window, self._hop)))
        energies = torch.tensor(self._frames[:count], dtype=torch.float64).T.reshape(2, self._stems, count)
        return _frame_decibels(energies, torch.tensor(self._heard[:count]).T.reshape(2, self._stems, count))

    def usdr(self, *, delta: float = CHALLENGE_DELTA) -> Tensor:
        """Global SDR of everything so far, float64 (stem,), dB."""
        return 10.0 * torch.log10((self._totals[0] + delta) / (self._totals[1] + delta))

    def _cuts(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Cut [begin, end) where frames begin."""
        if self._window is None:
            return [(begin, end)] if end > begin else []
        edges = [begin, *range((begin // self._hop + 1) * self._hop, end, self._hop), end]
        return [(a, b) for a, b in itertools.pairwise(edges) if b > a]

    def _add(self, position: int, part: slice, reference: Tensor, estimate: Tensor) -> Tensor:
        """Add a part of a block to the frame around or from a position; give the part's energies."""
        index = 0 if self._window is None else position // self._hop
        while len(self._frames) <= index:
            self._frames.append([0.0] * (2 * self._stems))
            self._heard.append([False] * (2 * self._stems))
        s, e = reference[..., part], estimate[..., part]
        energies = torch.stack(_energies(s, e)).cpu()
        before = self._frames[index]
        self._frames[index] = [old + new for old, new in zip(before, energies.flatten().tolist(), strict=True)]
        known = self._heard[index]
        if not all(known):
            now = torch.cat([sounding(s), sounding(e)]).tolist()
            self._heard[index] = [old or new for old, new in zip(known, now, strict=True)]
        return energies


def _framewise(reference: Tensor, estimate: Tensor, window_samples: int | None, hop_samples: int) -> Tensor:
    """`framewise_sdr` of one track (stem, channel, sample)."""
    energies, heard = [], []
    for start, stop in frame_bounds(reference.shape[-1], window_samples, hop_samples):
        s, e = reference[..., start:stop], estimate[..., start:stop]
        heard.append(torch.stack([sounding(s), sounding(e)]))
        energies.append(torch.stack(_energies(s, e)))
    return _frame_decibels(torch.stack(energies, dim=-1), torch.stack(heard, dim=-1))


def _frame_decibels(energies: Tensor, heard: Tensor) -> Tensor:
    """Decibels of energies (2, stem, frame), NaN in frames where any of (2, stem, frame) was not heard."""
    decibels = 10.0 * torch.log10(energies[0] / energies[1])
    decibels[energies[1] == 0] = torch.inf
    return decibels.masked_fill(~heard.flatten(end_dim=1).all(dim=0), torch.nan)


def _energies(reference: Tensor, estimate: Tensor) -> tuple[Tensor, Tensor]:
    """Energies of the reference and of the error, float64 ([batch,] stem), summed row by row in pieces."""
    rows = reference.flatten(end_dim=-2), estimate.flatten(end_dim=-2)
    sums = torch.zeros(2, rows[0].shape[0], dtype=torch.float64, device=reference.device)
    for row, (s, e) in enumerate(zip(*rows, strict=True)):
        for start in range(0, s.shape[0], _PIECE_SAMPLES):
            signal = s[start : start + _PIECE_SAMPLES].double()
            error = e[start : start + _PIECE_SAMPLES].double() - signal
            sums[0, row] += torch.dot(signal, signal)
            sums[1, row] += torch.dot(error, error)
    signal, error = sums.reshape(2, *reference.shape[:-1]).sum(dim=-1)
    return signal, error
