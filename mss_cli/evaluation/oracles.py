"""Estimates made from the true stems: the best that masks of a kind can do.

STFT 2048/1024 with a Hann window, as in the oracles of SiSEC 2018, in float64, block by block. Every stem is filtered
from the mixture; the sum of all stems but the vocals is the accompaniment.

References
----------
Stöter, Liutkus and Ito, "The 2018 signal separation evaluation campaign", LVA/ICA 2018 (IBM, IRM, MWF); Liutkus and
Badeau, "Generalized Wiener filtering with fractional power spectrograms", ICASSP 2015 (IRM); Duong, Vincent and
Gribonval, IEEE TASLP 18 (2010) (MWF); Williamson, Wang and Wang, IEEE/ACM TASLP 24 (2016) (complex masks).
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mss_models.masks import complex_ideal_ratio_masks, ratio_masks, threshold_masks
from mss_models.stft import StftSettings, istft, stft

Block = NDArray[np.float32]
Oracle = Literal["irm1", "irm2", "ibm1", "ibm2", "cirm", "mwf"]
ORACLES: tuple[Oracle, ...] = get_args(Oracle)

_STFT = StftSettings(n_fft=2048, hop_length=1024)
_HOP = _STFT.hop_length
_CHUNK = 64 * _HOP
_EPS = float(np.finfo(np.float64).eps)

# Spectra of references (stem, channel, bin, frame) and mixture (channel, bin, frame) to estimates like the first.
_Filter = Callable[[Tensor, Tensor], Tensor]


def oracle_estimates(oracle: Oracle, source: Callable[[], Iterator[Block]], *, channels: int) -> Iterator[Block]:
    """Filter the true stems out of their mixture.

    ========  ============================================================================================
    irm1      ``|y_j| / sum_k |y_k|`` per channel
    irm2      the same with powers
    ibm1      1 where ``|y_j| >= |x| / 2``, else 0
    ibm2      1 where ``|y_j|^2 >= |x|^2 / 2``, else 0
    cirm      ``y_j / x``, magnitudes above 1 cut to 1: the best a bounded complex mask can do
    mwf       multichannel Wiener filter with true power spectra and one true spatial covariance per bin
    ========  ============================================================================================

    Parameters
    ----------
    oracle : {"irm1", "irm2", "ibm1", "ibm2", "cirm", "mwf"}
    source : callable
        Gives float32 blocks of shape (1 + stem, channel, sample) from the start: the mixture, then the true stems.
        Called twice for "mwf".
    channels : int

    Yields
    ------
    float32 array of shape (stem, channel, sample)
        Together as long as the source.
    """
    filters: dict[Oracle, _Filter] = {
        "irm1": partial(_ratio, power=1.0),
        "irm2": partial(_ratio, power=2.0),
        "ibm1": partial(_binary, power=1.0),
        "ibm2": partial(_binary, power=2.0),
        "cirm": _complex,
    }
    filtered = partial(_wiener, covariances=_covariances(source(), channels)) if oracle == "mwf" else filters[oracle]
    for segment, before, samples in _segments(source()):
        spectra = stft(segment, _STFT)  # (1 + stem, channel, bin, frame)
        estimates = istft(filtered(spectra[1:], spectra[0]), _STFT, segment.shape[-1])  # (stem, channel, sample)
        yield estimates[..., before : before + samples].numpy().astype(np.float32)


def _ratio(references: Tensor, mixture: Tensor, *, power: float) -> Tensor:
    return ratio_masks(references.abs()[None], power=power)[0] * mixture


def _binary(references: Tensor, mixture: Tensor, *, power: float) -> Tensor:
    return threshold_masks(references.abs()[None], mixture.abs()[None], power=power)[0] * mixture


def _complex(references: Tensor, mixture: Tensor) -> Tensor:
    masks = complex_ideal_ratio_masks(references[None], mixture[None])[0]
    return masks / masks.abs().clamp(min=1.0) * mixture


def _segments(blocks: Iterator[Block]) -> Iterator[tuple[Tensor, int, int]]:
    """Cut a stream into chunks with one hop of context on both sides, so that frames on the chunk are whole.

    Gives the segment, float64 (signal, channel, sample), and the place and length of the chunk in it.
    """
    kept: list[Block] = []
    context = held = 0  # samples of context at the start of `kept`, and all samples in it
    for block in blocks:
        kept.append(block)
        held += block.shape[-1]
        while held >= context + _CHUNK + _HOP:
            joined = np.concatenate(kept, axis=-1)
            yield _tensor(joined[..., : context + _CHUNK + _HOP]), context, _CHUNK
            rest = joined[..., context + _CHUNK - _HOP :]
            kept, context, held = [rest], _HOP, rest.shape[-1]
    if held > context:
        yield _tensor(np.concatenate(kept, axis=-1)), context, held - context


def _tensor(samples: Block) -> Tensor:
    return torch.from_numpy(samples.astype(np.float64))


def _covariances(blocks: Iterator[Block], channels: int) -> Tensor:
    """Spatial covariance of each stem and bin, (stem, bin, channel, channel), trace = channels.

    Mean over frames of ``y y^H / mean_c |y_c|^2``: every frame tells as much, however loud.
    """
    total: Tensor | None = None
    for segment, before, samples in _segments(blocks):
        spectra = stft(segment, _STFT)[1:]  # (stem, channel, bin, frame)
        # Frame k of the segment starts one hop before sample k * hop; the chunk owns the frames that start before it.
        first = before // _HOP
        last = spectra.shape[-1] if samples < _CHUNK else first + samples // _HOP
        own = spectra[..., first:last]
        power = own.abs().square().mean(dim=1)  # (stem, bin, frame)
        part = torch.einsum("scft,sdft,sft->sfcd", own, own.conj(), (1.0 / (_EPS + power)).to(own.dtype))
        total = part if total is None else total + part
    if total is None:
        raise ValueError("no samples")
    unit = torch.eye(channels, dtype=total.dtype)
    trace = total.diagonal(dim1=-2, dim2=-1).sum(dim=-1).real  # (stem, bin)
    silent = (trace == 0)[..., None, None]
    scaled = total * (channels / trace.masked_fill(trace == 0, 1.0))[..., None, None]
    return torch.where(silent, unit, scaled) + 1e-10 * unit


def _wiener(references: Tensor, mixture: Tensor, *, covariances: Tensor) -> Tensor:
    """Filter with ``v_j R_j (sum_k v_k R_k)^-1``, where ``v_j = tr(R_j^-1 y_j y_j^H) / channels``."""
    channels = mixture.shape[0]
    inverse = torch.linalg.inv(covariances)
    powers = torch.einsum("sfcd,sdft,scft->sft", inverse, references, references.conj()).real.clamp(min=0) / channels
    unit = torch.eye(channels, dtype=mixture.dtype)
    model = torch.einsum("sft,sfcd->ftcd", powers.to(mixture.dtype), covariances) + _EPS * unit
    whitened = torch.linalg.solve(model, mixture.permute(1, 2, 0)[..., None])[..., 0]  # (bin, frame, channel)
    return torch.einsum("sft,sfcd,ftd->scft", powers.to(mixture.dtype), covariances, whitened)
