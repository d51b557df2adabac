"""Energies of the error terms of BSSEval in one frame, by block-wise filtering."""

import torch
from torch import Tensor

from mss_models.metrics.distortion_filters import SEGMENTS_AT_ONCE, DistortionFilters, fft_samples, to_bin_major

# Rows of the energies of a frame.
SIGNAL, NOISE, SPATIAL, FILTERED, INTERFERENCE, PROJECTED, ARTIFACTS, BEYOND = range(8)
ENERGIES = 8


class FrameFilter:
    """Filter frames of references and measure what remains.

    Parameters
    ----------
    filters : DistortionFilters
    """

    def __init__(self, filters: DistortionFilters) -> None:
        self._stems, self._channels = filters.own.shape[:2]
        self._rows = self._stems * self._channels
        taps = filters.joint.shape[-1]
        self._history = taps - 1
        self._fft = fft_samples(taps)
        self._step = self._fft - self._history
        own = torch.zeros_like(filters.joint)
        for stem in range(self._stems):
            span = slice(stem * self._channels, (stem + 1) * self._channels)
            own[span, span] = filters.own[stem]
        self._responses = to_bin_major(torch.fft.rfft(torch.cat([own, filters.joint]), n=self._fft))
        self.restart()

    def restart(self) -> None:
        """Begin a frame: no history, no energy."""
        self._energies = self._responses.new_zeros(ENERGIES, self._stems, dtype=torch.float64)
        self._past = self._responses.new_zeros(self._rows, self._history, dtype=torch.float64)

    def add(self, reference: Tensor, estimate: Tensor) -> None:
        """Take the next samples of the frame, float64 (stem, channel, sample) each."""
        self._run(reference.reshape(self._rows, -1), estimate.reshape(self._rows, -1), tail=0)

    def close(self, reference: Tensor, estimate: Tensor) -> Tensor:
        """Take the last samples of the frame; give the energies (energy, stem) of the frame and its decay."""
        self._run(reference.reshape(self._rows, -1), estimate.reshape(self._rows, -1), tail=self._history)
        return self._energies

    def _run(self, reference: Tensor, estimate: Tensor, *, tail: int) -> None:
        length = reference.shape[1] + tail
        segments = -(-length // self._step)
        padding = segments * self._step - reference.shape[1]
        delayed = torch.nn.functional.pad(torch.cat([self._past, reference], dim=1), (0, padding))
        targets = torch.nn.functional.pad(estimate, (self._history, padding))
        if not tail:
            self._past = torch.cat([self._past, reference], dim=1)[:, -self._history :].clone()
        for first in range(0, segments, SEGMENTS_AT_ONCE):
            last = min(first + SEGMENTS_AT_ONCE, segments)
            part = slice(first * self._step, last * self._step + self._history)
            self._measure(delayed[:, part], targets[:, part])

    def _measure(self, delayed: Tensor, targets: Tensor) -> None:
        """Add the energies of some segments; both inputs begin with history."""
        inputs = delayed.unfold(1, self._fft, self._step)  # (row, segment, sample)
        spectra = torch.bmm(self._responses, to_bin_major(torch.fft.rfft(inputs)))
        outputs = torch.fft.irfft(spectra.permute(1, 2, 0), n=self._fft)
        # Only the samples after the history are valid; zeros elsewhere keep all rows contiguous.
        s, e = inputs.clone(memory_format=torch.contiguous_format), targets.unfold(1, self._fft, self._step).clone()
        for signal in (outputs, s, e):
            signal[..., : self._history] = 0
        filtered, projected = outputs[: self._rows], outputs[self._rows :]
        self._note(SIGNAL, s)
        self._note(FILTERED, filtered)
        self._note(PROJECTED, projected)
        difference = torch.sub(e, s)
        self._note(NOISE, difference)
        self._note(BEYOND, torch.sub(e, filtered, out=difference))
        self._note(SPATIAL, torch.sub(filtered, s, out=difference))
        self._note(INTERFERENCE, torch.sub(projected, filtered, out=difference))
        self._note(ARTIFACTS, torch.sub(e, projected, out=difference))

    def _note(self, row: int, signals: Tensor) -> None:
        """Add the energy of (row, segment, sample) to a row of the energies."""
        for stem, signal in enumerate(signals.reshape(self._stems, -1)):
            self._energies[row, stem] += torch.dot(signal, signal)
