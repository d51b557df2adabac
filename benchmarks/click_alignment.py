"""Where a click lands after the way through each format: prints two Markdown tables.

Run from the root of the repository: ``python benchmarks/click_alignment.py``.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from clicks import INPUTS, RATE, SAMPLES, click_signal, cut, offset, read, resampled, residual_db
from mss_cli.audio.encode import encode
from mss_cli.audio.formats import OutputFormat
from mss_cli.audio.stemfile import encode_stem_file

OUTPUTS = [
    OutputFormat("wav"),
    OutputFormat("wav", "int24"),
    OutputFormat("wav", "float32"),
    OutputFormat("flac"),
    OutputFormat("flac", "int24"),
    OutputFormat("mp3"),
    OutputFormat("ogg"),
    OutputFormat("opus"),
    OutputFormat("m4a"),
]


def inputs(folder: Path) -> None:
    print(f"Clicks in {SAMPLES} samples of stereo at {RATE} Hz; offset and length in samples of the file.\n")
    print("| input | decoder | offset | length difference | residual | reason |")
    print("| --- | --- | ---: | ---: | ---: | --- |")
    signal = click_signal()
    for name, form in INPUTS.items():
        form.write(folder / "input", signal)
        info, found = read(folder / "input")
        shift = offset(signal, found)
        level = residual_db(signal, found[:, shift:])
        longer = found.shape[1] - signal.shape[1]
        print(f"| {name} | {info.decoder} | {shift} | {longer} | {level:.1f} dB | {form.reason} |")


def outputs(folder: Path) -> None:
    print("\n| output | rate | offset | length difference | residual | note |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    signal = click_signal()
    for form in OUTPUTS:
        written = encode(
            cut(signal), folder / "output", format=form, sample_rate=RATE, channels=2, samples=signal.shape[1]
        )
        _, found = read(folder / "output")
        name = f"{form.name} {form.depth}" if form.effective_bitrate is None else form.name
        row(name, signal, found, written.sample_rate)
    encode_stem_file(
        cut(signal),
        [cut(signal) for _ in range(4)],
        folder / "output",
        names=("drums", "bass", "other", "vocals"),
        sample_rate=RATE,
        channels=2,
        samples=signal.shape[1],
    )
    for number in range(5):
        _, found = read(folder / "output", stream=number)
        row(f"stem.mp4, stream {number}", signal, found, RATE)


def row(name: str, signal, found, rate: int) -> None:
    expected = resampled(signal, RATE, rate)
    note = "" if rate == RATE else f"holds {rate} Hz only; compared with the resampled signal"
    longer = found.shape[1] - expected.shape[1]
    level = residual_db(expected, found)
    print(f"| {name} | {rate} | {offset(expected, found)} | {longer} | {level:.1f} dB | {note} |")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        inputs(Path(folder))
        outputs(Path(folder))
