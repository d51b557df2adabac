"""Scores the classical separator and prints Markdown tables (`python benchmarks/classical_scores.py`).

Three groups: the song excerpt in the package stempeg, the songs of ``../shared/data/eval-v1`` (recorded and constructed
apart), and practice songs played from ``../shared/data/stems-v1`` as those on which the constants were chosen. Groups
whose audio is absent are left out. SDR is ``10 log10(|s|^2 / |s - e|^2)`` over the whole excerpt, both channels; the
floor is that of the mixture times the best constant.
"""

import argparse
import csv
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from mss_models.classical.four_stems import ClassicalSeparator
from mss_models.streaming import StreamSettings, stream
from practice_songs import STEMS, play_song

Audio = NDArray[np.float64]
Scores = dict[str, tuple[float, float]]  # stem -> SDR, floor
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def decibels(reference: Audio, estimate: Audio) -> float:
    return float(10 * np.log10(np.square(reference).sum() / np.square(reference - estimate).sum()))


def score(separator: ClassicalSeparator, mixture: Audio, references: dict[str, Audio]) -> Scores:
    """Separate as the command does, in overlapping segments, and compare each stem that the song has."""
    settings = StreamSettings(segment_samples=separator.segment_samples)
    blocks = stream(separator, [torch.from_numpy(mixture).float()], settings, device=torch.device("cpu"))
    estimates = torch.cat(list(blocks), dim=-1).double().numpy()  # (stem, channel, sample)
    scores = {}
    for stem, reference in references.items():
        gain = (reference * mixture).sum() / np.square(mixture).sum()
        estimate = estimates[separator.stems.index(stem)]
        scores[stem] = decibels(reference, estimate), decibels(reference, gain * mixture)
    return scores


def demo_song() -> tuple[Audio, dict[str, Audio]] | None:
    """Mixture and stems of the excerpt in stempeg, without importing it."""
    spec = find_spec("stempeg")
    if spec is None or not spec.submodule_search_locations:
        return None
    import av

    streams = []
    for number in range(5):
        with av.open(str(next(Path(spec.submodule_search_locations[0], "data").glob("*.stem.mp4")))) as container:
            frames = [frame.to_ndarray() for frame in container.decode(container.streams.audio[number])]
        streams.append(np.concatenate(frames, axis=1).astype(np.float64))  # (channel, sample)
    return streams[0], dict(zip(("drums", "bass", "other", "vocals"), streams[1:], strict=True))


def eval_songs(kind: str) -> Iterator[tuple[Audio, dict[str, Audio]]]:
    """Songs of one kind: "real" or "constructed"."""
    table = SHARED / "eval-v1" / "songs.csv"
    if not table.exists():
        return
    with table.open(newline="", encoding="utf-8") as rows:
        names = [row["name"] for row in csv.DictReader(rows) if row["kind"] == kind]
    for name in names:
        folder = table.parent / name
        mixture = soundfile.read(folder / "mixture.flac")[0].T  # (channel, sample)
        stems = {stem: folder / f"{stem}.ogg" for stem in STEMS}
        yield mixture, {stem: soundfile.read(path)[0].T for stem, path in stems.items() if path.exists()}


def practice(split: str, count: int) -> Iterator[tuple[Audio, dict[str, Audio]]]:
    root = SHARED / "stems-v1"
    for seed in range(count if root.exists() else 0):
        stems = play_song(root, split=split, seed=seed).stems.astype(np.float64)
        yield stems.sum(axis=0), {name: stem for name, stem in zip(STEMS, stems, strict=True) if np.any(stem)}


def row(title: str, songs: list[Scores]) -> str:
    """One line of the table: mean per stem over the songs that have it."""
    cells, gains = [], []
    for stem in STEMS:
        pairs = np.array([scores[stem] for scores in songs if stem in scores])
        if not len(pairs):
            cells.append("-")
            continue
        sdr, floor = pairs.mean(axis=0)
        gains.append(sdr - floor)
        cells.append(f"{sdr:.2f} ({floor:.2f})")
    return f"| {title} | {len(songs)} | " + " | ".join(cells) + f" | {np.mean(gains):+.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--songs", action="store_true", help="a row per song as well")
    parser.add_argument("--practice", type=int, default=8, help="practice songs per split")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    separator = ClassicalSeparator()
    demo = demo_song()
    groups = {
        "demo song": iter([demo] if demo else []),
        "eval-v1, recorded": eval_songs("real"),
        "eval-v1, constructed": eval_songs("constructed"),
        "practice songs, train": practice("train", arguments.practice),
        "practice songs, valid": practice("valid", arguments.practice),
    }
    print("SDR in dB, in brackets the floor (mixture times the best constant); means over songs.\n")
    print(f"| songs | number | {' | '.join(STEMS)} | mean above floor |\n|---|---|{'---|' * (len(STEMS) + 1)}")
    spent, seconds = 0.0, 0.0
    for title, songs in groups.items():
        scores = []
        for mixture, references in songs:
            start = time.process_time()
            scores.append(score(separator, mixture, references))
            spent, seconds = spent + time.process_time() - start, seconds + mixture.shape[-1] / separator.sample_rate
            if arguments.songs:
                print(row(f"{title} {len(scores)}", scores[-1:]))
        if scores:
            print(row(title, scores), flush=True)
    if seconds:
        print(
            f"\n{spent / seconds:.3f} CPU seconds per second of audio on one thread, segments overlapping by a quarter."
        )


if __name__ == "__main__":
    main()
