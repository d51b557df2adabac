"""MedleyDB 1 and 2: multitracks with YAML metadata, stems by instrument label, mixing coefficients.

Source: Bittner et al., "MedleyDB: a multitrack dataset for annotation-intensive MIR research", ISMIR 2014.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from mss_cli.datasets.folders import DEFAULT_SUBSET, fault_of, folders_in
from mss_cli.datasets.track import Part, Signal, Track, in_order
from mss_cli.errors import DatasetError

# Which of our stems a label of MedleyDB's taxonomy belongs to; every other label is `other`.
LABELS: Mapping[str, tuple[str, ...]] = {
    "vocals": (
        "male singer", "female singer", "vocalists", "choir", "male rapper", "female rapper", "male speaker",
        "female speaker", "male screamer", "female screamer", "beatboxing", "crowd",
    ),
    "drums": (
        "drum set", "drum machine", "kick drum", "snare drum", "bass drum", "toms", "cymbal", "high hat", "drums",
        "auxiliary percussion", "tambourine", "shaker", "claps", "snaps", "maracas", "cowbell", "bongo", "conga",
        "cabasa", "guiro", "castanet", "whistle", "sleigh bells", "darbuka", "doumbek", "timpani", "tabla", "gong",
    ),
    "bass": ("electric bass", "double bass", "bass", "synth bass", "sub bass", "upright bass", "fretless bass"),
}  # fmt: skip
_STEM_OF = {label: stem for stem, labels in LABELS.items() for label in labels}


def find_medleydb(root: Path) -> list[Track]:
    """List the multitracks below `Audio` (or the root).

    References are sums of stem files, each times its coefficient from `mixing_coefficients.yaml` where the root has
    that file (it comes with the package medleydb), else as they lie. The mixture is the published mix. A track whose
    metadata are damaged, or name a file that is missing, has a fault.

    Raises
    ------
    DatasetError
        If the root or the mixing coefficients cannot be read.
    """
    audio = root / "Audio" if (root / "Audio").is_dir() else root
    coefficients = _coefficients(root)
    tracks = []
    for folder in folders_in(audio):
        try:
            metadata = _metadata(root, folder)
            if metadata is not None:
                tracks.append(_track(folder, metadata, coefficients.get(folder.name, {})))
        except (DatasetError, OSError) as error:
            tracks.append(Track.broken(folder.name, DEFAULT_SUBSET, folder, fault_of(error, folder)))
    return tracks


def _metadata(root: Path, folder: Path) -> Path | None:
    name = f"{folder.name}_METADATA.yaml"
    return next((path for path in (folder / name, root / "Metadata" / name) if path.is_file()), None)


def _track(folder: Path, metadata: Path, coefficients: Mapping[str, float]) -> Track:
    document = _mapping(_load(metadata), metadata)
    stems = _mapping(document.get("stems"), metadata)
    stem_folder = folder / str(document.get("stem_dir") or f"{folder.name}_STEMS")
    parts: dict[str, list[Part]] = {}
    for key, value in sorted(stems.items()):
        stem = _mapping(value, metadata)
        path = stem_folder / str(stem.get("filename"))
        if not path.is_file():
            raise DatasetError("no such file", path=str(path), hint=f"{metadata.name} names it: complete the data set")
        gain = coefficients.get(key.removeprefix("S").lstrip("0"), 1.0)
        parts.setdefault(_stem_name(stem.get("instrument")), []).append(Part(path, gain=gain, sixteen_bits=True))
    mixture = folder / str(document.get("mix_filename") or f"{folder.name}_MIX.wav")
    if not mixture.is_file():
        raise DatasetError("no such file", path=str(mixture), hint=f"{metadata.name} names it: complete the data set")
    references = tuple((name, Signal(tuple(parts[name]))) for name in in_order(tuple(parts)))
    return Track(folder.name, DEFAULT_SUBSET, folder, Signal((Part(mixture),)), references)


def _stem_name(label: object) -> str:
    """Sort one label; of a list the first one counts."""
    first = label[0] if isinstance(label, list) and label else label
    return _STEM_OF.get(str(first).lower(), "other")


def _coefficients(root: Path) -> dict[str, dict[str, float]]:
    """Read the coefficients: track name -> stem number -> factor."""
    path = root / "mixing_coefficients.yaml"
    if not path.is_file():
        return {}
    read: dict[str, dict[str, float]] = {}
    for name, stems in _mapping(_load(path), path).items():
        read[name] = {}
        for number, factor in _mapping(stems, path).items():
            if not isinstance(factor, int | float) or isinstance(factor, bool):
                raise DatasetError(f"`{name}`: `{factor}` is no number", path=str(path), hint="restore the file")
            read[name][number.removeprefix("S").lstrip("0")] = float(factor)
    return read


def _load(path: Path) -> object:
    import yaml

    try:
        return cast(object, yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DatasetError("cannot read the metadata", path=str(path), hint="restore the file") from error


def _mapping(value: object, path: Path) -> dict[str, object]:
    if not isinstance(value, dict):
        raise DatasetError("the metadata have another form than MedleyDB's", path=str(path), hint="restore the file")
    return {str(key): entry for key, entry in value.items()}
