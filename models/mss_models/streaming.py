"""Streams a track of any length through a separator: segments, batches, overlap-add, in constant memory.

Only this module cuts audio into segments and joins estimates again. A track arrives as blocks of any size and leaves
as blocks of estimates that are aligned with it and, together, exactly as long.

    blocks -> scale -> segments -> batches -> separator -> weighted overlap-add -> unscale -> blocks
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mss_models.errors import ShapeError
from mss_models.separator import Normalization, Precision, SegmentFiller, Separator
from mss_models.transfer import Transfer

# Largest random shift, as in the shift trick of Demucs (Défossez et al. 2019, section 4).
MAX_SHIFT_SECONDS = 0.5
# Added to a deviation or peak, so that a silent track is divided by something.
SCALE_FLOOR = 1e-8


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How a track is cut and averaged.

    Parameters
    ----------
    segment_samples : int, >= 1
        Samples given to the separator at once.
    overlap : float, in [0, 1)
        Share of a segment that the next one covers again.
    batch_size : int, >= 1
        Segments given to the separator in one call.
    shifts : int, >= 0
        0 takes the track as it is; N averages N passes, each with its segments moved by a random time.
    seed : int
        Seeds the random shifts.
    """

    segment_samples: int
    overlap: float = 0.25
    batch_size: int = 1
    shifts: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.segment_samples < 1 or self.batch_size < 1 or self.shifts < 0:
            raise ValueError(f"segment_samples and batch_size must be at least 1 and shifts at least 0, got {self}")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap must be at least 0 and below 1, got {self.overlap}")

    @property
    def hop_samples(self) -> int:
        """Distance between the starts of neighbouring segments."""
        return max(1, round(self.segment_samples * (1 - self.overlap)))


@dataclass(frozen=True, slots=True)
class Scale:
    """What the separator sees is ``(mixture - offset) / factor``; its estimates are scaled back.

    Every estimate gets the offset back, as the published Demucs models do; the offset is near zero in music.
    """

    offset: float = 0.0
    factor: float = 1.0


def measure_scale(normalization: Normalization, blocks: Iterable[Tensor]) -> Scale:
    """Measure a whole track in one pass of constant memory, for a separator's normalisation.

    Parameters
    ----------
    normalization : {"none", "deviation", "peak"}
        See `mss_models.separator.Separator`.
    blocks : iterable of Tensor of shape (channel, sample)
        The track. Not touched for "none".

    Returns
    -------
    Scale
        Factor 1e-8 for a silent track, so that silence stays silence.
    """
    if normalization == "none":
        return Scale()
    peak = 0.0
    count, mean, squares = 0, 0.0, 0.0  # Welford's update by blocks (Chan, Golub and LeVeque 1983)
    for block in blocks:
        if block.shape[-1] == 0:
            continue
        if normalization == "peak":
            peak = max(peak, float(block.abs().amax()))
            continue
        mono = block.double().mean(dim=0)  # (sample,)
        size = mono.numel()
        block_mean = float(mono.mean())
        difference = block_mean - mean
        squares += float((mono - block_mean).square().sum()) + difference**2 * count * size / (count + size)
        mean += difference * size / (count + size)
        count += size
    if normalization == "peak":
        return Scale(factor=peak + SCALE_FLOOR)
    # One sample fewer in the divisor, as torch.std has it.
    return Scale(offset=mean, factor=math.sqrt(squares / max(1, count - 1)) + SCALE_FLOOR)


class PerChannel:
    """A mono separator for stereo mixtures: each channel is an item of the batch.

    Implements `Separator`.
    """

    def __init__(self, mono: Separator, channels: int) -> None:
        if mono.channels != 1:
            raise ValueError(f"only a mono separator works channel by channel, this one takes {mono.channels}")
        self.mono = mono
        self.channels = channels
        self.stems = mono.stems
        self.sample_rate = mono.sample_rate
        self.segment_samples = mono.segment_samples
        self.normalization = mono.normalization
        self.precisions = mono.precisions

    def prepare(self, device: torch.device, precision: Precision) -> None:
        """Prepare the mono separator."""
        self.mono.prepare(device, precision)

    def separate(self, mixture: Tensor) -> Tensor:
        """Separate every channel by itself; shapes as in `Separator.separate`."""
        batch, channels, samples = mixture.shape
        estimates = self.mono.separate(
            mixture.reshape(batch * channels, 1, samples)
        )  # (batch * channel, stem, 1, sample)
        return estimates.reshape(batch, channels, len(self.stems), samples).transpose(
            1, 2
        )  # (batch, stem, channel, sample)


class Stream:
    """One track on its way through a separator.

    Parameters
    ----------
    separator : Separator
        Prepared for `device`.
    settings : StreamSettings
        Segment length, overlap, batch size, shifts.
    device : torch.device
        Where the separator computes and the estimates are added up.
    scale : Scale
        Of `measure_scale`.
    on_smaller_batch : callable, optional
        Called with the new batch size when the device ran out of memory and the batch was halved.

    Raises
    ------
    torch.OutOfMemoryError
        By `push` and `finish`, when even a batch of one segment does not fit.
    """

    def __init__(
        self,
        separator: Separator,
        settings: StreamSettings,
        *,
        device: torch.device,
        scale: Scale | None = None,
        on_smaller_batch: Callable[[int], None] | None = None,
    ) -> None:
        self._separator = separator
        self._scale = scale or Scale()
        generator = torch.Generator().manual_seed(settings.seed)
        limit = max(1, round(MAX_SHIFT_SECONDS * separator.sample_rate))
        leads = [int(torch.randint(limit, (), generator=generator)) for _ in range(settings.shifts)] or [0]
        runner = _BatchRunner(separator, settings.batch_size, on_smaller_batch)
        self._grids = [_Grid(runner, settings, device=device, lead_samples=lead) for lead in leads]

    def push(self, block: Tensor) -> Tensor:
        """Take the next block and give the estimates that are ready.

        Parameters
        ----------
        block : float32 Tensor of shape (channel, sample)
            Any number of samples, on the CPU.

        Returns
        -------
        float32 Tensor of shape (stem, channel, sample)
            On the CPU; often of zero samples.

        Raises
        ------
        ShapeError
            If the block does not have the separator's channels.
        """
        if block.ndim != 2 or block.shape[0] != self._separator.channels:
            raise ShapeError("block", f"({self._separator.channels} channels, sample)", block.shape)
        scaled = block if self._scale == Scale() else (block - self._scale.offset) / self._scale.factor
        for grid in self._grids:
            grid.push(scaled)
        return self._collect()

    def finish(self) -> Tensor:
        """End the track and give the rest of the estimates, (stem, channel, sample)."""
        for grid in self._grids:
            grid.finish()
        return self._collect()

    def _collect(self) -> Tensor:
        ready = min(grid.ready_samples for grid in self._grids)
        estimates = self._grids[0].take(ready)
        for grid in self._grids[1:]:
            estimates += grid.take(ready)
        if len(self._grids) > 1:
            estimates /= len(self._grids)
        if self._scale != Scale():
            estimates.mul_(self._scale.factor).add_(self._scale.offset)
        return estimates


def stream(
    separator: Separator, blocks: Iterable[Tensor], settings: StreamSettings, *, device: torch.device
) -> Iterator[Tensor]:
    """Separate a track given as blocks, measuring nothing first.

    Parameters
    ----------
    separator : Separator
        With normalisation "none", or blocks that are scaled already.
    blocks : iterable of float32 Tensor of shape (channel, sample)
        The mixture.
    settings : StreamSettings
        Segment length, overlap, batch size, shifts.
    device : torch.device
        Of `Separator.prepare`.

    Yields
    ------
    float32 Tensor of shape (stem, channel, sample)
        Estimates, together as long as the mixture.
    """
    track = Stream(separator, settings, device=device)
    for block in blocks:
        estimates = track.push(block)
        if estimates.shape[-1]:
            yield estimates
    yield track.finish()


class _BatchRunner:
    """Calls the separator, in smaller batches when the device has no room for the whole one."""

    def __init__(self, separator: Separator, batch_size: int, on_smaller_batch: Callable[[int], None] | None) -> None:
        self.separator = separator
        self.batch_size = batch_size
        self._on_smaller_batch = on_smaller_batch

    def __call__(self, segments: Tensor) -> Iterator[Tensor]:
        """Yield (stem, channel, sample) for each item of (batch, channel, sample), in order."""
        start = 0
        while start < segments.shape[0]:
            part = segments[start : start + self.batch_size]
            try:
                estimates = self.separator.separate(part)  # (batch, stem, channel, sample)
            except torch.OutOfMemoryError:
                if self.batch_size == 1:
                    raise
                self.batch_size //= 2
                if self._on_smaller_batch is not None:
                    self._on_smaller_batch(self.batch_size)
                continue
            start += part.shape[0]
            yield from estimates


class _Grid:
    """One set of overlapping segments: a window of input, a sum of weighted estimates, a queue of finished ones."""

    def __init__(
        self, runner: _BatchRunner, settings: StreamSettings, *, device: torch.device, lead_samples: int
    ) -> None:
        separator = runner.separator
        self._runner = runner
        self._segment, self._hop, self._batch = settings.segment_samples, settings.hop_samples, settings.batch_size
        window = self._segment + (self._batch - 1) * self._hop
        self._transfer = Transfer(device)
        self._input = self._transfer.window(separator.channels, window)
        self._filled = 0
        self._sum = torch.zeros(len(separator.stems), separator.channels, window, device=device)
        self._weight_sum = torch.zeros(window, device=device)
        self._weights = _triangle(self._segment, device)
        self._covered = 0  # samples of the window that earlier segments have reached already
        # What stands before the window: where the last segment may begin, if it is to be as long as the others.
        fills = isinstance(separator, SegmentFiller) and separator.fills_segments
        self._before = torch.zeros(separator.channels, (self._segment + 1) // 2) if fills else None
        self._drop = lead_samples  # estimates of the silence that shifts this grid
        self._device = device
        self._ready: list[Tensor] = []
        self.ready_samples = 0
        if lead_samples:
            self.push(torch.zeros(separator.channels, lead_samples))

    def push(self, block: Tensor) -> None:
        """Fill the window; each time it is full, separate it and move on by one batch."""
        start = 0
        while start < block.shape[-1]:
            take = min(block.shape[-1] - start, self._input.shape[-1] - self._filled)
            self._input[:, self._filled : self._filled + take] = block[:, start : start + take]
            self._filled += take
            start += take
            if self._filled == self._input.shape[-1]:
                self._separate(self._batch)
                self._advance(self._batch * self._hop)

    def finish(self) -> None:
        """Separate what the window still holds; the last segment ends with the track."""
        rest = self._filled
        whole = (rest - self._segment) // self._hop + 1 if rest >= self._segment else 0
        if self._covered < rest:
            self._separate(whole)
        if self._before is not None:
            for start in range(whole * self._hop, rest, self._hop):
                self._separate_filled_tail(start, self._before)
        elif self._covered < rest:
            self._separate_tail(whole * self._hop)
        self._emit(rest, last=True)

    def _separate(self, count: int) -> None:
        """Separate the first `count` whole segments of the window."""
        if count == 0:
            return
        window = self._transfer.upload(self._input)
        segments = window.unfold(-1, self._segment, self._hop)[:, :count].transpose(0, 1)  # (batch, channel, sample)
        for index, estimate in enumerate(self._runner(segments)):
            self._accumulate(index * self._hop, estimate, self._weights)

    def _separate_tail(self, start: int) -> None:
        """Separate the shorter last segment."""
        tail = self._transfer.upload(self._input[:, start : self._filled])  # (channel, sample)
        for estimate in self._runner(tail[None]):
            self._accumulate(start, estimate, self._weights[: tail.shape[-1]])

    def _separate_filled_tail(self, start: int, before: Tensor) -> None:
        """Separate a shorter last segment in the middle of a whole one: behind what was there, before silence."""
        length = self._filled - start
        lead = (self._segment - length) // 2
        known = torch.cat([before, self._input[:, : self._filled]], dim=-1)
        first = before.shape[-1] + start - lead
        segment = known.new_zeros(known.shape[0], self._segment)
        piece = known[:, first : first + self._segment]
        segment[:, : piece.shape[-1]] = piece
        for estimate in self._runner(self._transfer.upload(segment)[None]):
            self._accumulate(start, estimate[..., lead : lead + length], self._weights[:length])

    def _accumulate(self, start: int, estimate: Tensor, weights: Tensor) -> None:
        end = start + weights.shape[0]
        self._sum[..., start:end].addcmul_(estimate, weights)
        self._weight_sum[start:end] += weights
        self._covered = max(self._covered, end)

    def _advance(self, samples: int) -> None:
        """Give out the first samples of the window and move the rest to its start."""
        self._emit(samples, last=False)
        self._transfer.wait_for_upload()
        keep = self._input.shape[-1] - samples
        if self._before is not None:
            known = torch.cat([self._before, self._input[:, :samples]], dim=-1)
            self._before = known[:, -self._before.shape[-1] :].clone()
        self._input[:, :keep] = self._input[:, samples:].clone()
        self._sum[..., :keep] = self._sum[..., samples:].clone()
        self._sum[..., keep:] = 0
        self._weight_sum[:keep] = self._weight_sum[samples:].clone()
        self._weight_sum[keep:] = 0
        self._filled -= samples
        self._covered -= samples

    def _emit(self, samples: int, *, last: bool) -> None:
        dropped = min(self._drop, samples)
        self._drop -= dropped
        finished = self._sum[..., dropped:samples] / self._weight_sum[dropped:samples]  # (stem, channel, sample)
        for estimates in self._transfer.download(finished, last=last):
            if estimates.shape[-1]:
                self._ready.append(estimates)
                self.ready_samples += estimates.shape[-1]

    def take(self, samples: int) -> Tensor:
        """Take the first `samples` finished samples from the queue."""
        if not self._ready or samples == 0:
            return torch.zeros(*self._sum.shape[:-1], 0)
        joined = self._ready[0] if len(self._ready) == 1 else torch.cat(self._ready, dim=-1)
        self._ready = [joined[..., samples:]] if joined.shape[-1] > samples else []
        self.ready_samples -= samples
        return joined[..., :samples]


def _triangle(samples: int, device: torch.device) -> Tensor:
    """Weights that rise to the middle of a segment and fall again; never zero, so that their sum never is."""
    rise = torch.arange(1, samples + 1, device=device, dtype=torch.float32)
    return torch.minimum(rise, rise.flip(0)) / ((samples + 1) // 2)
