"""Terms of a training loss, each a mean over its elements, and their weighted sum.

All terms are differentiable, computed in float32 at least, and have finite values and gradients where stems,
estimates or the mixture are silent. Nothing is hidden: a NaN that comes in makes the terms it touches NaN.

Scale. Spectra are divided by the sum of the window, so a full-scale tone has the magnitude 0.5 at any
``n_fft`` and the weights of a recipe keep their meaning when the transform changes.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from mss_models.errors import ShapeError
from mss_models.stft import StftSettings, stft

TermName = Literal[
    "magnitude-l1",
    "magnitude-l2",
    "sdr",
    "waveform-l1",
    "waveform-mse",
    "spectrum-l1",
    "multi-resolution-stft",
    "log-energy",
]
TargetName = Literal["stem", "rectified-difference"]

_MAGNITUDE_TERMS = ("magnitude-l1", "magnitude-l2")
_SPECTRUM_TERMS = (*_MAGNITUDE_TERMS, "spectrum-l1")
_TRANSFORMING_TERMS = (*_SPECTRUM_TERMS, "multi-resolution-stft", "log-energy")

SILENCE_RMS = 1e-5
"""Level below which a signal counts as silent: 100 dB under full scale, under the noise of 16 bits."""
LARGEST_GAP = 0.1
"""Share of the mixture's norm below which spectral convergence no longer divides by the stem's own norm."""
ENERGY_THRESHOLD = 0.01
"""Error energy over mixture energy at which "log-energy" stops rewarding: 20 dB under the mixture."""


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a loss.

    Parameters
    ----------
    name : TermName
        - "magnitude-l1": mean of ``| |Y| - |Y^| |`` (thesis 2.18, 4.2, 5.2, 6.10).
        - "magnitude-l2": mean of ``(|Y| - |Y^|)^2`` (thesis 2.19).
        - "spectrum-l1": mean of the absolute differences of real and of imaginary parts.
        - "sdr": ``-(y . y^) / (||y|| ||y^||)`` of each item and stem, over channels and samples (thesis 6.11).
        - "waveform-l1", "waveform-mse": mean of ``|y - y^|`` and of ``(y - y^)^2``.
        - "multi-resolution-stft": spectral convergence plus log magnitude at half, once and twice the
          transform (Yamamoto et al. 2020, with windows as long as their transforms).
        - "log-energy": ``10 log10(||y - y^||^2 / ||x||^2 + 0.01)`` in dB (Wisdom et al. 2021).
    weight : float, >= 0
        Factor in `total`. A term of weight 0 is computed without gradient, to be logged only.
    n_fft, hop_length : int or None, samples
        The transform of a spectral term. None: the separator's own; a hop of None with an ``n_fft`` is a
        quarter of it. "log-energy" works on waveforms unless ``n_fft`` is given.
    target : {"stem", "rectified-difference"}
        What a magnitude term compares with: the stem's magnitude, or ``max(|X| - |X - Y|, 0)`` (thesis
        4.2.2), where ``X - Y`` is the mixture without the stem, its instrumental version.

    Raises
    ------
    ValueError
        If a value is out of its range or has no meaning for the term.

    References
    ----------
    Jansson, "Musical source separation with deep learning and large-scale datasets", 2019.
    Yamamoto, Song and Kim, "Parallel WaveGAN", ICASSP 2020.
    Wisdom et al., "What's all the fuss about free universal sound separation data?", ICASSP 2021.
    """

    name: TermName
    weight: float = 1.0
    n_fft: int | None = None
    hop_length: int | None = None
    target: TargetName = "stem"

    def __post_init__(self) -> None:
        if self.name not in get_args(TermName):
            raise ValueError(f"name must be one of {', '.join(get_args(TermName))}; got `{self.name}`")
        if not 0 <= self.weight < math.inf:
            raise ValueError(f"weight must be finite and not negative, got {self.weight}")
        if self.target not in get_args(TargetName):
            raise ValueError(f"target must be one of {', '.join(get_args(TargetName))}; got `{self.target}`")
        if self.target != "stem" and self.name not in _MAGNITUDE_TERMS:
            raise ValueError(f"target `{self.target}` is for magnitude terms, not for `{self.name}`")
        if self.hop_length is not None and self.n_fft is None:
            raise ValueError("hop_length needs n_fft")
        if self.n_fft is not None:
            if self.name not in _TRANSFORMING_TERMS:
                raise ValueError(f"n_fft has no meaning for `{self.name}`")
            self._own_settings(self.n_fft)
            if self.name == "multi-resolution-stft" and (self.n_fft % 4 or self.n_fft < 8):
                raise ValueError(f"n_fft must be a multiple of 4 for `{self.name}`, got {self.n_fft}")

    def settings(self, transform: StftSettings) -> StftSettings:
        """Return the transform of this term where the separator's own is ``transform``."""
        return transform if self.n_fft is None else self._own_settings(self.n_fft)

    def needs_waveforms(self, transform: StftSettings) -> bool:
        """Tell whether the estimates' spectra under ``transform`` are not enough to compute this term."""
        return self.name not in _SPECTRUM_TERMS or self.settings(transform) != transform

    def _own_settings(self, n_fft: int) -> StftSettings:
        return StftSettings(n_fft, max(1, n_fft // 4) if self.hop_length is None else self.hop_length)


def evaluate_terms(
    terms: Sequence[Term],
    *,
    estimates: Tensor | None,
    targets: Tensor,
    mixture: Tensor,
    transform: StftSettings,
    estimate_spectra: Tensor | None = None,
) -> dict[str, Tensor]:
    """Compute each term, unweighted.

    Parameters
    ----------
    terms : sequence of Term
        At least one; each name once.
    estimates : Tensor of shape (batch, stem, channel, sample), or None
        Estimated stems. None is enough if ``estimate_spectra`` is given and no term needs waveforms.
    targets : Tensor of shape (batch, stem, channel, sample)
        True stems.
    mixture : Tensor of shape (batch, channel, sample)
        What the estimates were made from.
    transform : StftSettings
        The separator's own transform, for terms that name no other.
    estimate_spectra : complex Tensor of shape (batch, stem, channel, bin, frame), or None
        What the separator estimated before its inverse transform, as `mss_models.stft.stft` scales it. Terms
        on the separator's own transform use it instead of transforming ``estimates``: the thesis's
        ``|Y^| = M |X|``, which the spectrogram of the inverse only comes near to.

    Returns
    -------
    dict from name to Tensor of shape ()
        In the order of ``terms``. float32, or float64 for float64 input.

    Raises
    ------
    ShapeError
        If axes do not fit one another.
    ValueError
        If there is no term, a name occurs twice, or waveforms are missing.
    """
    names = [term.name for term in terms]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"terms must be at least one and each name once, got {names}")
    _check_shapes(estimates, targets, mixture, estimate_spectra)
    if estimates is None:
        missing = [term.name for term in terms if estimate_spectra is None or term.needs_waveforms(transform)]
        if missing:
            raise ValueError(f"estimates: {', '.join(missing)} cannot be computed without waveforms")
    batch = _Batch(estimates, targets, mixture, transform, estimate_spectra)
    values: dict[str, Tensor] = {}
    for term in terms:
        with nullcontext() if term.weight else torch.no_grad():
            values[term.name] = _evaluate(term, batch)
    return values


def total(terms: Sequence[Term], values: Mapping[str, Tensor]) -> Tensor:
    """Sum terms by their weights, as in ``alpha SDR + beta magnitude`` (thesis 6.12).

    Parameters
    ----------
    terms : sequence of Term
        At least one of a weight above 0.
    values : mapping from name to Tensor of shape ()
        What `evaluate_terms` returned for them.

    Returns
    -------
    Tensor of shape ()
        The loss to minimise.

    Raises
    ------
    ValueError
        If no term has a weight above 0.
    """
    weighted = [term.weight * values[term.name] for term in terms if term.weight]
    if not weighted:
        raise ValueError("terms: none has a weight above 0")
    return torch.stack(weighted).sum()


class _Batch:
    """Signals in full precision and their spectra, each transformed once."""

    def __init__(
        self,
        estimates: Tensor | None,
        targets: Tensor,
        mixture: Tensor,
        transform: StftSettings,
        estimate_spectra: Tensor | None,
    ) -> None:
        self._estimates = None if estimates is None else _full_precision(estimates)
        self.targets = _full_precision(targets)
        self.mixture = _full_precision(mixture).unsqueeze(1)  # (batch, 1, channel, sample)
        self.transform = transform
        self._target_spectra: dict[StftSettings, Tensor] = {}
        self._mixture_spectra: dict[StftSettings, Tensor] = {}
        self._estimate_spectra: dict[tuple[StftSettings, bool], Tensor] = {}
        self._given_spectra = None if estimate_spectra is None else estimate_spectra / transform.window_sum
        if estimate_spectra is not None and estimate_spectra.shape[-2:] != (
            transform.bins,
            transform.frames(targets.shape[-1]),
        ):
            expected = f"(..., {transform.bins} bins, {transform.frames(targets.shape[-1])} frames)"
            raise ShapeError("estimate_spectra", expected, estimate_spectra.shape)

    @property
    def estimates(self) -> Tensor:
        if self._estimates is None:
            raise ValueError("estimates: waveforms are missing")
        return self._estimates

    def target_spectrum(self, settings: StftSettings) -> Tensor:
        """(batch, stem, channel, bin, frame)."""
        if settings not in self._target_spectra:
            self._target_spectra[settings] = _spectrum(self.targets, settings)
        return self._target_spectra[settings]

    def mixture_spectrum(self, settings: StftSettings) -> Tensor:
        """(batch, 1, channel, bin, frame)."""
        if settings not in self._mixture_spectra:
            self._mixture_spectra[settings] = _spectrum(self.mixture, settings)
        return self._mixture_spectra[settings]

    def estimate_spectrum(self, settings: StftSettings) -> Tensor:
        """(batch, stem, channel, bin, frame)."""
        if self._given_spectra is not None and settings == self.transform:
            return self._given_spectra
        # A spectrum made for a term that is only logged has no gradient and must not serve the others.
        key = (settings, torch.is_grad_enabled())
        if key not in self._estimate_spectra:
            self._estimate_spectra[key] = _spectrum(self.estimates, settings)
        return self._estimate_spectra[key]


def _evaluate(term: Term, batch: _Batch) -> Tensor:
    settings = term.settings(batch.transform)
    match term.name:
        case "magnitude-l1":
            return _magnitude_difference(term, batch, settings).abs().mean()
        case "magnitude-l2":
            return _magnitude_difference(term, batch, settings).square().mean()
        case "spectrum-l1":
            difference = batch.estimate_spectrum(settings) - batch.target_spectrum(settings)
            return torch.view_as_real(difference).abs().mean()
        case "sdr":
            return _negative_cosine(batch.targets, batch.estimates)
        case "waveform-l1":
            return (batch.targets - batch.estimates).abs().mean()
        case "waveform-mse":
            return (batch.targets - batch.estimates).square().mean()
        case "multi-resolution-stft":
            return _multi_resolution(batch, settings)
        case "log-energy":
            return _log_energy(term, batch, settings)


def _magnitude_difference(term: Term, batch: _Batch, settings: StftSettings) -> Tensor:
    # torch gives the magnitude of exactly 0 the gradient 0, so silence needs no floor here.
    target = batch.target_spectrum(settings)
    if term.target == "stem":
        magnitude = target.abs()
    else:
        mixture = batch.mixture_spectrum(settings)
        magnitude = (mixture.abs() - (mixture - target).abs()).clamp_min(0.0)
    return magnitude - batch.estimate_spectrum(settings).abs()


def _negative_cosine(targets: Tensor, estimates: Tensor) -> Tensor:
    """(6.11); a norm under `SILENCE_RMS` is raised to it: silent stems give 0 and no gradient."""
    floor = SILENCE_RMS * math.sqrt(targets.shape[-1] * targets.shape[-2])
    product = (targets * estimates).sum(dim=(-2, -1))  # (batch, stem)
    norms = _norm(targets, (-2, -1)).clamp_min(floor) * _norm(estimates, (-2, -1)).clamp_min(floor)
    return -(product / norms).mean()


def _multi_resolution(batch: _Batch, settings: StftSettings) -> Tensor:
    parts = []
    for doubled in (1, 2, 4):
        # The hop of the halved transform is rounded down, so that it never grows past what a window can bridge.
        resolution = StftSettings(settings.n_fft * doubled // 2, max(1, settings.hop_length * doubled // 2))
        target, estimate = batch.target_spectrum(resolution), batch.estimate_spectrum(resolution)
        axes = (-3, -2, -1)
        cells = math.prod(target.shape[-3:])
        scale = torch.maximum(
            _norm(target.abs(), axes), LARGEST_GAP * _norm(batch.mixture_spectrum(resolution).abs(), axes)
        ).clamp_min(SILENCE_RMS * math.sqrt(cells))
        convergence = _norm(target.abs() - estimate.abs(), axes) / scale  # (batch, stem)
        parts.append(convergence.mean() + (_log_magnitude(target) - _log_magnitude(estimate)).abs().mean())
    return torch.stack(parts).mean()


def _log_magnitude(spectrum: Tensor) -> Tensor:
    """Natural logarithm of the magnitude, of an energy that never falls under that of silence."""
    energy = torch.view_as_real(spectrum).square().sum(dim=-1)
    return 0.5 * torch.log(energy + SILENCE_RMS**2)


def _log_energy(term: Term, batch: _Batch, settings: StftSettings) -> Tensor:
    if term.n_fft is None:
        difference, mixture = batch.targets - batch.estimates, batch.mixture
    else:
        difference = torch.view_as_real(batch.target_spectrum(settings) - batch.estimate_spectrum(settings))
        mixture = torch.view_as_real(batch.mixture_spectrum(settings))
    error = difference.square().flatten(2).mean(dim=-1)  # (batch, stem)
    whole = mixture.square().flatten(2).mean(dim=-1).clamp_min(SILENCE_RMS**2)  # (batch, 1)
    return 10 * torch.log10(error / whole + ENERGY_THRESHOLD).mean()


def _spectrum(signal: Tensor, settings: StftSettings) -> Tensor:
    return stft(signal, settings) / settings.window_sum


def _norm(values: Tensor, axes: tuple[int, ...]) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(values, dim=axes)
    return norm


def _full_precision(signal: Tensor) -> Tensor:
    return signal if signal.dtype == torch.float64 else signal.float()


def _check_shapes(estimates: Tensor | None, targets: Tensor, mixture: Tensor, estimate_spectra: Tensor | None) -> None:
    if targets.ndim != 4 or targets.numel() == 0:
        raise ShapeError("targets", "(batch, stem, channel, sample), none empty", targets.shape)
    if estimates is not None and estimates.shape != targets.shape:
        raise ShapeError("estimates", f"{tuple(targets.shape)} as the targets", estimates.shape)
    expected = (targets.shape[0], *targets.shape[2:])
    if tuple(mixture.shape) != expected:
        raise ShapeError("mixture", f"(batch, channel, sample) = {expected}", mixture.shape)
    if estimate_spectra is not None and (estimate_spectra.ndim != 5 or estimate_spectra.shape[:3] != targets.shape[:3]):
        raise ShapeError("estimate_spectra", f"{tuple(targets.shape[:3])} + (bin, frame)", estimate_spectra.shape)
