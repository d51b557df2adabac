"""Energies of the error terms of BSSEval in one frame, by block-wise filtering."""

import torch
from torch import Tensor

from mss_models.metrics.distortion_filters import DistortionFilters, to_bins
from mss_models.metrics.segments import Segments, fft_samples

# Rows of the energies of a frame.
SIGNAL, NOISE, SPATIAL, FILTERED, INTERFERENCE, PROJECTED, ARTIFACTS, BEYOND = range(8)
ENERGIES = 8
_MAX_SEGMENTS = 8


class FrameFilter:
    """Filter frames of references and measure what remains.

    Parameters
    ----------
    filters : DistortionFilters
    frame_samples : int or None
        Usual length of a frame; decides how much is computed at once, not what.
    beyond : bool
        Measure also what the filtered stem leaves of the estimate, for the sources version.
    """

    def __init__(self, filters: DistortionFilters, *, frame_samples: int | None, beyond: bool) -> None:
        self._stems, self._channels = filters.own.shape[:2]
        self.stable = filters.stable
        self._rows, self._beyond = self._stems * self._channels, beyond
        taps = filters.joint.shape[-1]
        fft = fft_samples(taps)
        step = fft - (taps - 1)
        capacity = (
            _MAX_SEGMENTS if frame_samples is None else min(_MAX_SEGMENTS, -(-(frame_samples + taps - 1) // step))
        )
        self._segments = Segments(rows=self._rows, taps=taps, capacity=capacity, device=filters.joint.device)
        own = torch.zeros_like(filters.joint)
        for stem in range(self._stems):
            span = slice(stem * self._channels, (stem + 1) * self._channels)
            own[span, span] = filters.own[stem]
        responses = torch.fft.rfft(torch.cat([own, filters.joint]), n=fft)  # (output, input, bin)
        # Stored as (bin, output, input), used transposed: the matrix products are twice as fast that way.
        self._responses = responses.permute(2, 0, 1).contiguous().mT
        self._difference = torch.empty(self._rows, capacity, fft, dtype=torch.float64, device=own.device)
        self.restart()

    def restart(self) -> None:
        """Begin a frame: no history, no energy."""
        self._segments.restart()
        self._energies = torch.zeros(ENERGIES, self._stems, dtype=torch.float64, device=self._difference.device)

    def add(self, reference: Tensor, estimate: Tensor) -> None:
        """Take the next samples of the frame, (stem, channel, sample) each."""
        references, estimates = reference.reshape(self._rows, -1), estimate.reshape(self._rows, -1)
        position, length = 0, references.shape[1]
        while position < length:
            part = slice(position, min(length, position + self._segments.room))
            self._segments.write(references[:, part], estimates[:, part])
            position = part.stop
            self._measure_if_full()

    def close(self) -> Tensor:
        """Give the energies (energy, stem) of the frame and of what the filters ring after it."""
        ringing = self._segments.history
        while ringing:
            count = min(ringing, self._segments.room)
            self._segments.write_zeros(count)
            ringing -= count
            self._measure_if_full()
        self._segments.complete()
        if self._segments.used:
            self._measure()
        return self._energies

    def _measure_if_full(self) -> None:
        if not self._segments.room:
            self._measure()
            self._segments.advance()

    def _measure(self) -> None:
        """Add the energies of the segments."""
        spectra = torch.bmm(to_bins(torch.fft.rfft(self._segments.delayed())), self._responses)
        outputs = torch.fft.irfft(spectra.permute(2, 1, 0), n=self._segments.fft)  # (output, segment, sample)
        # Samples in place of the history have wrapped round; zeros keep every row in one piece.
        outputs[..., : self._segments.history] = 0
        new = self._segments.new()
        s, e = new[: self._rows], new[self._rows :]
        own, joint = outputs[: self._rows], outputs[self._rows :]
        difference = self._difference[:, : s.shape[1]]
        self._note(SIGNAL, s)
        self._note(FILTERED, own)
        self._note(PROJECTED, joint)
        self._note(NOISE, torch.sub(e, s, out=difference))
        self._note(SPATIAL, torch.sub(own, s, out=difference))
        self._note(INTERFERENCE, torch.sub(joint, own, out=difference))
        self._note(ARTIFACTS, torch.sub(e, joint, out=difference))
        if self._beyond:
            self._note(BEYOND, torch.sub(e, own, out=difference))

    def _note(self, row: int, signals: Tensor) -> None:
        """Add the energy of (row, segment, sample) to a row of the energies."""
        for stem, signal in enumerate(signals.reshape(self._stems, -1)):
            self._energies[row, stem] += torch.dot(signal, signal)
