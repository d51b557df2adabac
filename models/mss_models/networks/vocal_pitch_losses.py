"""Losses of joint vocal separation and vocal pitch (A. Jansson's thesis, 2019, equations 5.2 to 5.4)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mss_models.errors import ShapeError
from mss_models.networks.vocal_pitch_unet import VocalPitchEstimate


@dataclass(frozen=True, slots=True)
class VocalPitchLosses:
    """The terms of the joint loss, each a Tensor of shape (); None for what the wiring does not estimate.

    Attributes
    ----------
    source, pitch : Tensor or None
        (5.2) and (5.3) of the outputs.
    inner_source, inner_pitch : Tensor or None
        The same of the inner estimates of "source-pitch-source-pitch".
    """

    source: Tensor | None
    pitch: Tensor | None
    inner_source: Tensor | None
    inner_pitch: Tensor | None

    def total(self, *, pitch_weight: float = 1.0) -> Tensor:
        """Sum the terms there are (5.4).

        Parameters
        ----------
        pitch_weight : float, >= 0
            Factor of the terms of pitch; the thesis has none.

        Returns
        -------
        Tensor of shape ()
            The loss.

        Raises
        ------
        ValueError
            If there is no term.
        """
        terms = [term for term in (self.source, self.inner_source) if term is not None]
        terms += [pitch_weight * term for term in (self.pitch, self.inner_pitch) if term is not None]
        if not terms:
            raise ValueError("an estimate of nothing has no loss")
        return torch.stack(terms).sum()


def vocal_pitch_losses(
    reference_magnitude: Tensor, reference_salience: Tensor | None, estimate: VocalPitchEstimate
) -> VocalPitchLosses:
    """Compare what a wiring estimates with the true vocals and their salience.

    In the phase "pitch" of a separate training the source term is a constant: it is a figure to log, and moves
    nothing.

    Parameters
    ----------
    reference_magnitude : float Tensor of shape (batch, 1, bin, frame)
        From `VocalPitchUnet.magnitude` of the vocals.
    reference_salience : float Tensor of shape (batch, 360, frame) or None
        None if the wiring estimates no pitch. As from `mss_models.salience.render` or a teacher, in [0, 1].
    estimate : VocalPitchEstimate
        From `VocalPitchUnet`.

    Returns
    -------
    VocalPitchLosses
        The terms apart.

    Raises
    ------
    ShapeError
        If shapes differ.
    """
    return VocalPitchLosses(
        source=_mapped(source_loss, reference_magnitude, estimate.magnitude),
        pitch=_mapped(pitch_loss, reference_salience, estimate.salience),
        inner_source=_mapped(source_loss, reference_magnitude, estimate.inner_magnitude),
        inner_pitch=_mapped(pitch_loss, reference_salience, estimate.inner_salience),
    )


def source_loss(reference: Tensor, estimate: Tensor) -> Tensor:
    """Mean of the absolute differences of magnitudes (5.2, read as 2.18); shape ()."""
    _check(reference, estimate)
    return (estimate - reference).abs().mean()


def pitch_loss(reference: Tensor, estimate: Tensor) -> Tensor:
    """Mean of the squared differences of saliences (5.3, its 2-norm read as 2.19); shape ()."""
    _check(reference, estimate)
    return (estimate - reference).square().mean()


def _mapped(
    loss: Callable[[Tensor, Tensor], Tensor], reference: Tensor | None, estimate: Tensor | None
) -> Tensor | None:
    if estimate is None:
        return None
    if reference is None:
        raise ShapeError("reference_salience", f"{tuple(estimate.shape)}, as the estimate", ())
    return loss(reference, estimate)


def _check(reference: Tensor, estimate: Tensor) -> None:
    if reference.shape != estimate.shape:
        raise ShapeError("estimate", f"{tuple(reference.shape)}, as the reference", estimate.shape)
