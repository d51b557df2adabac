"""MIR-1K: 1000 clips of Chinese karaoke, 16 kHz (Hsu and Jang, IEEE Trans. ASLP 18, 2010)."""

from pathlib import Path

from mss_cli.datasets.pairs import find_pairs
from mss_cli.datasets.track import Track


def find_mir1k(root: Path) -> list[Track]:
    """List `root/Wavfile/*.wav`: accompaniment left, voice right."""
    return find_pairs(root)
