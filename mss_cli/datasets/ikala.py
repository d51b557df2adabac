"""iKala: 252 clips of 30 s, 44.1 kHz (Chan et al., ICASSP 2015)."""

from pathlib import Path

from mss_cli.datasets.pairs import find_pairs
from mss_cli.datasets.track import Track


def find_ikala(root: Path) -> list[Track]:
    """List `root/Wavfile/*.wav`: accompaniment left, voice right."""
    return find_pairs(root)
