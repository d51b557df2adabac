"""CcMixter: 50 songs, vocals and accompaniment, 44.1 kHz stereo.

Source: Liutkus, Fitzgerald, Rafii, Pardo and Daudet, "Kernel additive models for source separation", IEEE Trans. Signal
Processing 62, 2014.
"""

from pathlib import Path

from mss_cli.datasets.folders import DEFAULT_SUBSET
from mss_cli.datasets.track import ACCOMPANIMENT, VOCALS, Part, Signal, Track

_MIXTURE = "mix.wav"
_FILES = ((VOCALS, "source-02.wav"), (ACCOMPANIMENT, "source-01.wav"))


def find_ccmixter(root: Path) -> list[Track]:
    """List `<song>/mix.wav` with `source-01.wav` (accompaniment) and `source-02.wav` (vocals).

    Which of the two is which stands in no file of the data set; this is how its users read it. A folder that lacks one
    of the three files is left out.
    """
    tracks = []
    for mixture in sorted(root.glob(f"*/{_MIXTURE}")):
        folder = mixture.parent
        if all((folder / name).is_file() for _, name in _FILES):
            references = tuple((stem, Signal((Part(folder / name),))) for stem, name in _FILES)
            tracks.append(Track(folder.name, DEFAULT_SUBSET, folder, Signal((Part(mixture),)), references))
    return tracks
