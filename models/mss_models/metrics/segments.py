"""Cutting references and estimates into segments for block-wise filtering (overlap-save)."""

import torch
from torch import Tensor

_MIN_FFT_SAMPLES = 8192


def fft_samples(taps: int) -> int:
    """Length of the transforms: much longer than the filters, short enough to stay in the first-level cache."""
    size = _MIN_FFT_SAMPLES
    while size < 8 * taps:
        size *= 2
    return size


class Segments:
    """A few equally long segments of references and estimates, filled in turn.

    Each segment has room for the samples before it ("history", one less than the filters have taps) and for
    `step` samples of its own. The buffers are used over and over: fresh memory costs as much as the arithmetic.

    Parameters
    ----------
    rows : int
        Channels of all references, and as many of the estimates.
    taps : int
    capacity : int
        Number of segments.
    device : torch.device
    """

    def __init__(self, *, rows: int, taps: int, capacity: int, device: torch.device) -> None:
        self._rows, self._capacity = rows, capacity
        self.history = taps - 1
        self.fft = fft_samples(taps)
        self.step = self.fft - self.history
        self._new = torch.zeros(2 * rows, capacity, self.fft, dtype=torch.float64, device=device)
        self._delayed = torch.zeros(rows, capacity, self.fft, dtype=torch.float64, device=device)
        self._filled = 0

    @property
    def room(self) -> int:
        """Samples until all segments are full."""
        return self._capacity * self.step - self._filled

    @property
    def used(self) -> int:
        """Segments that hold samples."""
        return -(-self._filled // self.step)

    def restart(self) -> None:
        """Begin again after silence."""
        self._delayed[:, 0, : self.history] = 0
        self._filled = 0

    def write(self, reference: Tensor, estimate: Tensor) -> None:
        """Append (row, sample) of references and estimates, at most `room` samples."""
        position, length = 0, reference.shape[1]
        while position < length:
            segment, offset = divmod(self._filled, self.step)
            count = min(self.step - offset, length - position)
            place = slice(self.history + offset, self.history + offset + count)
            self._new[: self._rows, segment, place] = reference[:, position : position + count]
            self._new[self._rows :, segment, place] = estimate[:, position : position + count]
            position, self._filled = position + count, self._filled + count

    def write_zeros(self, length: int) -> None:
        """Append silence, at most `room` samples."""
        while length:
            segment, offset = divmod(self._filled, self.step)
            count = min(self.step - offset, length)
            self._new[:, segment, self.history + offset : self.history + offset + count] = 0
            length, self._filled = length - count, self._filled + count

    def complete(self) -> None:
        """Fill the last used segment with silence."""
        self.write_zeros(-self._filled % self.step)

    def new(self) -> Tensor:
        """References, then estimates (row, segment, sample), zeros in place of the history. Not a copy."""
        return self._new[:, : self.used]

    def delayed(self) -> Tensor:
        """References (row, segment, sample) with their history. Not a copy: valid until the next call."""
        references, history = self._new[: self._rows], self.history
        self._delayed[..., history:] = references[..., history:]
        if history:
            self._delayed[:, 1:, :history] = references[:, :-1, -history:]
        return self._delayed[:, : self.used]

    def advance(self) -> None:
        """Empty full segments; the end of the last one becomes the history of the next."""
        if self.history:
            self._delayed[:, 0, : self.history] = self._new[: self._rows, -1, -self.history :]
        self._filled = 0
