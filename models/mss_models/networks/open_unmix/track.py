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

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from mss_models.centered_stft import CenteredAnalysis, CenteredSynthesis
from mss_models.networks.open_unmix.folded import FoldedNetworks, State
from mss_models.tracks import Blocks, FrameStore, NewStore, TrackInput

if TYPE_CHECKING:
    from mss_models.networks.open_unmix.separator import OpenUnmixSeparator

# Frames that pass through a layer at once: fewer would unpack the layer's weights too often.
_BLOCK_FRAMES = 1024


def separate_track(
    separator: "OpenUnmixSeparator",
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
    track = TrackInput(blocks, device=device, new_store=new_store, on_progress=on_progress)
    stream = begin_whole_track(separator, track)
    for block in blocks():
        estimates = stream.push(block)
        if estimates.shape[-1]:
            yield estimates
    estimates = stream.finish()
    if estimates.shape[-1]:
        yield estimates


def begin_whole_track(separator: "OpenUnmixSeparator", track: TrackInput) -> "WholeTrack":
    """Do all passes but the last, which decodes; none for networks that look at no later frame.

    Parameters
    ----------
    separator : OpenUnmixSeparator
        Prepared for the track's device. ``wiener_frames`` 0, which filters all frames at once, needs memory for all.
    track : TrackInput
        Its stores are made three times for networks in both directions, else never.
    """
    folded, device = separator.folded, track.device
    if not separator.settings.bidirectional:
        return WholeTrack(separator, _OneWay(folded), device, lambda _: None)
    work = _BothWays(folded, track.new_store, device)
    passes = folded.layers + 2

    def report(done: float) -> None:
        if track.on_progress is not None:
            track.on_progress(done / passes)

    with torch.inference_mode():
        pieces = _Pieces(separator, device, exactly=_BLOCK_FRAMES)
        for block in track.blocks():
            for spectrum in pieces.push(block):
                work.begin(spectrum[..., : separator.settings.heard_bins].abs())
        for spectrum in pieces.finish():
            work.begin(spectrum[..., : separator.settings.heard_bins].abs())
        report(1)
        for turn in range(1, folded.layers + 1):
            for share in work.turn(turn):
                report(turn + share)
    return WholeTrack(separator, work, device, lambda done: report(passes - 1 + done / work.frames))


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


class WholeTrack:
    """The last pass over a track: reads the mixture and gives the estimates.

    Implements `mss_models.tracks.TrackStream`. Made by `begin_whole_track`.
    """

    def __init__(
        self,
        separator: "OpenUnmixSeparator",
        recurrence: _Recurrence,
        device: torch.device,
        on_frames: Callable[[int], None],
    ) -> None:
        self._separator, self._recurrence, self._on_frames = separator, recurrence, on_frames
        self._pieces = _Pieces(separator, device, exactly=separator.window_frames)
        self._synthesis = CenteredSynthesis(separator.transform)
        self._samples = self._frames = 0

    def push(self, block: Tensor) -> Tensor:
        """Take the next block, (channel, sample), and give what is ready, (stem, channel, sample), on the CPU."""
        self._samples += block.shape[-1]
        return self._joined([self._decoded(spectrum) for spectrum in self._pieces.push(block)])

    def finish(self) -> Tensor:
        """End the track and give the rest of the estimates, (stem, channel, sample)."""
        parts = [self._decoded(spectrum) for spectrum in self._pieces.finish()]
        if self._samples:
            parts.append(self._synthesis.finish(self._samples).cpu())
        return self._joined(parts)

    def _decoded(self, spectrum: Tensor) -> Tensor:
        """Decode, filter and transform back one window, (channel, frame, bin)."""
        with torch.inference_mode():
            heard = spectrum[..., : self._separator.settings.heard_bins].abs()
            signals, recurred = self._recurrence.window(heard)
            part = self._synthesis.push(self._separator.estimate(spectrum, signals, recurred)).cpu()
        self._frames += spectrum.shape[1]
        self._on_frames(self._frames)
        return part

    def _joined(self, parts: list[Tensor]) -> Tensor:
        """Join parts in a tensor of its own, which the caller may change in place: no inference tensor."""
        none = torch.zeros(len(self._separator.stems), self._separator.channels, 0)
        return torch.cat([none, *parts], dim=-1)


class _Pieces:
    """The mixture's spectrogram in pieces of so many frames, the last one shorter; 0: all in one."""

    def __init__(self, separator: "OpenUnmixSeparator", device: torch.device, *, exactly: int) -> None:
        self._analysis = CenteredAnalysis(separator.transform)
        self._device, self._exactly = device, exactly
        self._waiting: list[Tensor] = []
        self._count = 0
        self._sounded = False

    def push(self, block: Tensor) -> list[Tensor]:
        """Give the pieces that are whole now, (channel, frame, bin) each."""
        self._sounded = self._sounded or block.shape[-1] > 0
        self._waiting.append(self._analysis.push(block.to(self._device)))
        self._count += self._waiting[-1].shape[-2]
        if not self._exactly or self._count < self._exactly:
            return []
        *whole, rest = torch.split(torch.cat(self._waiting, dim=-2), self._exactly, dim=-2)
        if rest.shape[-2] == self._exactly:
            whole, rest = [*whole, rest], rest[..., :0, :]
        self._waiting, self._count = [rest.clone()], rest.shape[-2]
        return whole

    def finish(self) -> list[Tensor]:
        """Give the rest; nothing for a track without samples."""
        if not self._sounded:
            return []
        joined = torch.cat([*self._waiting, self._analysis.finish()], dim=-2)
        return list(torch.split(joined, self._exactly or joined.shape[-2], dim=-2))
