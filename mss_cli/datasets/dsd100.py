"""DSD100: 100 songs as wav, four stems (Liutkus et al., LVA/ICA 2017)."""

from pathlib import Path

from mss_cli.datasets.folders import audio_files
from mss_cli.datasets.track import MIXTURE, ORDER, Part, Signal, Track

# Names of the folders of the two subsets.
_SUBSETS = {"Dev": "train", "Test": "test"}


def find_dsd100(root: Path) -> list[Track]:
    """List `Mixtures/{Dev,Test}/<track>/mixture.wav` with the stems of `Sources/{Dev,Test}/<track>/`."""
    tracks = []
    for folder, subset in _SUBSETS.items():
        for mixture in sorted((root / "Mixtures" / folder).glob(f"*/{MIXTURE}.*")):
            name = mixture.parent.name
            stems = audio_files(root / "Sources" / folder / name)
            references = tuple(
                (stem, Signal((Part(stems[stem], sixteen_bits=True),))) for stem in ORDER if stem in stems
            )
            tracks.append(Track(name, subset, mixture.parent, Signal((Part(mixture),)), references))
    return tracks
