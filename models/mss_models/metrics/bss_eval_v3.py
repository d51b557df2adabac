"""BSSEval v3, sources version: SDR, SIR and SAR of mono stems over a whole clip, as MIREX and the thesis used it.

The true stem may be filtered by 512 taps without penalty, so these numbers are higher than those of the images
version (`mss_models.metrics.bss_eval`) and must never stand beside them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mss_models.errors import ShapeError
from mss_models.metrics.bss_eval import BssEvalScores, bss_eval, bss_eval_permuted
from mss_models.metrics.checks import check_pair
from mss_models.metrics.distortion_filters import FILTER_TAPS


@dataclass(frozen=True, slots=True)
class SourcesScores:
    """Scores of one clip, float64 (stem,), dB.

    Attributes
    ----------
    sdr, sir, sar : Tensor of shape (stem,)
    order : tuple of int
        Estimate ``order[j]`` was scored against reference j.
    stable : bool
        As in `bss_eval.BssEvalScores`; here it concerns `sdr` too.
    """

    sdr: Tensor
    sir: Tensor
    sar: Tensor
    order: tuple[int, ...]
    stable: bool


def bss_eval_sources(
    reference: Tensor, estimate: Tensor, *, filter_taps: int = FILTER_TAPS, permute: bool = False
) -> SourcesScores:
    """Score mono estimates over the whole clip, their true stems filtered at will.

    With P_own(s_j) and P_all(s) the projections of e_j on copies of reference j, and of all references, delayed by 0
    to 511 samples::

        SDR = |P_own|^2 / |e_j - P_own|^2   SIR = |P_own|^2 / |P_all - P_own|^2   SAR = |P_all|^2 / |e_j - P_all|^2

    Parameters
    ----------
    reference, estimate : Tensor of shape (stem, 1, sample)
        Mono: this version knows no channels. Mix down or score `bss_eval` images instead.
    filter_taps : int
        512 in every published number.
    permute : bool
        Reorder the estimates for the highest mean SIR, as the tools' wrappers do by default. It can hide a swap.

    Returns
    -------
    SourcesScores

    Raises
    ------
    ShapeError, ValueError
        If shapes do not fit or there is more than one channel; if taps are not positive.
    SilentStemError
        If a stem is silent over the whole clip.

    References
    ----------
    Vincent, Gribonval and Févotte, "Performance measurement in blind audio source separation", IEEE Trans. ASLP 14
    (2006). Equal to `bss_eval_sources` of mir_eval 0.8.
    """
    check_pair(reference, estimate)
    if reference.ndim != 3 or reference.shape[1] != 1:
        raise ShapeError("reference", "(stem, 1, sample)", reference.shape)
    if permute:
        scores, order = bss_eval_permuted(
            reference, estimate, window_samples=None, filter_taps=filter_taps, sources_version=True
        )
    else:
        scores, order = _in_order(reference, estimate, filter_taps), tuple(range(reference.shape[0]))
    return SourcesScores(
        sdr=scores.sdr[:, 0], sir=scores.sir[:, 0], sar=scores.sar[:, 0], order=order, stable=scores.stable
    )


def sources_sdr(reference: Tensor, estimate: Tensor) -> Tensor:
    """Give the v3 SDR of each stem, the `score` for which `sdr.nsdr` gives MIREX's and the thesis's NSDR.

    Parameters
    ----------
    reference, estimate : Tensor of shape ([batch,] stem, 1, sample)

    Returns
    -------
    float64 Tensor of shape ([batch,] stem), dB

    Raises
    ------
    ShapeError, SilentStemError
        As `bss_eval_sources`.
    """
    if reference.ndim == 4:
        return torch.stack([sources_sdr(s, e) for s, e in zip(reference, estimate, strict=True)])
    return bss_eval_sources(reference, estimate).sdr


def _in_order(reference: Tensor, estimate: Tensor, taps: int) -> BssEvalScores:
    return bss_eval(reference, estimate, window_samples=None, filter_taps=taps, sources_version=True)
