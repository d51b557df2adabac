"""MUSDB18 as stem files (listed by the package musdb) and MUSDB18-HQ as wav folders."""

from pathlib import Path

from mss_cli.datasets.extras import require
from mss_cli.datasets.folders import find_folder_tracks
from mss_cli.datasets.track import ORDER, Part, Signal, Track, in_order

# The validation split of MUSDB18, part of `train`, as published with the data set (musdb 0.4.3, `mus.yaml`).
VALIDATION = frozenset(
    {
        "ANiMAL - Rockshow",
        "Actions - One Minute Smile",
        "Alexander Ross - Goodbye Bolero",
        "Clara Berry And Wooldog - Waltz For My Victims",
        "Fergessen - Nos Palpitants",
        "James May - On The Line",
        "Johnny Lokke - Promises & Lies",
        "Leaf - Summerghost",
        "Meaxic - Take A Step",
        "Patrick Talbot - A Reason To Leave",
        "Skelpolu - Human Mistakes",
        "Traffic Experiment - Sirens",
        "Triviul - Angelsaint",
        "Young Griffo - Pennies",
    }
)
SUBSETS = ("train", "test")


def find_musdb18(root: Path) -> list[Track]:
    """List the stem files of MUSDB18, or of its preview of 7 s excerpts, through musdb's own API.

    musdb says which tracks there are and which stream is which stem; samples are then read block by block from
    the same streams with the same rounding to 16 bits.

    Raises
    ------
    UsageError
        If musdb is not installed.
    """
    from mss_cli.datasets.stempeg_stand_in import install

    install()
    musdb = require("musdb")
    tracks = []
    for entry in musdb.DB(root=str(root), subsets=list(SUBSETS)):
        path = Path(entry.path)
        references = {name: Signal((Part(path, stem_stream=source.stem_id),)) for name, source in entry.sources.items()}
        mixture = Signal((Part(path, stem_stream=entry.stem_id),))
        ordered = tuple((name, references[name]) for name in in_order(tuple(references)))
        tracks.append(Track(entry.name, entry.subset, path, mixture, ordered, required=ORDER))
    return tracks


def find_musdb18hq(root: Path) -> list[Track]:
    """List the folders of MUSDB18-HQ: `train` and `test`, each track with `mixture.wav` and four stems.

    A track that lacks a file is listed all the same, with its fault.
    """
    found = find_folder_tracks(root, subsets=SUBSETS, required=ORDER)
    return [track for track in found if track.subset in SUBSETS]
