"""One loaded separator for several tracks at once: what their threads give it is computed together."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from traceback import clear_frames

import torch
from torch import Tensor

from mss_cli.devices import CPU_BATCH, GPU_BATCH
from mss_cli.separation.memory import is_out_of_memory
from mss_models.separator import Precision, SegmentFiller, Separator
from mss_models.tracks import Ensemble, TrackSeparator


class SharedSeparator:
    """A separator that several threads may call, each for a track of its own.

    Implements `SegmentFiller`. Nobody waits for company: a thread that finds the separator free computes at once.
    Calls that come meanwhile queue up, and the next one who is free to compute takes all that fit into a batch, its
    own and those of others. So batches grow as the device gets busy, and a thread that reads or writes files holds
    nobody up.

    What goes wrong in a batch of several calls is no fault of any one of them: each is computed again by itself, and
    has its own result or exception.

    Parameters
    ----------
    inner : Separator
        Prepared; hears segments, see `can_be_shared`. Nobody else calls it.
    device : torch.device
        Where it was prepared.
    precision : {"fp32", "bf16", "fp16"}
        In which it was prepared.
    most : int, >= 1, optional
        Items of a batch of several calls; fewer after memory ran out. One call may be larger.

    Raises
    ------
    ValueError
        If it cannot be shared.
    """

    def __init__(self, inner: Separator, *, device: torch.device, precision: Precision, most: int = GPU_BATCH) -> None:
        if not can_be_shared(inner):
            raise ValueError("a separator that hears whole tracks, or has members, is not shared")
        self.stems = inner.stems
        self.sample_rate = inner.sample_rate
        self.channels = inner.channels
        self.segment_samples = inner.segment_samples
        self.normalization = inner.normalization
        self.precisions = inner.precisions
        self.fills_segments = isinstance(inner, SegmentFiller) and inner.fills_segments
        self.device = device
        self.precision = precision
        self._inner = inner
        self._most = most
        self._changed = threading.Condition()
        self._busy = False
        self._waiting: deque[_Call] = deque()

    def prepare(self, device: torch.device, precision: Precision) -> None:
        """Move the separator, for all threads; those that have their tracks elsewhere need not know.

        On a CPU calls are merged no more: there batches only cost memory.
        """
        with self._turn(None):
            self._inner.prepare(device, precision)
            self.device, self.precision = device, precision
            if device.type == "cpu":
                self._most = CPU_BATCH

    def separate(self, mixture: Tensor) -> Tensor:
        """Estimate the stems of a batch of segments; see `Separator.separate`.

        Parameters
        ----------
        mixture : float32 Tensor of shape (batch, channel, sample)
            On any device.

        Returns
        -------
        float32 Tensor of shape (batch, stem, channel, sample)
            On the mixture's device.
        """
        call = _Call(mixture)
        with self._changed:
            self._waiting.append(call)
        while not call.done:
            with self._turn(call) as calls:
                if len(calls) > 1 and self._together(calls):
                    continue
                for one in calls:
                    self._alone(one)
        error, call.error = call.error, None
        if error is None:
            return call.estimates
        try:
            raise error
        finally:
            del error  # which holds this frame: what did not fit into memory would stay there

    @contextmanager
    def _turn(self, own: "_Call | None") -> "Iterator[Sequence[_Call]]":
        """Wait until the separator is free, or until the own call is done, and give the calls that are to be computed.

        None is given if the own call was done meanwhile, or to those who have none.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._busy or (own is not None and own.done))
            if own is not None and own.done:
                calls: list[_Call] = []
            else:
                self._busy = True
                calls = [] if own is None else self._take()
            mine = own is None or bool(calls)
        try:
            yield calls
        finally:
            if mine:
                with self._changed:
                    self._waiting.extendleft(call for call in reversed(calls) if not call.done and call is not own)
                    self._busy = False
                    self._changed.notify_all()

    def _take(self) -> "list[_Call]":
        """Take the call that has waited longest, and those of its shape that fit into a batch with it."""
        first = self._waiting.popleft()
        calls, left, size = [first], [], first.size
        for call in self._waiting:
            if call.shape == first.shape and size + call.size <= self._most:
                calls.append(call)
                size += call.size
            else:
                left.append(call)
        self._waiting = deque(left)
        return calls

    def _together(self, calls: "Sequence[_Call]") -> bool:
        """Compute several calls as one batch; tell whether that worked."""
        try:
            self._compute(calls)
        except Exception as error:
            if is_out_of_memory(error):
                self._most = max(1, sum(call.size for call in calls) // 2)
            return False
        return True

    def _alone(self, call: "_Call") -> None:
        try:
            self._compute([call])
        except Exception as error:
            clear_frames(error.__traceback__)  # else what did not fit would take the room of the next call
            call.error = error
            call.done = True

    def _compute(self, calls: "Sequence[_Call]") -> None:
        mixtures = [call.mixture.to(self.device) for call in calls]
        batch = mixtures[0] if len(mixtures) == 1 else torch.cat(mixtures)
        estimates = self._inner.separate(batch)  # (batch, stem, channel, sample)
        if estimates.is_cuda:
            # CUDA computes behind our back. Only while it does can others queue up for the next batch.
            torch.cuda.current_stream(estimates.device).synchronize()
        parts = torch.split(estimates, [call.size for call in calls])
        for call, part in zip(calls, parts, strict=True):
            call.estimates = part.to(call.mixture.device)
        for call in calls:
            call.done = True


def can_be_shared(separator: Separator) -> bool:
    """Tell whether tracks can share a separator: all that it does with a track is `separate`, segment by segment."""
    return not isinstance(separator, TrackSeparator | Ensemble)


class _Call:
    """What a thread wants computed, and what comes of it."""

    __slots__ = ("done", "error", "estimates", "mixture")

    estimates: Tensor

    def __init__(self, mixture: Tensor) -> None:
        self.mixture = mixture
        self.done = False
        self.error: Exception | None = None

    @property
    def size(self) -> int:
        """Items of the batch."""
        return self.mixture.shape[0]

    @property
    def shape(self) -> torch.Size:
        """Of an item: (channel, sample)."""
        return self.mixture.shape[1:]
