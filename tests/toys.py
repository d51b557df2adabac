"""Separators whose right answer is known, to test what drives separators."""

import torch

from mss_cli.separation.engine import Engine
from mss_cli.weights.store import Card


def engine_of(separator, batch_size=0):
    """Put a separator into an engine on the CPU."""
    card = Card("toy", "toy", {}, separator.stems, separator.sample_rate, "none", "MIT")
    return Engine(separator, card, torch.device("cpu"), "fp32", threads=1, batch_size=batch_size)


class Gains:
    """Each stem is the mixture times a constant."""

    channels = 2
    precisions = ("fp32",)

    def __init__(self, gains=(0.5, 0.25, 0.125, 0.0625), *, sample_rate=44100, segment_samples=1000, channels=2):
        self.gains = gains
        self.stems = ("vocals", "drums", "bass", "other")[: len(gains)]
        self.sample_rate = sample_rate
        self.segment_samples = segment_samples
        self.channels = channels
        self.normalization = "none"
        self.calls = []

    def prepare(self, device, precision):
        self.device = device

    def separate(self, mixture):
        self.calls.append(tuple(mixture.shape))
        return torch.stack([mixture * gain for gain in self.gains], dim=1)


class SegmentNumber(Gains):
    """Every sample of a segment is estimated as the number of the call: shows where segments lie."""

    def __init__(self, **settings):
        super().__init__(gains=(1.0,), **settings)

    def separate(self, mixture):
        self.calls.append(tuple(mixture.shape))
        return torch.full((mixture.shape[0], 1, *mixture.shape[1:]), float(len(self.calls)))


class Forgetful(Gains):
    """Runs out of memory for batches larger than `room`, or segments longer than `room_samples`."""

    def __init__(self, *, room=1, room_samples=None, **settings):
        super().__init__(**settings)
        self.room, self.room_samples = room, room_samples

    def separate(self, mixture):
        too_long = self.room_samples is not None and mixture.shape[-1] > self.room_samples
        if mixture.shape[0] > self.room or too_long:
            raise torch.OutOfMemoryError("no room")
        return super().separate(mixture)
