"""How well the stems of a real song sum to its mixture, per output format."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soxr

from demo import signal, song

FORMATS = (
    ("wav", "float32"),
    ("wav", "int24"),
    ("wav", "int16"),
    ("flac", "int24"),
    ("flac", "int16"),
    ("m4a", None),
    ("ogg", None),
    ("mp3", None),
    ("opus", None),
)


def main() -> int:
    source = song()
    mixture = signal(source, 0)
    print("| format | gain | residual of the sum, dB | lengths |\n| --- | --- | --- | --- |")
    for name, depth in FORMATS:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "mss_cli", "separate", str(source), "-o", folder, "--json", "-q"]
            command += ["--format", name, *(["--depth", depth] if depth else [])]
            run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            finished = next(
                event for event in map(json.loads, run.stdout.splitlines()) if event["event"] == "track_finished"
            )
            total = sum(signal(Path(output["path"])) for output in finished["outputs"])
            rate = finished["outputs"][0]["sample_rate_hz"]
            expected = mixture * finished["gain"]
            if rate != 44100:
                expected = soxr.resample(expected.T, 44100, rate, "VHQ").T  # (channel, sample)
            level = 10 * np.log10(np.square(total - expected).sum() / np.square(expected).sum())
            label = f"{name} {depth}" if depth else f"{name} (default bit rate)"
            print(f"| {label} | {finished['gain']:.3f} | {level:.1f} | {total.shape[-1]} at {rate} Hz |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
