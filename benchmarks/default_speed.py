r"""Speed and peak memory of `mss-cli separate` with the default model, beside the commands of demucs and Open-Unmix.

    python benchmarks/default_speed.py [--minutes 4 30] [--model NAME_OR_PATH] [--peers DIR [--peer-minutes 4]]

A 16-bit wav goes in, four 16-bit wavs come out, in processes of their own: start, loading and writing are counted.
CPU seconds are user plus system time of the process; "times real time" is 2 cores x length / CPU seconds, so that other
work on the machine does not change it. Peak memory is the largest resident set.

The peers run with random weights, on which neither speed nor memory depends, in an environment of their own, never in
ours. DIR is a virtual environment made once:

    python -m venv DIR && DIR/bin/pip install torch==2.13.0 numpy soundfile pyyaml tqdm
    DIR/bin/pip install --no-deps demucs==4.1.0 openunmix==1.3.0 dora-search einops julius lameenc sphn omegaconf \
        treetable submitit retrying antlr4-python3-runtime cloudpickle typing_extensions

Open-Unmix wants torchaudio for nothing but reading and writing files; a stand-in for these two calls is written into
DIR/made, and so are the random weights (0.6 GB): of htdemucs, and of umxl, which are the two commands' own defaults.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from default_songs import RATE, judged_songs
from mss_cli.weights.manifest import DEFAULT
from peak_memory import peak_mebibytes, write_song

CORES = 2
STAND_IN = """
import soundfile
import torch


def load(path, frame_offset=0, num_frames=-1):
    samples, rate = soundfile.read(path, start=frame_offset, frames=num_frames, dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T.copy()), rate


def save(path, samples, sample_rate):
    soundfile.write(path, samples.T.numpy(), sample_rate, subtype="PCM_16")
"""
# Runs in the peers' environment; the argument is the folder to fill.
MAKE_WEIGHTS = """
import json, sys
from pathlib import Path
import torch
from demucs.htdemucs import HTDemucs
from openunmix.model import OpenUnmix
made = Path(sys.argv[1])
torch.manual_seed(0)
stems = ["drums", "bass", "other", "vocals"]
settings = dict(sources=stems, bottom_channels=512, t_layers=5, samplerate=44100, segment=7.8)
network = HTDemucs(**settings)
package = dict(klass=HTDemucs, args=(), kwargs=settings, state=network.state_dict(), training_args={})
torch.save(package, made / "random.th")
folder = made / "umxl"
folder.mkdir(exist_ok=True)
for stem in stems:
    network = OpenUnmix(nb_bins=2049, nb_channels=2, hidden_size=1024, max_bin=1487)
    torch.save(network.state_dict(), folder / f"{stem}.pth")
    (folder / f"{stem}.json").write_text(json.dumps({"args": dict(nfft=4096, nb_channels=2, hidden_size=1024)}))
grid = dict(nfft=4096, nhop=1024, nb_channels=2, sample_rate=44100.0)
(folder / "separator.json").write_text(json.dumps(grid))
"""


@dataclass(frozen=True, slots=True)
class Command:
    """Something to be timed.

    Attributes
    ----------
    name : str
    line : tuple of str
        With ``{song}`` and ``{output}`` in it.
    environment : mapping of str to str
        Beside that of this process.
    """

    name: str
    line: tuple[str, ...]
    environment: Mapping[str, str]


def ours(model: str) -> Iterator[Command]:
    for precision in ("auto", "fp32"):
        for threads in (2, 1):
            line = (
                sys.executable,
                "-m",
                "mss_cli",
                "separate",
                "{song}",
                "-o",
                "{output}",
                "--quiet",
                "--device",
                "cpu",
            )
            line += ("--model", model, "--precision", precision, "--threads", str(threads))
            yield Command(f"mss-cli, {precision}, {threads} threads", line, {})


def peers(folder: Path) -> Iterator[Command]:
    made = folder / "made"
    prepare(folder, made)
    threads = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(made)}
    demucs = (
        str(folder / "bin" / "demucs"),
        "--repo",
        str(made),
        "-n",
        "random",
        "-d",
        "cpu",
        "-o",
        "{output}",
        "{song}",
    )
    yield Command("demucs (htdemucs), 1 thread", demucs, threads)
    umx = (str(folder / "bin" / "umx"), "{song}", "--model", str(made / "umxl"), "--outdir", "{output}", "--no-cuda")
    umx += ("--targets", "drums", "bass", "other", "vocals")
    yield Command("umx (umxl), 1 thread", umx, threads)


def prepare(folder: Path, made: Path) -> None:
    """Write the stand-in and the random weights, once."""
    made.mkdir(exist_ok=True)
    (made / "torchaudio.py").write_text(STAND_IN)
    if not (made / "umxl" / "separator.json").exists():
        environment = {**os.environ, "PYTHONPATH": str(made)}
        subprocess.run([folder / "bin" / "python", "-c", MAKE_WEIGHTS, made], check=True, env=environment)


def song(path: Path, minutes: float) -> None:
    """Write the judged songs one after another, again and again; made-up sound where they are not there."""
    import numpy as np
    import soundfile

    parts = [judged.mixture.T for judged in judged_songs()]  # (sample, channel)
    if not parts:
        write_song(path, minutes)
        return
    left = round(minutes * 60 * RATE)
    with soundfile.SoundFile(path, "w", RATE, 2, subtype="PCM_16") as file:
        while left:
            for part in parts:
                file.write(np.clip(part[:left], -1, 1))
                left -= min(left, len(part))


def measure(command: Command, path: Path, minutes: float) -> str:
    """Run it once; one row of the table."""
    with tempfile.TemporaryDirectory(dir=path.parent) as output:
        line = [part.format(song=path, output=output) for part in command.line]
        before = dict(os.environ)
        os.environ.update(command.environment)
        try:
            peak, cpu, wall = peak_mebibytes(line)
        finally:
            os.environ.clear()
            os.environ.update(before)
        if len(list(Path(output).rglob("*.wav"))) != 4:
            raise SystemExit(f"error: {command.name} wrote no four stems")
    seconds = minutes * 60
    cells = f"{cpu:.1f} | {cpu / seconds:.4f} | {CORES * seconds / cpu:.1f} | {wall:.0f} | {peak:.0f}"
    return f"| {minutes:g} | {command.name} | {cells} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="*", default=[4.0])
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--peer-minutes", type=float, help="of the peers' song, if not the first of --minutes")
    parser.add_argument("--folder", type=Path, help="where songs and stems go for a while")
    arguments = parser.parse_args()
    print("| min | command | CPU s | CPU s per s | times real time on 2 cores | wall s | peak, MiB |")
    print("|---|---|---|---|---|---|---|")
    rows = [(minutes, command) for minutes in arguments.minutes for command in ours(arguments.model)]
    if arguments.peers:
        minutes = arguments.peer_minutes or arguments.minutes[0]
        rows += [(minutes, command) for command in peers(arguments.peers.absolute())]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        for minutes, command in rows:
            path = Path(scratch) / f"{minutes:g}.wav"
            if not path.exists():
                song(path, minutes)
            print(measure(command, path, minutes), flush=True)


if __name__ == "__main__":
    main()
