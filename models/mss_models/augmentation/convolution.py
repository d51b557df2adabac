"""Lengths of transforms for convolution by products of spectra."""

from functools import lru_cache


@lru_cache(maxsize=256)
def fast_length(samples: int) -> int:
    """Smallest even length of the factors 2, 3 and 5 that is not shorter: transforms of it are fast."""
    best: int = 2 ** max(1, (samples - 1).bit_length())
    five = 1
    while five < best:
        three = five
        while three < best:
            length = 2 * three
            while length < samples:
                length *= 2
            best = min(best, length)
            three *= 3
        five *= 5
    return best
