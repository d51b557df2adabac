"""SI-SDR of a track of any length, block by block."""

import torch
from torch import Tensor

from mss_models.metrics.checks import check_blocks


class SiSdrAccumulator:
    """Take aligned blocks of references and estimates; give `mss_models.metrics.sdr.si_sdr` of the whole.

    With d = e - s, the error of the best gain is ``|d|^2 - <d, s>^2 / |s|^2``. Unlike ``|e|^2 - <e, s>^2 / |s|^2`` it
    keeps its digits for estimates near the reference, so that one pass is enough; estimates that are an exact
    multiple of the reference come out above 140 dB instead of infinite.

    Parameters
    ----------
    stems, channels : int

    References
    ----------
    Le Roux, Wisdom, Erdogan and Hershey, "SDR - half-baked or well done?", ICASSP 2019; the rearrangement is ours.
    """

    def __init__(self, *, stems: int, channels: int) -> None:
        self._stems, self._channels = stems, channels
        self._sums = torch.zeros(3, stems, dtype=torch.float64)  # |s|^2, <d, s>, |d|^2

    def update(self, reference: Tensor, estimate: Tensor) -> None:
        """Take the next block, (stem, channel, sample) each; raise `ShapeError` if the two do not fit."""
        check_blocks(reference, estimate, stems=self._stems, channels=self._channels)
        for stem in range(self._stems):
            s = reference[stem].double().flatten()
            d = estimate[stem].double().flatten() - s
            self._sums[:, stem] += torch.stack([torch.dot(s, s), torch.dot(d, s), torch.dot(d, d)])

    def si_sdr(self) -> Tensor:
        """SI-SDR of everything so far, float64 (stem,), dB; NaN for a silent reference or estimate."""
        signal, cross, error = self._sums
        noise = (error - cross.square() / signal).clamp(min=0.0)
        gain = 1.0 + cross / signal
        silent = (signal == 0) | ((error == signal) & (cross == -signal))
        return (10.0 * torch.log10(gain.square() * signal / noise)).masked_fill(silent, torch.nan)
