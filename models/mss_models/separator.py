"""The one protocol of everything that can separate: networks, classical methods, oracles, ensembles.

Separators that also tell the pitch of the vocals have two members more (`PitchSeparator`), those that want the last
segment of a track filled up have one (`SegmentFiller`). Separators that hear a whole track at once are in
`mss_models.tracks`.
"""

from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

Precision = Literal["fp32", "bf16", "fp16"]
Normalization = Literal["none", "deviation", "peak"]


@runtime_checkable
class Separator(Protocol):
    """Anything that turns a mixture into stems.

    A separator sees one batch of equally long segments at a time and keeps nothing between calls; only
    `mss_models.streaming` cuts tracks into segments and joins the estimates again.

    Attributes
    ----------
    stems : tuple of str
        Names of the estimates, in the order of the stem axis.
    sample_rate : int, Hz
        Rate of the mixture it expects.
    channels : int
        Channels it expects: 1 or 2.
    segment_samples : int
        Segment length it works best with, in samples at `sample_rate`.
    normalization : {"none", "deviation", "peak"}
        What a first pass over the whole track must measure before the second one separates:
        "deviation" shifts and scales by mean and standard deviation of the channel mean; "peak" scales
        by the largest absolute sample. The streaming engine applies it and undoes it on the estimates.
    precisions : tuple of str
        Precisions it can compute in; "fp32" is always among them.
    """

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the estimates, in the order of the stem axis."""

    @property
    def sample_rate(self) -> int:
        """Rate of the mixture it expects, Hz."""

    @property
    def channels(self) -> int:
        """Channels it expects: 1 or 2."""

    @property
    def segment_samples(self) -> int:
        """Segment length it works best with, in samples at `sample_rate`."""

    @property
    def normalization(self) -> Normalization:
        """What a first pass over the whole track must measure."""

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Precisions it can compute in."""

    def prepare(self, device: torch.device, precision: Precision) -> None:
        """Move to a device and fix the precision, once, before the first call of `separate`.

        Networks fold batch normalisation and choose their memory layout here.
        """

    def separate(self, mixture: Tensor) -> Tensor:
        """Estimate the stems of a batch of segments.

        Parameters
        ----------
        mixture : float32 Tensor of shape (batch, channel, sample)
            On the device of `prepare`; any number of samples from 1 on.

        Returns
        -------
        float32 Tensor of shape (batch, stem, channel, sample)
            As long as the mixture and aligned with it; finite; zero for silence.
        """


@runtime_checkable
class SegmentFiller(Separator, Protocol):
    """A separator that can want whole segments only.

    Attributes
    ----------
    fills_segments : bool
        Whether what is left at the end of a track, shorter than a segment, stands in the middle of a whole one: after
        what was there before it, and before silence.
    """

    @property
    def fills_segments(self) -> bool:
        """Whether the last segment of a track is filled up on both sides."""


@runtime_checkable
class PitchSeparator(Separator, Protocol):
    """A separator that also tells the pitch of the vocals.

    Attributes
    ----------
    salience_hop : int, samples
        Distance between frames of the salience, at `sample_rate`.
    """

    @property
    def salience_hop(self) -> int:
        """Distance between frames of the salience, in samples at `sample_rate`."""

    def salience(self, mixture: Tensor) -> Tensor:
        """Tell how likely each pitch is in each frame.

        Parameters
        ----------
        mixture : float32 Tensor of shape (batch, channel, sample)
            As for `separate`.

        Returns
        -------
        float32 Tensor of shape (batch, 360, frame)
            In [0, 1], on the grid of `mss_models.salience`. Frame ``k`` is centred on sample ``k * salience_hop``,
            and there are ``ceil(sample / salience_hop)``.
        """
