"""Small networks with random weights, and what watches how they are called."""

import multiprocessing
import threading

import torch

from mss_cli.batch.engines.base import Task
from mss_cli.weights.store import Card, save_checkpoint
from mss_models.catalog import build

RATE = 44_100
SEGMENT = 5_760
SUBBAND = {
    "stems": ["vocals", "drums", "bass", "other"], "sample_rate": RATE, "channels": 2, "n_fft": 512, "hop_length": 128,
    "bins": 192, "head": "shares", "segment_frames": 48, "channels_by_scale": [6, 8, 10], "sub_bands": 4,
    "bottleneck": 3,
}  # fmt: skip


def network():
    """Build a sub-band network, the same each time, with segments of 0.13 s."""
    torch.manual_seed(0)
    return build("subband-unet", SUBBAND).eval()


def write_network(path):
    """Save it as a checkpoint and give its name."""
    made = network()
    card = Card("small", "subband-unet", SUBBAND, made.stems, made.sample_rate, "a test", "MIT")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, made.state_dict(), card)
    return str(path)


class Watched:
    """A separator that notes how it is called, and may have no room for some calls.

    Parameters
    ----------
    inner : Separator
    refuse : callable, optional
        Takes a mixture and gives the exception to raise, or None.
    """

    def __init__(self, inner, refuse=lambda mixture: None):
        self.stems, self.sample_rate, self.channels = inner.stems, inner.sample_rate, inner.channels
        self.segment_samples, self.normalization = inner.segment_samples, inner.normalization
        self.precisions = inner.precisions
        self.inner, self.refuse = inner, refuse
        self.calls = []
        self.prepared = []
        self.gate = threading.Event()  # closed, the first call stays in it
        self.gate.set()
        self.inside = threading.Lock()

    def prepare(self, device, precision):
        with alone(self.inside):
            self.prepared.append(device)
            self.inner.prepare(device, precision)

    def separate(self, mixture):
        with alone(self.inside):
            self.calls.append(tuple(mixture.shape))
            assert self.gate.wait(60.0)
            error = self.refuse(mixture)
            if error is not None:
                raise error
            return self.inner.separate(mixture)


class TornTask(Task):
    """A task that tears the thread that does it away, in a worker process."""

    __slots__ = ()

    def __getattribute__(self, name):
        if name == "path" and multiprocessing.parent_process() is not None:
            raise SystemExit(1)
        return object.__getattribute__(self, name)


class alone:  # noqa: N801 - reads as a word
    """Fail where a second thread comes in."""

    def __init__(self, lock):
        self.lock = lock

    def __enter__(self):
        assert self.lock.acquire(blocking=False), "two threads are in the separator"

    def __exit__(self, *exception):
        self.lock.release()
