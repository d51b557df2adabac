"""Least-squares distortion filters of BSSEval: the allowed distortions of the references, 512 taps long.

The filters project an estimate on all delayed copies of the references (all of them, or one stem's). Their
normal equations need only correlations up to 511 samples, which are gathered block by block here, so that a
track of any length takes the same memory. All arithmetic is float64: the equations of band-limited music are
too ill-conditioned for less.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

FILTER_TAPS = 512
# Added to the diagonal by BSSEval v4; it makes the equations solvable where a whole channel is zero.
_DIAGONAL = torch.finfo(torch.float64).eps
_MIN_FFT_SAMPLES = 8192
# 8 segments of 8192 samples keep the spectra of 4 stereo stems near 12 MiB, inside the last-level cache.
SEGMENTS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class DistortionFilters:
    """Filters that turn references into projections of the estimates.

    Attributes
    ----------
    joint : float64 Tensor of shape (output, input, tap)
        Output row = stem and channel of the estimate, input = stem and channel of the references.
    own : float64 Tensor of shape (stem, output channel, input channel, tap)
        The same from the references of that stem alone.
    """

    joint: Tensor
    own: Tensor


def fft_samples(taps: int) -> int:
    """Length of the transforms: much longer than the filters, short enough to stay in the cache."""
    size = _MIN_FFT_SAMPLES
    while size < 8 * taps:
        size *= 2
    return size


def to_bin_major(spectra: Tensor) -> Tensor:
    """Turn (row, segment, bin) into contiguous (bin, row, segment), one small matrix per bin."""
    return spectra.permute(2, 0, 1).contiguous()


class Correlations:
    """Correlations of references and estimates with delayed references, gathered block by block.

    Parameters
    ----------
    stems, channels : int
    taps : int
        Number of delays, from 0.
    device : torch.device
    """

    def __init__(self, *, stems: int, channels: int, taps: int, device: torch.device) -> None:
        self._stems, self._channels, self._taps = stems, channels, taps
        self._rows = stems * channels
        self._fft = fft_samples(taps)
        self._step = self._fft - (taps - 1)  # new samples per segment
        bins = self._fft // 2 + 1
        self._products = torch.zeros(bins, 2 * self._rows, self._rows, dtype=torch.complex128, device=device)
        # The last taps - 1 samples taken into account, then samples not yet taken into account.
        self._pending = torch.zeros(2 * self._rows, taps - 1, dtype=torch.float64, device=device)

    def add(self, reference: Tensor, estimate: Tensor) -> None:
        """Take the next block, float64 (stem, channel, sample) each."""
        block = torch.cat([reference.reshape(self._rows, -1), estimate.reshape(self._rows, -1)])
        batch = SEGMENTS_AT_ONCE * self._step
        self._pending = torch.cat([self._pending, block], dim=1)
        position, end = 0, self._pending.shape[1] - (self._taps - 1)
        while end - position >= batch:
            self._take(self._pending[:, position : position + batch + self._taps - 1])
            position += batch
        self._pending = self._pending[:, position:].clone()

    def solve(self) -> DistortionFilters:
        """Solve the normal equations of everything taken; frees the correlations."""
        missing = -(self._pending.shape[1] - (self._taps - 1)) % self._step
        self._take(torch.nn.functional.pad(self._pending, (0, missing)))
        lags = torch.fft.irfft(self._products.permute(1, 2, 0), n=self._fft)[..., : self._taps].contiguous()
        self._products = self._products[:0]
        # lags[b, a, p] = sum_n a[n - p] b[n]; the rows b are references, then estimates.
        gram = _gram(lags[: self._rows])
        right = lags[self._rows :].permute(1, 2, 0).reshape(self._rows * self._taps, self._rows)
        size = self._channels * self._taps
        own = []
        for stem in range(self._stems):
            span = slice(stem * size, (stem + 1) * size)
            columns = slice(stem * self._channels, (stem + 1) * self._channels)
            own.append(self._filters(_least_squares(gram[span, span], right[span, columns])))
        return DistortionFilters(joint=self._filters(_least_squares(gram, right)), own=torch.stack(own))

    def _filters(self, solution: Tensor) -> Tensor:
        """Turn a solution (input and tap, output) into filters (output, input, tap)."""
        return solution.mT.reshape(solution.shape[1], -1, self._taps)

    def _take(self, samples: Tensor) -> None:
        """Add segments to the products; `samples` begins with taps - 1 samples of history."""
        history = self._taps - 1
        if samples.shape[1] <= history:
            return
        segments = samples.unfold(1, self._fft, self._step)  # (row, segment, sample)
        count = segments.shape[1]
        # New samples with zeros for the history, then the references with their history: the products of the
        # two hold every wanted lag without wrapping round.
        inputs = segments.new_zeros(3 * self._rows, count, self._fft)
        inputs[: 2 * self._rows, :, history:] = segments[..., history:]
        inputs[2 * self._rows :] = segments[: self._rows]
        spectra = to_bin_major(torch.fft.rfft(inputs))
        new, delayed = spectra[:, : 2 * self._rows], spectra[:, 2 * self._rows :]
        torch.baddbmm(self._products, new, delayed.mH, out=self._products)


def _gram(lags: Tensor) -> Tensor:
    """Build the Gram matrix of delayed references, ordered by row, then delay, from lags (b, a, delay).

    Entry ((a, p), (b, q)) is the inner product of a delayed by p and b delayed by q, which depends on p - q only.
    """
    rows, taps = lags.shape[0], lags.shape[-1]
    gram = lags.new_empty(rows, taps, rows, taps)
    for a in range(rows):
        for b in range(a + 1):
            # From p - q = taps - 1 down to -(taps - 1).
            line = torch.cat([lags[b, a].flip(0), lags[a, b, 1:]])
            block = line.unfold(0, taps, 1).flip(0)  # block[p, q] = line[taps - 1 - p + q]
            gram[a, :, b] = block
            if a != b:
                gram[b, :, a] = block.mT
    return gram.reshape(rows * taps, rows * taps)


def _least_squares(gram: Tensor, right: Tensor) -> Tensor:
    """Solve the normal equations; any solution will do if there are many, only the projection matters.

    Cholesky factors first; if rounding has made the matrix indefinite, LU factors (what BSSEval v4 uses); if
    a pivot is exactly zero, the shortest solution.
    """
    shifted = gram.clone()
    shifted.diagonal().add_(_DIAGONAL)
    factor, failed = torch.linalg.cholesky_ex(shifted)
    if not bool(failed):
        return torch.cholesky_solve(right, factor)
    del factor
    solution, failed = torch.linalg.solve_ex(shifted, right)
    if not bool(failed) and bool(torch.isfinite(solution).all()):
        return solution
    return torch.linalg.pinv(gram, hermitian=True, rtol=_DIAGONAL * gram.shape[0]) @ right
