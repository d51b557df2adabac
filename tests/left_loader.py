"""Takes a few batches from a process that makes them without end, and leaves; run as a program."""

import itertools

import numpy as np

from mss_cli.training.batches import loader
from mss_cli.training.examples import Example


class Big:
    """Examples that take a while to send."""

    def __getitem__(self, key):
        return Example(np.zeros((4, 2, 66150), np.float32), None, 0)


if __name__ == "__main__":
    for _ in itertools.islice(iter(loader(Big(), batch=16, start=lambda: 0, workers=1)), 3):
        pass
