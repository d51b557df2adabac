"""BSSEval v4 against museval: CPU seconds, peak memory, where the time goes, and what the machine could do.

    python benchmarks/bss_eval.py [--seconds 240] [--without-museval]

Four stereo stems at 44.1 kHz, seeded noise of different colours and levels with leaks, written as 32-bit float WAV;
every case runs on the same samples, in a process of its own, with one thread. CPU seconds are those of the process
while scoring (files: with reading). Prints Markdown. museval takes about 7 GB for 240 s.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np
import soundfile
import torch

from mss_models.metrics.bss_eval import BssEval, bss_eval
from mss_models.metrics.distortion_filters import Correlations
from mss_models.metrics.frame_energies import FrameFilter
from mss_models.metrics.sdr import SdrAccumulator, framewise_sdr

RATE, STEMS, BLOCK = 44100, 4, 65536
FFT = 8192
CASES = ("museval", "full, arrays", "SDR, arrays", "full, files", "SDR, files")


@dataclass
class Result:
    """What one process found."""

    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    before_mb: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)


class Clock:
    """CPU seconds spent inside functions, by name, without what other clocked functions inside them take."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner = [0.0]

    def timed(self, stage: str, function: Callable) -> Callable:
        def run(*arguments, **settings):
            self._inner.append(0.0)
            start = time.process_time()
            try:
                return function(*arguments, **settings)
            finally:
                elapsed = time.process_time() - start
                inner = self._inner.pop()
                self._inner[-1] += elapsed
                self.seconds[stage] = self.seconds.get(stage, 0.0) + elapsed - inner

        return run

    def attach(self) -> None:
        """Clock the stages of the scorer."""
        torch.fft.rfft = self.timed("transforms", torch.fft.rfft)
        torch.fft.irfft = self.timed("transforms", torch.fft.irfft)
        torch.bmm = self.timed("products per bin", torch.bmm)
        torch.baddbmm = self.timed("products per bin", torch.baddbmm)
        torch.dot = self.timed("energies", torch.dot)
        torch.sub = self.timed("energies", torch.sub)
        Correlations.solve = self.timed("solving", Correlations.solve)
        Correlations.add = self.timed("copies, first pass", Correlations.add)
        FrameFilter.add = self.timed("copies, second pass", FrameFilter.add)
        FrameFilter.close = self.timed("copies, second pass", FrameFilter.close)


def write_signals(folder: Path, seconds: float) -> None:
    """Write reference and estimate files, a block at a time."""
    random = np.random.default_rng(0)
    samples = round(seconds * RATE)
    names = [folder / f"{kind}{stem}.wav" for kind in ("reference", "estimate") for stem in range(STEMS)]
    files = [soundfile.SoundFile(name, "w", RATE, 2, subtype="FLOAT") for name in names]
    colours = [[1, 0.6, 0.3], [1, -0.7, 0.2], [1] * 8, [1, 0, -0.8]]
    for start in range(0, samples, BLOCK):
        count = min(BLOCK, samples - start)
        level = 0.05 * (1.2 + np.sin(start / RATE + np.arange(STEMS)))
        raw = random.standard_normal((STEMS, count, 2))
        reference = np.stack(
            [level[i] * np.apply_along_axis(np.convolve, 0, raw[i], colours[i], "same") for i in range(STEMS)]
        )
        estimate = 0.9 * reference + 0.1 * reference.sum(axis=0)
        estimate[:, 3:] += 0.1 * reference[:, :-3]
        estimate += 0.005 * random.standard_normal(estimate.shape)
        for file, block in zip(files, [*reference, *estimate], strict=True):
            file.write(block.astype(np.float32))
    for file in files:
        file.close()


def whole(folder: Path, kind: str) -> np.ndarray:
    """Read references or estimates as float64 (stem, sample, channel)."""
    return np.stack([soundfile.read(folder / f"{kind}{stem}.wav", dtype="float64")[0] for stem in range(STEMS)])


def tensors(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Both, as (stem, channel, sample)."""
    pair = []
    for kind in ("reference", "estimate"):
        samples = whole(folder, kind)
        pair.append(torch.from_numpy(np.ascontiguousarray(samples.transpose(0, 2, 1))))
        del samples
    return pair[0], pair[1]


def blocks(folder: Path) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Aligned blocks of both, (stem, channel, sample), float32."""
    files = [soundfile.SoundFile(folder / f"{k}{s}.wav") for k in ("reference", "estimate") for s in range(STEMS)]
    while len(first := files[0].read(BLOCK, dtype="float32")):
        rest = [file.read(BLOCK, dtype="float32") for file in files[1:]]
        both = torch.from_numpy(np.stack([first, *rest])).transpose(1, 2)
        yield both[:STEMS], both[STEMS:]
    for file in files:
        file.close()


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(run: Callable[[], np.ndarray], rounds: int = 1) -> tuple[np.ndarray, Result]:
    """Least CPU seconds of some rounds."""
    result = Result(cpu_seconds=float("inf"), before_mb=peak_mb())
    for _ in range(rounds):
        start = time.process_time()
        scores = run()
        result.cpu_seconds = min(result.cpu_seconds, time.process_time() - start)
    result.peak_mb = peak_mb()
    return scores, result


def table_of(scores) -> np.ndarray:
    return torch.stack([scores.sdr, scores.isr, scores.sir, scores.sar]).numpy()


def full_from_files(folder: Path) -> np.ndarray:
    evaluation = BssEval(stems=STEMS, channels=2, window_samples=RATE)
    for step in (evaluation.correlate, evaluation.measure):
        for reference, estimate in blocks(folder):
            step(reference, estimate)
    return table_of(evaluation.scores())


def sdr_from_files(folder: Path) -> np.ndarray:
    accumulator = SdrAccumulator(stems=STEMS, channels=2, window_samples=RATE)
    for reference, estimate in blocks(folder):
        accumulator.update(reference, estimate)
    return accumulator.frames().numpy()[None]


def museval_scores(references: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    sys.modules.setdefault("stempeg", types.ModuleType("stempeg"))  # it only looks for the ffmpeg program
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import museval

        return np.stack(museval.evaluate(references, estimates, win=RATE, hop=RATE))


def run_case(case: str, folder: Path) -> None:
    """Run one case in this process; leave the scores in the folder and print the result as JSON."""
    torch.set_num_threads(1)
    clock = Clock()
    if case == "museval":
        references, estimates = whole(folder, "reference"), whole(folder, "estimate")
        scores, result = measure(lambda: museval_scores(references, estimates))
    elif case == "full, arrays":
        pair = tensors(folder)
        clock.attach()
        scores, result = measure(lambda: table_of(bss_eval(*pair, window_samples=RATE)))
    elif case == "SDR, arrays":
        pair = tensors(folder)
        scores, result = measure(lambda: framewise_sdr(*pair, window_samples=RATE).numpy()[None], rounds=5)
    elif case == "full, files":
        scores, result = measure(lambda: full_from_files(folder))
    else:
        scores, result = measure(lambda: sdr_from_files(folder))
    result.stages = clock.seconds
    np.save(folder / f"{case}.npy", scores)
    print(json.dumps(asdict(result)))


def least(run: Callable[[], object], rounds: int = 7) -> float:
    """Least CPU seconds of one call."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best


def machine_rates() -> dict[str, float]:
    """Seconds of one transform of 8192 samples in the cache, and rates of float64 products in Gflop/s."""
    torch.set_num_threads(1)
    signals = torch.randn(32, FFT, dtype=torch.float64)
    square = torch.randn(2048, 2048, dtype=torch.float64)
    bins, rows, segments = FFT // 2 + 1, 2 * STEMS, 6
    spectra = torch.randn(bins, segments, rows, dtype=torch.complex128)
    responses = torch.randn(bins, 2 * rows, rows, dtype=torch.complex128).mT
    small = least(lambda: torch.bmm(spectra, responses))
    return {
        "transform": least(lambda: torch.fft.rfft(signals), 50) / 32,
        "product": 2 * 2048**3 / least(lambda: square @ square, 4) / 1e9,
        "small": 8 * bins * segments * rows * 2 * rows / small / 1e9,
    }


def report(results: dict[str, Result], folder: Path, seconds: float) -> None:
    """Print the tables."""
    print(f"Four stereo stems, {seconds:g} s, 44.1 kHz, one thread, torch {torch.__version__}.\n")
    print("| case | CPU s | museval / this | peak MB | of which before |")
    print("|---|---|---|---|---|")
    base = results["museval"].cpu_seconds if "museval" in results else float("nan")
    for case, r in results.items():
        print(f"| {case} | {r.cpu_seconds:.2f} | {base / r.cpu_seconds:.0f} | {r.peak_mb:.0f} | {r.before_mb:.0f} |")
    stages, total = results["full, arrays"].stages, results["full, arrays"].cpu_seconds
    stages["the rest"] = total - sum(stages.values())
    rates = machine_rates()
    taps, rows = 512, 2 * STEMS
    step = FFT - taps + 1
    first = round(seconds * RATE) / step * 3 * rows
    second = int(seconds) * -(-(RATE + taps - 1) // step) * 3 * rows
    order = rows * taps
    floor = {
        "transforms": (first + second) * rates["transform"],
        "solving": (order**3 / 3 + 4 * order**2 * rows) / rates["product"] / 1e9,
        "products per bin": 8 * (FFT // 2 + 1) * (first + second) / 3 * 2 * rows / rates["small"] / 1e9,
    }
    print("\n| stage of the full set on arrays | CPU s | share | s at the machine's measured rate |")
    print("|---|---|---|---|")
    for stage, spent in sorted(stages.items(), key=lambda item: -item[1]):
        bound = f"{floor[stage]:.2f}" if stage in floor else "-"
        print(f"| {stage} | {spent:.2f} | {100 * spent / total:.0f} % | {bound} |")
    print(
        f"\nMachine: one real transform of {FFT} samples {1e6 * rates['transform']:.0f} us "
        f"({2.5 * FFT * np.log2(FFT) / rates['transform'] / 1e9:.1f} Gflop/s), float64 matrix product "
        f"{rates['product']:.0f} Gflop/s, small complex products {rates['small']:.1f} Gflop/s."
    )
    if "museval" in results:
        theirs = np.load(folder / "museval.npy")
        for case in list(results)[1:]:
            ours = np.load(folder / f"{case}.npy")
            kept = np.isfinite(theirs[: len(ours)]) & (theirs[: len(ours)] < 100)
            same = bool((np.isnan(ours) == np.isnan(theirs[: len(ours)])).all())
            print(
                f"{case}: largest difference {np.abs(ours - theirs[: len(ours)])[kept].max():.1e} dB, same NaN: {same}."
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--without-museval", action="store_true")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        run_case(arguments.case, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_signals(folder, arguments.seconds)
        results = {}
        for case in CASES[1 if arguments.without_museval else 0 :]:
            command = [sys.executable, __file__, "--case", case, "--folder", name]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            results[case] = Result(**json.loads(output))
        report(results, folder, arguments.seconds)


if __name__ == "__main__":
    main()
