"""Oracle masks on real songs: SDR, ISR, SIR, SAR, and how far museval is from them on the same estimates.

    python benchmarks/oracles.py --dataset folders --root ../shared/data/eval-v1 [--tracks a,b] [--oracles irm1,mwf]
    python benchmarks/oracles.py --dataset musdb18 --root FOLDER_WITH_test/*.stem.mp4
    python benchmarks/oracles.py ... --without-museval

Prints Markdown: medians over tracks of medians over frames, and in the last column the largest difference in dB of any
frame of any track to museval 0.4.1. museval takes about 15 s per 25 s of music, so name a few tracks and oracles.
"""

import argparse
import os
import sys
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import soundfile

from mss_cli.datasets.catalog import open_dataset
from mss_cli.datasets.stempeg_stand_in import install
from mss_cli.datasets.track import ACCOMPANIMENT, VOCALS
from mss_cli.evaluation.results import Results, read_results
from mss_cli.evaluation.scores import METRICS, TrackScores
from mss_cli.main import main as mss_cli


def read(signal) -> np.ndarray:
    return np.concatenate(list(signal.blocks()), axis=1).T.astype(np.float64)  # (sample, channel)


def largest_difference(track, scores: TrackScores, folder: Path) -> float:
    """Score the saved estimates with museval, both scenarios, and compare every frame."""
    install()
    import museval

    true = {stem: read(signal) for stem, signal in track.references}
    samples = min(len(part) for part in true.values())
    true = {stem: part[:samples] for stem, part in true.items()}
    made = {stem: soundfile.read(folder / track.subset / track.name / f"{stem}.wav")[0][:samples] for stem in true}
    for side in (true, made):
        side[ACCOMPANIMENT] = sum(part for stem, part in side.items() if stem != VOCALS)
    worst = 0.0
    for names in ([stem for stem in true if stem != ACCOMPANIMENT], [VOCALS, ACCOMPANIMENT]):
        rows = museval.evaluate(np.stack([true[n] for n in names]), np.stack([made[n] for n in names]))
        for stem in scores.stems:
            if stem.stem not in names or (len(names) > 2 and stem.stem == VOCALS):
                continue
            for metric, row in zip(METRICS, rows, strict=True):
                ours = next(np.array(column.values) for column in stem.frames if column.metric == metric)
                theirs = row[names.index(stem.stem)]
                if (np.isnan(ours) != np.isnan(theirs)).any():
                    return float("inf")
                worst = max(worst, float(np.nanmax(np.abs(ours - theirs))))
    return worst


def evaluate(arguments: argparse.Namespace, oracle: str, folder: Path) -> Results:
    line = ["evaluate", "--oracle", oracle, "--dataset", arguments.dataset, "--root", str(arguments.root), "-q"]
    line += ["-o", str(folder), "--save-estimates", str(folder / "estimates"), "--published", "none"]
    if arguments.tracks:
        line += ["--tracks", arguments.tracks]
    with redirect_stdout(StringIO()):
        code = mss_cli(line)
    if code:
        sys.exit(f"evaluate ended with {code}")
    return read_results(folder / "results.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="folders")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--tracks")
    parser.add_argument("--oracles", default="irm1,irm2,ibm1,ibm2,cirm,mwf")
    parser.add_argument("--without-museval", action="store_true")
    arguments = parser.parse_args()
    names = arguments.tracks.split(",") if arguments.tracks else None
    tracks = {t.name: t for t in open_dataset(arguments.dataset, root=arguments.root, tracks=names).tracks}
    for number, oracle in enumerate(arguments.oracles.split(",")):
        with tempfile.TemporaryDirectory() as scratch:
            results = evaluate(arguments, oracle, Path(scratch))
            if not number:
                print(f"{len(results.tracks)} tracks, {results.score_kind}; SDR / ISR / SIR / SAR in dB\n")
                print(f"| oracle | {' | '.join(results.stems)} | museval |\n|{' --- |' * (len(results.stems) + 2)}")
            cells = [" / ".join(f"{results.value(stem, m):.2f}" for m in METRICS) for stem in results.stems]
            found = [
                largest_difference(tracks[t.name], t, Path(scratch) / "estimates")
                for t in ([] if arguments.without_museval else results.tracks)
            ]
            cells.append(f"{max(found):.1e}" if found else "not compared")
            print(f"| {oracle} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
