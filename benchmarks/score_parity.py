"""How far our BSSEval v4 is from museval 0.4.1: largest differences in dB on noise, real songs and stored cases."""

import json
import sys
from pathlib import Path

import numpy as np
import soundfile
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "models" / "metrics"))

import test_bss_eval as checks

from mss_models.metrics.bss_eval import bss_eval
from score_peers import METRICS, SHARED, by_channel, museval_scores, stacked, table

SONGS = SHARED / "data" / "eval-v1"
# Above this museval's own rounding decides: the estimate is the reference, or a filtered copy of it.
CEILING_DB = 100.0


def difference(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, str]:
    """Give the largest difference of values below the ceiling, and whether the NaN sets agree."""
    same = "same" if (np.isnan(ours) == np.isnan(theirs)).all() else "DIFFERENT"
    compared = np.isfinite(theirs) & (np.abs(theirs) < CEILING_DB)
    return float(np.abs(ours - theirs)[compared].max(initial=0.0)), same


def row(label: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    largest, same = difference(ours, theirs)
    print(f"| {label} | {largest:.1e} | {same} | {int(np.isnan(theirs).sum())} of {theirs.size} |", flush=True)


def noise() -> None:
    for stems, channels in ((2, 1), (2, 2), (3, 2), (4, 2)):
        random = np.random.default_rng(stems * 10 + channels)
        reference = torch.from_numpy(random.standard_normal((stems, channels, 3 * 44100)))
        reference[0, :, 44100:88200] = 0
        estimate = reference + 0.3 * torch.from_numpy(random.standard_normal(reference.shape))
        ours = stacked(bss_eval(reference, estimate, window_samples=44100))
        row(f"noise, {stems} stems, {channels} channels, 3 s", ours, museval_scores(reference, estimate, window=44100))


def songs(seconds: int) -> None:
    """Real songs, rounded to 16 bits as musdb decodes them; the estimate leaks from the other stems."""
    for folder in sorted(path for path in SONGS.iterdir() if path.is_dir()):
        tracks = [soundfile.read(path, stop=seconds * 44100)[0] for path in sorted(folder.glob("*.ogg"))]
        tracks = [track for track in tracks if np.abs(track).max() > 1e-3]  # museval refuses a silent stem
        reference = by_channel(np.rint(np.stack(tracks) * 32768) / 32768)
        leak = reference.sum(dim=0, keepdim=True) - reference
        estimate = 0.9 * reference + 0.2 * leak.roll(7, dims=-1)
        ours = bss_eval(reference, estimate, window_samples=44100)
        theirs = museval_scores(reference, estimate, window=44100)
        label = f"{folder.name}, {len(tracks)} stems, {seconds} s, 16 bit" + (
            "" if ours.stable else " (marked unstable)"
        )
        row(label, stacked(ours), theirs)


def stored() -> None:
    failed = []
    for name, case in checks.CASES.items():
        golden = checks.STORED[name]
        if "error" in golden:
            continue
        with np.errstate(all="ignore"):
            scores = stacked(checks.run_case(case))
        if checks.MAKER.compare(golden, scores):
            failed.append(name)
    refused = sum("error" in golden for golden in checks.STORED.values())
    outcome = "all within their own check" if not failed else f"OUTSIDE their check: {', '.join(failed)}"
    print(f"\nmuseval-cases: {len(checks.CASES)} cases, {refused} of them refusals; {outcome}")


def golden() -> None:
    print("\n| museval-golden | SDR | ISR | SIR | SAR | marked stable |\n| --- | --- | --- | --- | --- | --- |")
    for path in sorted((SHARED / "data" / "museval-golden").glob("*.json")):
        description = json.loads(path.read_text())
        scores = bss_eval(*checks.song_with_estimate(description), window_samples=description["win"])
        cells = []
        for number, metric in enumerate(METRICS):
            expected = table([target["frames"][metric] for target in description["targets"].values()])
            cells.append(f"{difference(stacked(scores)[number], expected)[0]:.1e}")
        print(f"| {path.stem} | {' | '.join(cells)} | {'yes' if scores.stable else 'no'} |", flush=True)


def main() -> int:
    torch.set_num_threads(1)
    print("| signals | largest difference, dB | NaN sets | NaN values |\n| --- | --- | --- | --- |")
    noise()
    if SONGS.exists():
        songs(seconds=6)
    if checks.CASES:
        stored()
        golden()
    return 0


if __name__ == "__main__":
    sys.exit(main())
