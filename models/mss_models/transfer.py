"""Segments to the device and estimates back: at once on a CPU, beside the computation on a GPU."""

from collections import deque

import torch
from torch import Tensor


class Transfer:
    """Moves one track between host and device memory.

    On CUDA, segments leave from pinned memory and estimates return to it on a stream of their own, while the next
    batch is computed; so estimates arrive one batch late. On other devices both are plain moves.

    Parameters
    ----------
    device : torch.device
        Where the separator computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._uploaded: torch.cuda.Event | None = None
        self._arriving: deque[tuple[Tensor, torch.cuda.Event]] = deque()

    def window(self, channels: int, samples: int) -> Tensor:
        """Make the host buffer that segments leave from, (channel, sample), zero."""
        return torch.zeros(channels, samples, pin_memory=self._copies is not None)

    def upload(self, window: Tensor) -> Tensor:
        """Send (channel, sample) to the device; call `wait_for_upload` before the buffer is written again."""
        if self._copies is None:
            return window.to(self._device)
        sent = window.to(self._device, non_blocking=True)
        self._uploaded = torch.cuda.current_stream(self._device).record_event()
        return sent

    def wait_for_upload(self) -> None:
        """Wait until the last `upload` has left the host buffer."""
        if self._uploaded is not None:
            self._uploaded.synchronize()
            self._uploaded = None

    def download(self, estimates: Tensor, *, last: bool) -> list[Tensor]:
        """Send estimates to the host and give those that have arrived, in order.

        Parameters
        ----------
        estimates : Tensor of shape (stem, channel, sample)
            On the device; not changed afterwards.
        last : bool
            Wait for everything.

        Returns
        -------
        list of Tensor of shape (stem, channel, sample)
            On the CPU.
        """
        if self._copies is None:
            return [estimates.to("cpu")]
        self._copies.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._copies):
            host = torch.empty(estimates.shape, dtype=estimates.dtype, pin_memory=True)
            host.copy_(estimates, non_blocking=True)
            estimates.record_stream(self._copies)  # its memory must not be reused before the copy is done
            self._arriving.append((host, self._copies.record_event()))
        arrived = []
        while self._arriving and (last or len(self._arriving) > 1):
            host, done = self._arriving.popleft()
            done.synchronize()
            arrived.append(host)
        return arrived
