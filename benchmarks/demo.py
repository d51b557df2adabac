"""Separates a real song excerpt with the default model and prints what came of it (`make demo`).

The song is the stem file that the package stempeg ships: an excerpt of "Falcon 69" by The Easton Ellises, a MUSDB18
test song under MUSDB18's licence, for trying only. Nothing made from it may be published, and nobody may train on it.
"""

import argparse
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from mss_cli.audio.decode import decode
from mss_cli.audio.probe import probe

Signal = NDArray[np.float64]
# Streams of a MUSDB18 stem file after the mixture.
REFERENCES = ("drums", "bass", "other", "vocals")


def song() -> Path:
    """Find the excerpt without importing stempeg, which needs an ffmpeg program."""
    spec = find_spec("stempeg")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("error: the package stempeg is not installed; run `make install`")
    return next(Path(spec.submodule_search_locations[0], "data").glob("*.stem.mp4"))


def signal(path: Path, stream: int | None = None) -> Signal:
    """Decode a whole excerpt, (channel, sample)."""
    return np.concatenate(list(decode(probe(path, stream=stream))), axis=-1).astype(np.float64)


def sdr(reference: Signal, estimate: Signal) -> float:
    """Give the signal-to-distortion ratio over the excerpt in dB: 10 log10 |s|^2 / |s - e|^2."""
    return float(10 * np.log10(np.square(reference).sum() / np.square(reference - estimate).sum()))


def constant_gain_floor(reference: Signal, mixture: Signal) -> float:
    """Give the SDR of the mixture times the best constant: what anything useful must beat."""
    gain = (reference * mixture).sum() / np.square(mixture).sum()
    return sdr(reference, gain * mixture)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=None, help="another model than the default")
    parser.add_argument("--output", type=Path, default=None, help="keep the stems there")
    arguments = parser.parse_args()
    source = song()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.output or Path(scratch)
        command = [sys.executable, "-m", "mss_cli", "separate", str(source), "-o", str(folder), "--float32", "--json"]
        command += ["--filename", "{stem}.{ext}", "--quiet"]
        command += ["--model", arguments.model] if arguments.model else []
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if run.returncode:
            return run.returncode
        report(source, run.stdout, kept=arguments.output)
    return 0


def report(source: Path, events: str, *, kept: Path | None) -> None:
    """Print the table."""
    import json

    told = {event["event"]: event for event in map(json.loads, events.splitlines())}
    finished, model = told["track_finished"], told["weights_ready"]["model"]
    mixture = signal(source, 0)
    references = {name: signal(source, number) for number, name in enumerate(REFERENCES, start=1)}
    seconds = finished["samples"] / finished["sample_rate_hz"]
    console = Console()
    speed = f"{seconds:.2f} s, {seconds / finished['elapsed_seconds']:.1f} times real time"
    table = Table(title=f"{source.name} by `{model}`: {speed}")
    for heading in ("file", "length, samples", "peak", "SDR, dB", "floor, dB", "above it, dB"):
        table.add_column(heading, justify="left" if heading == "file" else "right")
    gains = []
    for output in finished["outputs"]:
        estimate = np.asarray(soundfile.read(output["path"], always_2d=True)[0]).T  # (channel, sample)
        reference = references[output["stem"]]
        score, floor = sdr(reference, estimate), constant_gain_floor(reference, mixture)
        gains.append(score - floor)
        row = (Path(output["path"]).name, str(output["samples"]), f"{output['peak']:.3f}")
        table.add_row(*row, f"{score:.2f}", f"{floor:.2f}", f"{score - floor:+.2f}")
    console.print(table)
    cap = sdr(mixture, sum(references.values(), np.zeros_like(mixture)))
    console.print(
        f"Mean above the floor: {np.mean(gains):+.2f} dB. Floor: the mixture times the best constant gain per stem.\n"
        f"This file's mixture is a mastered mix, {cap:.1f} dB away from the sum of its own stems: that "
        "caps every score.\n"
        "SDR is over the whole excerpt, against the file's own streams.\n"
        "Song: The Easton Ellises, Falcon 69 (MUSDB18 test set, its licence): for trying only, not for training or "
        + ("publishing." if kept is None else f"publishing. Stems are in {kept}."),
        highlight=False,
    )


if __name__ == "__main__":
    sys.exit(main())
