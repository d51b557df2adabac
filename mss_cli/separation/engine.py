"""Audio at any rate through a separator and back: resample, map channels, separate, restore, pair with the mixture."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mss_cli.audio.channels import fold
from mss_cli.audio.resample import Resampler, resample
from mss_cli.devices import CPU_BATCH, GPU_BATCH
from mss_cli.errors import WeightsError
from mss_cli.separation.scratch import FrameFile
from mss_cli.separation.settings import EngineSettings
from mss_cli.separation.threads import ReadAhead
from mss_cli.weights.store import Card

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from mss_models.separator import Precision, Separator
    from mss_models.tracks import TrackSettings

Block = NDArray[np.float32]

# Decoded blocks held ready for the separator.
_DEPTH = 8


@dataclass(slots=True)
class Engine:
    """A prepared separator: loaded once, used for any number of tracks, one at a time.

    Parameters
    ----------
    separator : Separator
        Prepared for `device` and `precision`.
    card : Card
        What is known of its weights.
    device : torch.device
        Where it computes.
    precision : {"fp32", "bf16", "fp16"}
        In which it computes.
    threads : int
        Threads of one operation.
    batch_size : int
        Segments per call; smaller once memory ran out.
    """

    separator: "Separator"
    card: Card
    device: "torch.device"
    precision: "Precision"
    threads: int
    batch_size: int = 0

    def __post_init__(self) -> None:
        if self.batch_size == 0:
            self.batch_size = CPU_BATCH if self.device.type == "cpu" else GPU_BATCH

    def shared(self, count: int) -> "tuple[Engine, ...]":
        """Give engines for so many tracks at once, each in a thread, with this one separator between them.

        What they have it do is computed together, see `SharedSeparator`. This engine is not to be used any more.

        Raises
        ------
        ValueError
            If there are to be several, and the separator hears whole tracks or is an ensemble.
        """
        if count == 1:
            return (self,)
        from mss_cli.separation.shared import SharedSeparator

        separator = SharedSeparator(self.separator, device=self.device, precision=self.precision)
        return tuple(replace(self, separator=separator) for _ in range(count))

    def segment_seconds(self, settings: EngineSettings) -> float | None:
        """Give the segment length in force, the longest of an ensemble; None where the whole track is heard."""
        from mss_models.tracks import segment_seconds

        return segment_seconds(self.separator, self._track_settings(settings))

    def estimate(
        self,
        source: Callable[[], Iterator[Block]],
        settings: EngineSettings,
        *,
        sample_rate: int,
        channels: int,
        scratch: Path | None = None,
        on_smaller_batch: Callable[[int], None] | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> Generator[tuple[Block, Block], None, None]:
        """Separate one track, block by block.

        Parameters
        ----------
        source : callable
            Gives the mixture from its start as float32 blocks of shape (channel, sample); called again by separators
            that must measure or hear the track first.
        settings : EngineSettings
            Segments, overlap, shifts.
        sample_rate : int, Hz
            Of the mixture.
        channels : int, 1 or 2
            Of the mixture.
        scratch : Path, optional
            Folder of the temporary files of separators that hear the whole track; the system's if None.
        on_smaller_batch : callable, optional
            Told the new batch size when the device ran out of memory.
        on_progress : callable, optional
            Told the share of the work that is done, by separators that hear the whole track.

        Yields
        ------
        tuple of float32 arrays of shape (channel, sample) and (stem, channel, sample)
            A stretch of the mixture and its estimates, at the mixture's rate and channels; together exactly as long
            as the mixture.

        Raises
        ------
        torch.OutOfMemoryError, MemoryError
            If not even one segment fits.
        WeightsError
            If the estimates are not finite.
        OutputError
            If there is no room for the temporary files.
        """
        import torch

        from mss_models.streaming import PerChannel
        from mss_models.tracks import TrackInput, begin_track

        self._follow()
        separator = self.separator
        if separator.channels == 1 and channels == 2:
            separator = PerChannel(separator, channels)
        rate, stems = separator.sample_rate, len(separator.stems)

        def model_input(blocks: Iterator[Block]) -> Iterator[Block]:
            mapped = (fold(block, separator.channels) for block in blocks)
            return resample(mapped, sample_rate, rate, separator.channels)

        delay = _Delay(channels)
        back = Resampler(rate, sample_rate, stems * channels)

        def restored(estimates: "Tensor") -> Block:
            block = estimates.numpy()  # (stem, channel of the separator, sample)
            if separator.channels != channels:
                block = block.mean(axis=1, keepdims=True)  # (stem, 1, sample): a mono input was given twice
            return back.push(block.reshape(stems * channels, -1))  # (stem * channel, sample)

        def paired(flat: Block) -> tuple[Block, Block]:
            with np.errstate(all="ignore"):  # the sum is the cheap test; it can overflow, so a second look decides
                total = flat.sum()
            if not np.isfinite(total) and not np.isfinite(flat).all():
                raise _not_finite(self.card.name)
            return delay.take(flat.shape[-1]), flat.reshape(stems, channels, -1)

        with ExitStack() as stack:
            track = TrackInput(
                lambda: (torch.from_numpy(block) for block in model_input(source())),
                device=self.device,
                new_store=lambda width, dtype: stack.enter_context(FrameFile(scratch, width, dtype)),
                on_smaller_batch=on_smaller_batch,
                on_progress=on_progress,
            )
            way = begin_track(separator, track, self._track_settings(settings))
            with ReadAhead(model_input(delay.tap(source())), depth=_DEPTH) as blocks:
                for block in blocks:
                    with torch.inference_mode():
                        estimates = way.push(torch.from_numpy(block))
                    if estimates.shape[-1]:
                        yield paired(restored(estimates))
            with torch.inference_mode():
                estimates = way.finish()
        given = delay.given
        last = restored(estimates)
        tail = back.flush(max(delay.received, given + last.shape[-1]))
        flat = np.concatenate([last, tail], axis=-1)[:, : delay.received - given]  # (stem * channel, sample)
        yield paired(np.ascontiguousarray(flat))

    def _follow(self) -> None:
        """Compute where the separator is: another engine that shares it may have moved it."""
        from mss_cli.separation.shared import SharedSeparator

        if isinstance(self.separator, SharedSeparator) and self.separator.device != self.device:
            self.device, self.precision = self.separator.device, self.separator.precision
            self.batch_size = CPU_BATCH  # it leaves a device for the CPU alone

    def _track_settings(self, settings: EngineSettings) -> "TrackSettings":
        """Join what was asked for and what the device carries."""
        from mss_models.tracks import TrackSettings

        return TrackSettings(
            settings.segment_seconds, settings.overlap, self.batch_size, settings.shifts, settings.seed
        )


class _Delay:
    """Keeps the mixture until its estimates are there; as long as one window of segments."""

    def __init__(self, channels: int) -> None:
        self.received = 0
        self.given = 0
        self._blocks: deque[Block] = deque()
        self._empty = np.empty((channels, 0), np.float32)
        self._lock = threading.Lock()  # the decoding thread puts in, the separating one takes out

    def tap(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Pass blocks on and keep them."""
        for block in blocks:
            with self._lock:
                self._blocks.append(block)
                self.received += block.shape[-1]
            yield block

    def take(self, samples: int) -> Block:
        """Take the next samples out, (channel, sample)."""
        parts = [self._empty]
        with self._lock:
            missing = samples
            while missing:
                block = self._blocks.popleft()
                parts.append(block[:, :missing])
                if block.shape[-1] > missing:
                    self._blocks.appendleft(block[:, missing:])
                missing -= parts[-1].shape[-1]
            self.given += samples
        return np.concatenate(parts, axis=-1)


def _not_finite(model: str) -> WeightsError:
    return WeightsError(f"model `{model}` gave samples that are not finite", hint="try `--precision fp32`")
