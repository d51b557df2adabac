"""A parametric equaliser: two shelves and some peaks."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mss_models.augmentation.convolution import fast_length
from mss_models.augmentation.draws import Draws
from mss_models.augmentation.step import Range, Step, check_count, check_ranges

_TAIL_SECONDS = 0.2
_SHELF_Q = 1 / math.sqrt(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Equaliser(Step):
    """Raise and lower parts of the spectrum by a low shelf, peaks and a high shelf.

    Second-order sections with the responses of Bristow-Johnson, all multiplied onto one transform of the
    whole item, so the number of bands costs next to nothing.

    Parameters
    ----------
    gain_db : (float, float), dB, in [-40, 40]
        Of each band, drawn apart: at a peak's centre; far below the low and above the high shelf.
    peaks : int, in [0, 16]
        Bands between the shelves.
    peak_hz : (float, float), Hz, in [20, 20000]
        Their centres.
    q : (float, float), in [0.1, 10]
        Their quality: centre over width.
    low_hz, high_hz : (float, float), Hz, in [20, 20000]
        Middle of each shelf's slope, where half its decibels are reached.

    All frequencies are kept under 0.45 of the sample rate.

    References
    ----------
    Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients", 1998. Zölzer (ed.), "DAFX",
    2nd edition, Wiley 2011, 2.3. Thesis 6.2.
    """

    gain_db: Range = (-8.0, 8.0)
    peaks: int = 2
    peak_hz: Range = (250.0, 4000.0)
    q: Range = (0.5, 2.0)
    low_hz: Range = (60.0, 250.0)
    high_hz: Range = (4000.0, 10_000.0)

    def __post_init__(self) -> None:
        Step.__post_init__(self)
        check_count("peaks", self.peaks, 0, 16)
        audible = (20.0, 20_000.0)
        limits = {"gain_db": (-40.0, 40.0), "q": (0.1, 10.0)}
        check_ranges(self, limits | {"peak_hz": audible, "low_hz": audible, "high_hz": audible})

    def _apply(self, audio: Tensor, draws: Draws, sample_rate: int) -> Tensor:
        samples = audio.shape[-1]
        # The responses ring past the end; zeros keep the ringing out of the start.
        length = fast_length(samples + round(_TAIL_SECONDS * sample_rate))
        gains = 10 ** (draws.uniform(*self.gain_db, self.peaks + 2) / 40)  # (batch, band), amplitude's square root
        low, high = draws.log_uniform(*self.low_hz), draws.log_uniform(*self.high_hz)
        centres, qs = draws.log_uniform(*self.peak_hz, self.peaks), draws.log_uniform(*self.q, self.peaks)
        middles = torch.cat([low, high, centres], dim=1).clamp_max(0.45 * sample_rate)
        warped = torch.tan(math.pi / sample_rate * middles)  # (batch, band)
        bins = torch.tan(torch.arange(length // 2 + 1, device=audio.device) * (math.pi / length)).clamp_max(1e6)
        response = torch.ones(len(gains), length // 2 + 1, dtype=torch.complex64, device=audio.device)
        for band in range(self.peaks + 2):
            ratio = bins / warped[:, band, None].to(audio.device, torch.float32)  # (batch, bin)
            gain = gains[:, band, None].to(audio.device, torch.float32)
            if band == 0:
                response *= low_shelf_response(ratio, gain)
            elif band == 1:
                response *= high_shelf_response(ratio, gain)
            else:
                response *= peak_response(ratio, gain, qs[:, band - 2, None].to(audio.device, torch.float32))
        spectrum = torch.fft.rfft(audio, n=length) * response[:, None, None]
        changed: Tensor = torch.fft.irfft(spectrum, n=length)
        return changed[..., :samples]


def peak_response(ratio: Tensor, root: Tensor, q: Tensor) -> Tensor:
    """``(s^2 + s a/q + 1) / (s^2 + s/(a q) + 1)`` at ``s = i ratio``; the gain is ``a^2`` at ratio 1.

    Parameters
    ----------
    ratio : Tensor
        Frequency over centre, both warped by ``tan(pi f / rate)``: then this is the digital filter exactly.
    root : Tensor
        Square root a of the amplitude at the centre.
    q : Tensor
        Quality.
    """
    even = 1 - ratio.square()
    return torch.complex(even, ratio * root / q) / torch.complex(even, ratio / (root * q))


def high_shelf_response(ratio: Tensor, root: Tensor) -> Tensor:
    """``a (a s^2 + s sqrt(a)/Q + 1) / (s^2 + s sqrt(a)/Q + a)`` at ``s = i ratio``, Q the root of a half.

    The gain is 1 far below ratio 1, ``a`` at 1 and ``a^2`` far above; parameters as in `peak_response`.
    """
    square, middle = ratio.square(), ratio * root.sqrt() / _SHELF_Q
    return root * torch.complex(1 - root * square, middle) / torch.complex(root - square, middle)


def low_shelf_response(ratio: Tensor, root: Tensor) -> Tensor:
    """``a (s^2 + s sqrt(a)/Q + a) / (a s^2 + s sqrt(a)/Q + 1)``: `high_shelf_response` with the axis reversed."""
    square, middle = ratio.square(), ratio * root.sqrt() / _SHELF_Q
    return root * torch.complex(root - square, middle) / torch.complex(1 - root * square, middle)
