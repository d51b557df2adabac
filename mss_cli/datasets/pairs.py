"""Stereo files with the accompaniment on the left and the voice on the right: MIR-1K and iKala."""

from pathlib import Path

from mss_cli.datasets.folders import DEFAULT_SUBSET
from mss_cli.datasets.track import ACCOMPANIMENT, VOCALS, Part, Signal, Track

_LEFT, _RIGHT = 0, 1


def find_pairs(root: Path) -> list[Track]:
    """List the clips of a `Wavfile` folder (or of the root itself) as mono tracks.

    The mixture is the sum of both channels: voice and accompaniment at the levels they were recorded in.
    """
    folder = next((root / name for name in ("Wavfile", "wavfile") if (root / name).is_dir()), root)
    tracks = []
    for path in sorted(path for path in folder.glob("*.wav") if not path.name.startswith(".")):
        left, right = Part(path, channel=_LEFT), Part(path, channel=_RIGHT)
        references = ((VOCALS, Signal((right,))), (ACCOMPANIMENT, Signal((left,))))
        tracks.append(Track(path.stem, DEFAULT_SUBSET, path, Signal((left, right)), references))
    return tracks
