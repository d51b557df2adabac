"""DSD100: 100 songs as wav, four stems (Liutkus et al., LVA/ICA 2017)."""

from pathlib import Path

from mss_cli.datasets.folders import fault_of, folders_in, unique_files
from mss_cli.datasets.track import MIXTURE, ORDER, Part, Signal, Track
from mss_cli.errors import DatasetError

# Names of the folders of the two subsets.
_SUBSETS = {"Dev": "train", "Test": "test"}


def find_dsd100(root: Path) -> list[Track]:
    """List `Mixtures/{Dev,Test}/<track>/mixture.wav` with the stems of `Sources/{Dev,Test}/<track>/`.

    A track without its mixture, or in a folder that cannot be read, has a fault; one that lacks a stem is incomplete.
    """
    tracks = []
    for name, subset in _SUBSETS.items():
        mixtures = root / "Mixtures" / name
        try:
            folders = folders_in(mixtures) if mixtures.is_dir() else []
        except DatasetError as error:
            tracks.append(Track.broken(name, subset, mixtures, fault_of(error, mixtures)))
            continue
        tracks += [_track(folder, root / "Sources" / name / folder.name, subset) for folder in folders]
    return tracks


def _track(folder: Path, sources: Path, subset: str) -> Track:
    try:
        mixture = unique_files(folder).get(MIXTURE)
        stems = unique_files(sources)
        if mixture is None:
            raise DatasetError("no mixture", path=str(folder), hint="complete the data set")
    except DatasetError as error:
        return Track.broken(folder.name, subset, folder, fault_of(error, folder))
    references = tuple((stem, Signal((Part(stems[stem], sixteen_bits=True),))) for stem in ORDER if stem in stems)
    return Track(folder.name, subset, folder, Signal((Part(mixture),)), references, required=ORDER)
