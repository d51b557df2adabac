"""Separates a whole track with Open-Unmix exactly as if it stood in memory at once, in memory that does not grow.

An LSTM in both directions must have run over the last frame before it knows anything about the first. So the layers
run block by block with the state carried on, and what a layer gives is put away in stores that the caller provides (a
scratch file). With ``L`` layers, pass ``p`` goes over all blocks, forward if ``p`` is even and backward if odd, and
runs the layer ``p - 1`` in the direction it still lacks and then, on its complete output, the layer ``p`` in the same
direction. Pass 0 reads the mixture; after pass ``L`` the mixture is read once more, decoded, filtered and given out.

Stores hold, for each frame and stem, two and a half times the hidden size: the signals before the LSTM, which also go
around it, one layer's output, and half of the next one's. Networks that look at no later frame need neither stores nor
a second reading.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mss_models.centered_stft import CenteredAnalysis, CenteredSynthesis
from mss_models.networks.open_unmix.folded import FoldedNetworks, State
from mss_models.networks.open_unmix.separator import OpenUnmixSeparator

# Frames that pass through a layer at once: fewer would unpack the layer's weights too often.
_BLOCK_FRAMES = 1024

Blocks = Callable[[], Iterable[Tensor]]
"""Gives the blocks of a track, (channel, sample) each, from its start; called once or twice."""


class FrameStore(Protocol):
    """Keeps rows of numbers, one for each frame."""

    def write(self, first: int, rows: Tensor) -> None:
        """Put rows away, from frame ``first`` on.

        Parameters
        ----------
        first : int
            Any: a pass that goes backward writes the last frames first.
        rows : Tensor of shape (frame, number)
            On the CPU, contiguous, of the store's width and precision. They replace older ones.
        """

    def read(self, first: int, count: int) -> Tensor:
        """Give ``count`` rows from frame ``first`` on, (frame, number), all of which were written.

        The caller may change them.
        """


NewStore = Callable[[int, torch.dtype], FrameStore]
"""Makes an empty store for rows of so many numbers of this precision."""


class MemoryStore:
    """A store in memory, for short tracks.

    Parameters
    ----------
    width : int
        Numbers of a row.
    dtype : torch.dtype
        Their precision.
    """

    def __init__(self, width: int, dtype: torch.dtype) -> None:
        self._rows = torch.empty(0, width, dtype=dtype)

    def write(self, first: int, rows: Tensor) -> None:
        """See `FrameStore`."""
        end = first + rows.shape[0]
        if end > self._rows.shape[0]:
            grown = self._rows.new_zeros(end, self._rows.shape[1])
            grown[: self._rows.shape[0]] = self._rows
            self._rows = grown
        self._rows[first:end] = rows

    def read(self, first: int, count: int) -> Tensor:
        """See `FrameStore`."""
        return self._rows[first : first + count].clone()


def scratch_bytes_per_second(separator: OpenUnmixSeparator, bytes_per_number: int = 4) -> float:
    """Tell how much the stores take for one second of a track.

    Parameters
    ----------
    separator : OpenUnmixSeparator
        Whose networks look at later frames; 0 for others.
    bytes_per_number : int
        4 in fp32, 2 in half precisions.
    """
    settings = separator.settings
    if not settings.bidirectional:
        return 0.0
    stems = len(settings.targets)
    signals = 1 if settings.crossing == "average" else stems
    numbers = settings.hidden_size * (signals + stems) + settings.hidden_size // 2 * stems
    return numbers * bytes_per_number * settings.sample_rate / settings.stft.hop_length


def separate_track(
    separator: OpenUnmixSeparator,
    blocks: Blocks,
    new_store: NewStore,
    *,
    device: torch.device,
    on_progress: Callable[[float], None] | None = None,
) -> Iterator[Tensor]:
    """Separate a track of any length.

    Parameters
    ----------
    separator : OpenUnmixSeparator
        Prepared for ``device``. ``wiener_frames`` 0, which filters all frames at once, needs memory for all of them.
    blocks : callable that gives an iterable of float32 Tensor of shape (channel, sample)
        The mixture, on the CPU; called again for networks in both directions, and gives the same then.
    new_store : callable
        Makes the stores; called three times for networks in both directions, else never.
    device : torch.device
        Of `OpenUnmixSeparator.prepare`.
    on_progress : callable, optional
        Called with the share of the work that is done, in (0, 1].

    Yields
    ------
    float32 Tensor of shape (stem, channel, sample)
        Estimates on the CPU, together as long as the mixture: what `OpenUnmixSeparator.separate` gives for all of it,
        within rounding.
    """
    if not separator.settings.bidirectional:
        yield from _decoded(separator, _OneWay(separator.folded), blocks, device, lambda _: None)
        return
    work = _BothWays(separator.folded, new_store, device)
    passes = separator.folded.layers + 2

    def report(done: float) -> None:
        if on_progress is not None:
            on_progress(done / passes)

    with torch.inference_mode():
        for spectrum in _frames(separator, blocks(), device, exactly=_BLOCK_FRAMES):
            work.begin(spectrum[..., : separator.settings.heard_bins].abs())
        report(1)
        for turn in range(1, separator.folded.layers + 1):
            for share in work.turn(turn):
                report(turn + share)
    yield from _decoded(separator, work, blocks, device, lambda done: report(passes - 1 + done / work.frames))


class _Recurrence(Protocol):
    """Tells what stands before and after the LSTMs, window by window from the start."""

    def window(self, magnitudes: Tensor) -> tuple[Tensor, Tensor]:
        """Give signals and LSTM output, (frame, signal, hidden), of the next frames, (channel, frame, bin)."""


class _OneWay:
    """Networks that look at no later frame: states are carried from window to window."""

    def __init__(self, folded: FoldedNetworks) -> None:
        self._folded = folded
        self._states: dict[tuple[int, int], State] = {}

    def window(self, magnitudes: Tensor) -> tuple[Tensor, Tensor]:
        """See `_Recurrence`."""
        folded = self._folded
        signals = folded.encode(magnitudes[None])  # (frame, 1, signal, hidden)
        outputs = []
        for stem in range(folded.stems):
            current = signals[:, :, stem if folded.signals > 1 else 0]
            for place in range(folded.layers):
                layer = folded.layer(stem, place)
                state = self._states.get((stem, place)) or layer.start(1)
                current, self._states[stem, place] = layer.run(current, state)
            outputs.append(current[:, 0])
        return signals[:, 0], _joined(outputs, folded)


class _BothWays:
    """Networks in both directions: layer after layer, with stores between the passes."""

    def __init__(self, folded: FoldedNetworks, new_store: NewStore, device: torch.device) -> None:
        self._folded, self._device = folded, device
        self._hidden = folded.shape.hidden_size
        self._signals = new_store(folded.signals * self._hidden, folded.dtype)
        self._outputs = new_store(folded.stems * self._hidden, folded.dtype)
        self._halves = new_store(folded.stems * self._hidden // 2, folded.dtype)
        self._states = self._fresh(0, 0)
        self.frames = 0
        self._read = 0

    def begin(self, magnitudes: Tensor) -> None:
        """Do the next block of pass 0: signals, and the first layer forward; (channel, frame, bin)."""
        signals = self._folded.encode(magnitudes[None])[:, 0]  # (frame, signal, hidden)
        self._signals.write(self.frames, signals.flatten(1).cpu())
        halves = [self._run(stem, 0, self._of(signals, stem), 0) for stem in range(self._folded.stems)]
        self._halves.write(self.frames, torch.cat(halves, dim=-1).cpu())
        self.frames += magnitudes.shape[-2]

    def turn(self, turn: int) -> Iterator[float]:
        """Do a later pass; yields the share of it that is done."""
        folded, last = self._folded, turn == self._folded.layers
        self._states = self._fresh(turn - 1, turn) | ({} if last else self._fresh(turn, turn))
        starts = range(0, self.frames, _BLOCK_FRAMES)
        for done, first in enumerate(starts if turn % 2 == 0 else reversed(starts)):
            count = min(_BLOCK_FRAMES, self.frames - first)
            inputs = self._rows(self._signals if turn == 1 else self._outputs, first, count)
            known = self._rows(self._halves, first, count)
            outputs, halves = [], []
            for stem in range(folded.stems):
                missing = self._run(stem, turn - 1, self._of(inputs, stem), turn)
                pair = (known[:, stem], missing) if turn % 2 else (missing, known[:, stem])
                outputs.append(torch.cat(pair, dim=-1))
                if not last:
                    halves.append(self._run(stem, turn, outputs[-1], turn))
            self._outputs.write(first, torch.cat(outputs, dim=-1).cpu())
            if not last:
                self._halves.write(first, torch.cat(halves, dim=-1).cpu())
            yield (done + 1) / len(starts)

    def window(self, magnitudes: Tensor) -> tuple[Tensor, Tensor]:
        """See `_Recurrence`; after the last pass."""
        first, count = self._read, magnitudes.shape[-2]
        self._read += count
        outputs = self._rows(self._outputs, first, count)
        return self._rows(self._signals, first, count), _joined(list(outputs.unbind(dim=1)), self._folded)

    def _fresh(self, layer: int, turn: int) -> dict[tuple[int, int], State]:
        backward = turn % 2 == 1
        return {(stem, layer): self._folded.layer(stem, layer, backward=backward).start(1) for stem in self._stems}

    def _run(self, stem: int, layer: int, frames: Tensor, turn: int) -> Tensor:
        """Pass (frame, feature) through a layer in the direction of the pass."""
        one = self._folded.layer(stem, layer, backward=turn % 2 == 1)
        output, self._states[stem, layer] = one.run(
            frames.unsqueeze(1), self._states[stem, layer], backward=turn % 2 == 1
        )
        return output[:, 0]

    def _rows(self, store: FrameStore, first: int, count: int) -> Tensor:
        """Read rows as (frame, stem or signal, number)."""
        rows = store.read(first, count).to(self._device)
        width = self._hidden // 2 if store is self._halves else self._hidden
        return rows.view(count, -1, width)

    @property
    def _stems(self) -> range:
        return range(self._folded.stems)

    def _of(self, rows: Tensor, stem: int) -> Tensor:
        """The rows of a stem, or the only ones."""
        return rows[:, stem if rows.shape[1] > 1 else 0]


def _joined(outputs: list[Tensor], folded: FoldedNetworks) -> Tensor:
    """Stems side by side, or their mean, (frame, stem or 1, hidden)."""
    stacked = torch.stack(outputs, dim=1)
    return stacked.mean(dim=1, keepdim=True) if folded.crossing == "average" else stacked


def _decoded(
    separator: OpenUnmixSeparator,
    recurrence: _Recurrence,
    blocks: Blocks,
    device: torch.device,
    on_frames: Callable[[int], None],
) -> Iterator[Tensor]:
    """Read the mixture and give the estimates."""
    settings = separator.settings
    synthesis, done = CenteredSynthesis(settings.stft), 0
    counted = _Counted(blocks())
    for spectrum in _frames(separator, counted, device, exactly=separator.window_frames):
        with torch.inference_mode():
            signals, recurred = recurrence.window(spectrum[..., : settings.heard_bins].abs())
            part = synthesis.push(separator.estimate(spectrum, signals, recurred)).cpu()
        done += spectrum.shape[1]
        on_frames(done)
        if part.shape[-1]:
            yield part.clone()  # no inference tensor: the caller may change it in place
    if counted.samples:
        yield synthesis.finish(counted.samples).cpu().clone()


@dataclass(slots=True)
class _Counted:
    """Blocks, and how many samples have passed."""

    blocks: Iterable[Tensor]
    samples: int = 0

    def __iter__(self) -> Iterator[Tensor]:
        for block in self.blocks:
            self.samples += block.shape[-1]
            yield block


def _frames(
    separator: OpenUnmixSeparator, blocks: Iterable[Tensor], device: torch.device, *, exactly: int
) -> Iterator[Tensor]:
    """Give the mixture's spectrogram in pieces of so many frames, the last one shorter; 0: all in one."""
    analysis, count = CenteredAnalysis(separator.transform), 0
    waiting: list[Tensor] = []
    sounded = False
    for block in blocks:
        sounded = sounded or block.shape[-1] > 0
        waiting.append(analysis.push(block.to(device)))
        count += waiting[-1].shape[-2]
        if exactly and count >= exactly:
            *whole, rest = torch.split(torch.cat(waiting, dim=-2), exactly, dim=-2)
            if rest.shape[-2] == exactly:
                whole, rest = [*whole, rest], rest[..., :0, :]
            yield from whole
            waiting, count = [rest], rest.shape[-2]
    if sounded:
        joined = torch.cat([*waiting, analysis.finish()], dim=-2)
        yield from torch.split(joined, exactly or joined.shape[-2], dim=-2)
