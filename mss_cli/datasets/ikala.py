"""iKala: 252 clips of 30 s, 44.1 kHz (Chan et al., ICASSP 2015)."""

from dataclasses import replace
from pathlib import Path

from mss_cli.datasets.pairs import find_pairs
from mss_cli.datasets.track import Track


def find_ikala(root: Path) -> list[Track]:
    """List `root/Wavfile/*.wav`: accompaniment left, voice right; labels of pitch are `root/PitchLabel/*.pv`."""
    return [_labelled(track, root / "PitchLabel" / f"{track.path.stem}.pv") for track in find_pairs(root)]


def _labelled(track: Track, labels: Path) -> Track:
    return replace(track, pitch=labels) if labels.is_file() else track
