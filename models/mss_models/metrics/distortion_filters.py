"""Least-squares distortion filters of BSSEval: the allowed distortions of the references, 512 taps long.

The filters project an estimate on all delayed copies of the references (all of them, or one stem's). Their
normal equations need only correlations up to 511 samples, which are gathered block by block here, so that a
track of any length takes the same memory. All arithmetic is float64: the equations of band-limited music are
too ill-conditioned for less.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mss_models.metrics.normal_equations import solve
from mss_models.metrics.segments import Segments

FILTER_TAPS = 512
# With 4 stereo stems, 4 segments and their spectra take about 20 MiB and stay in the last-level cache.
_SEGMENTS = 4


@dataclass(frozen=True, slots=True)
class DistortionFilters:
    """Filters that turn references into projections of the estimates.

    Attributes
    ----------
    joint : float64 Tensor of shape (output, input, tap)
        Output = stem and channel of the estimate, input = stem and channel of the references.
    own : float64 Tensor of shape (stem, output channel, input channel, tap)
        The same from the references of that stem alone.
    stable : bool
        False if rounding decides part of them (see `normal_equations.Solution`).
    """

    joint: Tensor
    own: Tensor
    stable: bool


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
        self._segments = Segments(rows=self._rows, taps=taps, capacity=_SEGMENTS, device=device)
        bins = self._segments.fft // 2 + 1
        self._products = torch.zeros(bins, self._rows, 2 * self._rows, dtype=torch.complex128, device=device)

    def add(self, reference: Tensor, estimate: Tensor) -> None:
        """Take the next block, (stem, channel, sample) each."""
        references, estimates = reference.reshape(self._rows, -1), estimate.reshape(self._rows, -1)
        position, length = 0, references.shape[1]
        while position < length:
            part = slice(position, min(length, position + self._segments.room))
            self._segments.write(references[:, part], estimates[:, part])
            position = part.stop
            if not self._segments.room:
                self._take()
                self._segments.advance()

    def lags(self) -> Tensor:
        """Give ``[a, b, p] = sum_n a[n - p] b[n]`` of references a with references, then estimates, b."""
        self._segments.complete()
        if self._segments.used:
            self._take()
        self._segments.restart()
        lags: Tensor = torch.fft.irfft(self._products.permute(1, 2, 0), n=self._segments.fft)
        return lags[..., : self._taps].contiguous()

    def solve(self) -> DistortionFilters:
        """Find the filters of everything taken."""
        lags = self.lags()
        among, across = lags[:, : self._rows], lags[:, self._rows :]
        spans = [slice(stem * self._channels, (stem + 1) * self._channels) for stem in range(self._stems)]
        own = [self._filters(among[span, span], across[span, span]) for span in spans]
        joint = self._filters(among, across)
        return DistortionFilters(
            joint=joint[0],
            own=torch.stack([filters for filters, _ in own]),
            stable=joint[1] and all(stable for _, stable in own),
        )

    def _filters(self, among: Tensor, across: Tensor) -> tuple[Tensor, bool]:
        """Filters (output, input, tap) from lags among inputs and across (input, output, delay); their stability."""
        outputs = across.shape[1]
        solution = solve(among, across.transpose(1, 2).reshape(-1, outputs))  # (input x tap, output)
        return solution.values.mT.reshape(outputs, -1, self._taps), solution.stable

    def _take(self) -> None:
        """Add the segments to the products.

        Samples with zeros for the history, and references with their history: the products of the two spectra
        hold every wanted lag without wrapping round.
        """
        new = to_bins(torch.fft.rfft(self._segments.new()))
        delayed = to_bins(torch.fft.rfft(self._segments.delayed()))
        torch.baddbmm(self._products, delayed.mH, new, out=self._products)


def to_bins(spectra: Tensor) -> Tensor:
    """Turn (row, segment, bin) into contiguous (bin, segment, row): one small matrix per bin, the fastest order."""
    return spectra.permute(2, 1, 0).contiguous()
