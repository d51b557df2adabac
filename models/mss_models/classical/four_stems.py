"""Four stems without trained weights: cues of the mixture, weighed into generalised Wiener masks."""

from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

from mss_models.classical.cue_weights import (
    CONFIDENCE,
    CUE_KNOTS_HZ,
    CUE_WEIGHTS,
    LEVEL_POWER,
    OFFSET_KNOTS_HZ,
    OFFSETS,
    SHARE_FLOOR,
    SIDE_OFFSETS,
)
from mss_models.classical.cues import Bands, CueSettings, cues, interpolation_over_log_frequency, make_bands
from mss_models.classical.panning import mid_side
from mss_models.errors import ShapeError
from mss_models.separator import Normalization, Precision
from mss_models.stft import StftSettings, istft, stft


@dataclass(frozen=True, slots=True)
class ClassicalSettings:
    """Settings of `ClassicalSeparator`; the table of constants was chosen for the default ones.

    Parameters
    ----------
    segment_seconds : float, > 0
        Stretch in which repetitions are looked for.
    transform : StftSettings
        Resolution of the masks: 93 ms and 10.8 Hz keep neighbouring semitones apart from 200 Hz on.
    cues : CueSettings
        Window lengths of the cues.

    Raises
    ------
    ValueError
        If a segment would be empty.
    """

    segment_seconds: float = 20.0
    transform: StftSettings = field(default_factory=lambda: StftSettings(4096, 1024))
    cues: CueSettings = field(default_factory=CueSettings)

    def __post_init__(self) -> None:
        if not 0 < self.segment_seconds <= 60:
            raise ValueError(f"segment_seconds must be in (0, 60], got {self.segment_seconds}")


class ClassicalSeparator:
    """Separate vocals, drums, bass and other by position, steadiness and repetition.

    Middle and side of the mixture are masked apart. In the middle stem ``j`` first has the share

    ``exp(o_j(f) + sum_c w_cj(f) * cue_c(f, t))`` over the sum of that for all stems,

    a generalised Wiener filter whose powers are products of powers of cues; in the side an offset ``s_j(f)`` is
    added. These masks tell how much of the segment's energy each stem holds around four frequencies; the second
    and last masks are the first ones times that share to a power ``g``, all to a power a little below 1 and
    renormalised. So a stem that the
    segment lacks takes little, as in one step of expectation-maximisation. ``o``, ``s``, ``w`` and ``g`` are the
    constants of `mss_models.classical.cue_weights`. The last stem is what the others leave, so the stems sum to
    the mixture. For a mono mixture (two equal channels) the position cues are constant and the others decide.

    Nothing is kept between calls; every item of a batch is separated on its own.

    Parameters
    ----------
    settings : ClassicalSettings
        Resolution and window lengths.

    References
    ----------
    FitzGerald, DAFx 2010 (medians); Rafii and Pardo, ISMIR 2012 (similar frames); Barry, Lawlor and Coyle, DAFx
    2004 (position); Liutkus and Badeau, ICASSP 2015 (generalised Wiener masks). Their combination is ours.
    """

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100
    channels: int = 2
    normalization: Normalization = "none"
    precisions: tuple[Precision, ...] = ("fp32",)

    def __init__(self, settings: ClassicalSettings | None = None) -> None:
        self.settings = settings or ClassicalSettings()

    @property
    def segment_samples(self) -> int:
        """Samples in a segment."""
        return max(1, round(self.settings.segment_seconds * self.sample_rate))

    def prepare(self, device: torch.device, precision: Precision) -> None:
        """Check the precision; there is nothing to move.

        Raises
        ------
        ValueError
            If `precision` is not "fp32".
        """
        if precision not in self.precisions:
            raise ValueError(f"precision must be `fp32`, got `{precision}`")

    def separate(self, mixture: Tensor) -> Tensor:
        """Estimate the stems of a batch of segments.

        Parameters
        ----------
        mixture : float32 Tensor of shape (batch, 2, sample)
            At 44100 Hz, finite, from 1 sample on; best at most 60 s, because memory and time grow with it.

        Returns
        -------
        float32 Tensor of shape (batch, 4, 2, sample)
            Vocals, drums, bass, other. They sum to the mixture; zero for silence.

        Raises
        ------
        ShapeError
            If the mixture has not these axes.
        """
        if mixture.ndim != 3 or mixture.shape[1] != self.channels or mixture.shape[2] < 1:
            raise ShapeError("mixture", "(batch, 2, sample) with at least 1 sample", mixture.shape)
        estimates = mixture.new_zeros((mixture.shape[0], len(self.stems), *mixture.shape[1:]))
        with torch.inference_mode():
            for item, stems in zip(mixture, estimates, strict=True):
                self._separate_one(item, stems)
        return estimates

    def _separate_one(self, mixture: Tensor, stems: Tensor) -> None:
        """Write the stems (4, 2, sample) of one mixture (2, sample)."""
        peak = mixture.abs().amax()
        if peak == 0:
            return
        # Squares of very small or large samples would leave the range of float32.
        spectrum = stft(mid_side(mixture / peak), self.settings.transform)  # (2, bin, frame)
        plan = _plan(self.settings, self.sample_rate, mixture.device)
        evidence = self._evidence(spectrum, plan)
        evidence += self._level_evidence(spectrum, evidence, plan)
        middle, side = (
            ((evidence + offset) * CONFIDENCE).softmax(dim=0) for offset in (plan.offsets, plan.side_offsets)
        )
        for number in range(len(self.stems) - 1):
            masked = torch.stack([spectrum[0] * middle[number], spectrum[1] * side[number]])
            stems[number] = mid_side(istft(masked, self.settings.transform, mixture.shape[-1])) * peak
        stems[-1] = mixture - stems[:-1].sum(dim=0)

    def _evidence(self, spectrum: Tensor, plan: "_Plan") -> Tensor:
        """Sum of the weighted cues, (stem, bin, frame), the bins of a frame side by side in memory."""
        _, bins, frames = spectrum.shape
        evidence = spectrum.real.new_zeros((len(self.stems), frames, bins)).transpose(-1, -2)
        sources = cues(spectrum, plan.frequencies, plan.bands, self.settings.cues)
        for cue, weights in zip(sources, plan.weights, strict=True):
            evidence.addcmul_(weights, cue)
        return evidence

    def _level_evidence(self, spectrum: Tensor, evidence: Tensor, plan: "_Plan") -> Tensor:
        """Logarithms of the powers of what each stem holds of the segment, (stem, bin, 1)."""
        held = torch.zeros_like(evidence[:, :, 0])  # (stem, bin)
        # Sums over the whole segment: every third frame tells them as well, in a third of the time.
        for channel, offset in zip(spectrum[..., ::3], (plan.offsets, plan.side_offsets), strict=True):
            energy = channel.real.square() + channel.imag.square()  # (bin, frame)
            held += (evidence[..., ::3] + offset).softmax(dim=0).mul_(energy).sum(dim=-1)
        held = held @ plan.knots  # (stem, knot)
        shares = held / held.sum(dim=0).clamp(min=torch.finfo(held.dtype).tiny)
        return (LEVEL_POWER * (shares + SHARE_FLOOR).log() @ plan.knots.T).unsqueeze(-1)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The constants laid over the bins.

    `knots` (bin, knot), `weights` (cue, stem, bin, 1), `offsets` and `side_offsets` (stem, bin, 1).
    """

    frequencies: Tensor
    bands: Bands
    knots: Tensor
    weights: Tensor
    offsets: Tensor
    side_offsets: Tensor


@lru_cache(maxsize=4)
def _plan(settings: ClassicalSettings, sample_rate: int, device: torch.device) -> _Plan:
    with torch.inference_mode(False):
        bins = settings.transform.bins
        frequencies = torch.arange(bins, dtype=torch.float32, device=device) * (sample_rate / settings.transform.n_fft)

        def over_bins(knots_hz: tuple[float, ...], values: Tensor) -> Tensor:
            """(..., knot, stem) to (..., stem, bin, 1)."""
            matrix = interpolation_over_log_frequency(frequencies, torch.tensor(knots_hz, device=device))
            return (matrix @ values.to(device)).transpose(-1, -2).unsqueeze(-1)

        offsets = over_bins(OFFSET_KNOTS_HZ, torch.tensor(OFFSETS))
        return _Plan(
            frequencies=frequencies,
            bands=make_bands(frequencies, settings.cues.bands),
            knots=interpolation_over_log_frequency(frequencies, torch.tensor(CUE_KNOTS_HZ, device=device)),
            weights=over_bins(CUE_KNOTS_HZ, torch.tensor([table for _, table in CUE_WEIGHTS])),
            offsets=offsets,
            side_offsets=offsets + over_bins(OFFSET_KNOTS_HZ, torch.tensor(SIDE_OFFSETS)),
        )
