"""Table 6.2 of the thesis in equal training time: real and complex masks, SDR and magnitude losses, vocals and drums.

``python benchmarks/complex_masks.py train --pack DIR --work DIR --minutes 8`` trains each configuration on songs played
from a note pack and on random mixes of their stems, for as many updates as so many minutes of one core pay. ``score``
separates the songs of ``--songs`` (folders with mixture and stems), prints the scores, and draws the training curves
(figure 6.7) and average spectra (figure 6.6) into ``--pictures``.

The thesis does not say on which scale its spectrograms stand, and so how alpha = beta = 1 (6.12) weighs the two losses.
Ours divides by the window's sum; ``complex-sdr-mag-512`` weighs the magnitude as a transform without that division.
"""

import argparse
import itertools
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
import soundfile
from numpy.typing import NDArray

from equal_time import Arm, run_of, train_all
from mss_cli.separation.api import Model
from mss_cli.training.curves import read_curves

matplotlib.use("Agg")
from matplotlib import pyplot

Signal = NDArray[np.float64]
SHARED = Path(__file__).resolve().parents[2] / "shared"
STEMS = ("vocals", "drums")
# Name, recipe, changes.
CONFIGURATIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "noncomplex": ("thesis6-noncomplex", ()),
    "complex-sdr": ("thesis6-complex-sdr", ()),
    "complex-sdr-mag": ("thesis6-complex-sdr-mag", ()),
    "complex-sdr-mag-512": ("thesis6-complex-sdr-mag", ("loss.1.weight=512",)),
}
BATCH, SONGS, LEARNING_RATE = 4, 200, 5e-4
WINDOW = 4096


def arms(pack: Path, work: Path) -> list[Arm]:
    return [Arm(name, recipe, partial(changes, pack, work, name)) for name, (recipe, _) in CONFIGURATIONS.items()]


def changes(pack: Path, work: Path, name: str, seed: int, updates: int) -> list[str]:
    notes = f"{{kind: notes, root: {pack}, split: train, songs: {SONGS}, seconds: 20}}"
    valid = f"{{kind: notes, root: {pack}, split: valid, songs: 12, seconds: 20}}"
    return [
        f"data.train=[{notes}]", f"data.valid=[{valid}]", f"data.cache={work / 'cache'}", "data.workers=0",
        "data.stems={vocals: [vocals], drums: [drums], bass: [bass], other: ['*']}", "data.valid_examples=24",
        f"network.targets=[{', '.join(STEMS)}]", "mixing.coherent=0.5", f"training.batch={BATCH}",
        f"training.seed={seed}", f"training.steps={updates}", f"training.validate_steps={max(1, updates // 8)}",
        f"optimizer.learning_rate={LEARNING_RATE}", "optimizer.betas=[0.9, 0.999]", "training.ema=0.995",
        "augmentation.track=[]", "augmentation.stem=[{step: gain}]", *CONFIGURATIONS[name][1],
    ]  # fmt: skip


def score(work: Path, songs: Path, pictures: Path, seeds: list[int]) -> None:
    rows, spectra = [], {}
    for name in CONFIGURATIONS:
        for seed in seeds:
            weights = run_of(work, name, seed) / "last.safetensors"
            if not weights.exists():
                continue
            estimates = separate_all(weights, songs)
            for song, references in true_stems(songs).items():
                for stem, reference in references.items():
                    estimate = estimates[song][stem]
                    rows.append((name, seed, song, stem, decibels(reference, estimate)))
                    if seed == seeds[0]:
                        spectra.setdefault((stem, name), []).append(spectrum(estimate))
                        if name == "noncomplex":
                            spectra.setdefault((stem, "reference"), []).append(spectrum(reference))
    print(score_table(rows, songs, seeds))
    means = {key: np.mean(parts, axis=0) for key, parts in spectra.items()}
    print(spectrum_table(means))
    pictures.mkdir(parents=True, exist_ok=True)
    draw_curves(work, seeds[0], pictures / "complex-mask-curves.png")
    draw_spectra(means, pictures / "complex-mask-spectra.png")


def separate_all(weights: Path, songs: Path) -> dict[str, dict[str, Signal]]:
    model = Model(str(weights), device="cpu", precision="fp32")
    found = {}
    for folder in sorted(path.parent for path in songs.glob("*/mixture.*")):
        mixture, rate = soundfile.read(next(folder.glob("mixture.*")), dtype="float32", always_2d=True)
        stems = model.separate_array(mixture.T, rate)
        found[folder.name] = {name: stems[name].astype(np.float64) for name in STEMS}
    return found


def true_stems(songs: Path) -> dict[str, dict[str, Signal]]:
    found: dict[str, dict[str, Signal]] = {}
    for folder in sorted(path.parent for path in songs.glob("*/mixture.*")):
        files = {stem: next(folder.glob(f"{stem}.*"), None) for stem in STEMS}
        found[folder.name] = {
            stem: soundfile.read(path, always_2d=True)[0].T for stem, path in files.items() if path is not None
        }
    return found


def decibels(reference: Signal, estimate: Signal) -> float:
    return float(10 * np.log10(np.square(reference).sum() / np.square(reference - estimate).sum()))


def spectrum(signal: Signal) -> Signal:
    """Mean power of each bin over frames and channels, relative to the whole."""
    frames = np.lib.stride_tricks.sliding_window_view(signal.mean(axis=0), WINDOW)[:: WINDOW // 2]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(WINDOW), axis=1))).mean(axis=0)
    return np.asarray(power / power.sum())


def score_table(rows: list[tuple[str, int, str, str, float]], songs: Path, seeds: list[int]) -> str:
    kinds = song_kinds(songs)
    columns = [(kind, stem) for kind in ("real", "constructed") for stem in STEMS]
    lines = ["| configuration | " + " | ".join(f"{kind}: {stem}" for kind, stem in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for name in CONFIGURATIONS:
        cells = []
        for kind, stem in columns:
            values = [
                [row[4] for row in rows if row[:2] == (name, seed) and row[3] == stem and kinds[row[2]] == kind]
                for seed in seeds
            ]
            cells.append(" / ".join(f"{np.mean(one):.2f}" for one in values if one))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "SDR over each excerpt, dB, mean over songs; seeds side by side.\n\n" + "\n".join(lines) + "\n"


def song_kinds(songs: Path) -> dict[str, str]:
    """Real songs have a name of one word in ``eval-v1``; constructed ones are named by style and key."""
    return {
        path.parent.name: "constructed" if "-" in path.parent.name else "real" for path in songs.glob("*/mixture.*")
    }


def spectrum_table(means: Mapping[tuple[str, str], Signal]) -> str:
    """How far the average spectra are from the reference's: mean of |difference| in dB over third octaves."""
    lines = ["| configuration | " + " | ".join(STEMS) + " |", "|---" * (len(STEMS) + 1) + "|"]
    for name in CONFIGURATIONS:
        cells = []
        for stem in STEMS:
            if (stem, name) in means:
                cells.append(f"{np.mean(np.abs(bands(means[stem, name]) - bands(means[stem, 'reference']))):.2f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "Distance of average spectra to the reference, dB, third octaves from 50 Hz to 10 kHz.\n\n" + "\n".join(
        lines
    )


def bands(power: Signal) -> Signal:
    frequencies = np.arange(len(power)) * 44_100 / WINDOW
    edges = 50 * 2 ** (np.arange(0, 24) / 3)
    pairs = itertools.pairwise(edges)
    sums = [power[(frequencies >= low) & (frequencies < high)].sum() for low, high in pairs]
    return np.asarray(10 * np.log10(np.maximum(sums, 1e-12)))


def draw_curves(work: Path, seed: int, path: Path) -> None:
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), constrained_layout=True)
    for axis, term in zip(axes, ("sdr", "magnitude-l1"), strict=True):
        for place, name in enumerate(CONFIGURATIONS):
            curves = run_of(work, name, seed) / "curves.csv"
            if not curves.exists():
                continue
            points = [point for point in read_curves(curves) if (point.kind, point.name) == ("train", term)]
            values = np.array([point.value for point in points])
            width = max(1, len(values) // 20)
            if len(values) > width:
                smooth = np.convolve(values, np.ones(width) / width, mode="valid")
                axis.plot([point.step for point in points][width - 1 :], smooth, label=name, color=f"C{place}")
        axis.set(xlabel="updates", ylabel=f"{term}, running mean", title=term)
        axis.legend()
    figure.savefig(path, dpi=110)


def draw_spectra(means: Mapping[tuple[str, str], Signal], path: Path) -> None:
    figure, axes = pyplot.subplots(1, len(STEMS), figsize=(10, 4), constrained_layout=True)
    centres = 50 * 2 ** ((np.arange(0, 23) + 0.5) / 3)
    for axis, stem in zip(axes, STEMS, strict=True):
        for name in ("reference", *CONFIGURATIONS):
            if (stem, name) in means:
                width = 2.5 if name == "reference" else 1.2
                axis.semilogx(centres, bands(means[stem, name]), label=name, linewidth=width)
        axis.set(xlabel="Hz", ylabel="dB of the whole", title=stem)
        axis.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("train", "score"))
    parser.add_argument("--pack", type=Path, default=SHARED / "data" / "stems-v1")
    parser.add_argument("--songs", type=Path, default=SHARED / "data" / "eval-v1")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, default=Path("docs/images"))
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.what == "train":
        made = arms(arguments.pack, arguments.work)
        train_all(made, arguments.work, minutes=arguments.minutes, seeds=arguments.seeds, jobs=arguments.jobs)
    else:
        score(arguments.work, arguments.songs, arguments.pictures, arguments.seeds)


if __name__ == "__main__":
    main()
