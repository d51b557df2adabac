"""A mono signal cut into overlapping windows of whole frames, in memory that does not grow with the signal."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mono = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a signal with what surrounds it.

    Parameters
    ----------
    audio : float32 array of shape (sample,)
        Begins and ends with the context, where the signal goes on there.
    before : int, frames
        Context at the start: 0 in the first window.
    frames : int
        Frames that are wanted of this window, after those.
    """

    audio: Mono
    before: int
    frames: int


def windows(blocks: Iterable[Mono], *, hop: int, piece: int, context: int) -> Iterator[Window]:
    """Cut a signal so that its frames are wanted once each.

    A signal has ``1 + samples // hop`` frames, frame k centred on sample ``k * hop``.

    Parameters
    ----------
    blocks : iterable of float32 arrays of shape (sample,)
        Of any lengths.
    hop : int, samples
        Distance between frames; windows start at multiples of it.
    piece, context : int, frames
        Frames wanted of a window, but for the last one; frames before and after them.

    Yields
    ------
    Window
        At least one, also of an empty signal.
    """
    buffer: Mono = np.empty(0, np.float32)
    start, wanted = 0, 0  # frames: where the buffer starts, and which one is wanted next
    for block in blocks:
        buffer = np.concatenate([buffer, block])
        while buffer.size > (wanted + piece + context - start) * hop:  # one sample more, so never the last window
            end = (wanted + piece + context - start) * hop
            yield Window(buffer[:end], wanted - start, piece)
            wanted += piece
            kept = max(0, wanted - context)
            buffer = buffer[(kept - start) * hop :]
            start = kept
    last = start + buffer.size // hop  # the last frame of the signal
    while wanted <= last:
        frames = min(piece, last + 1 - wanted)
        end = (wanted + frames + context - start) * hop
        yield Window(buffer[:end], wanted - start, frames)
        wanted += frames
        kept = max(0, wanted - context)
        buffer, start = buffer[(kept - start) * hop :], kept
