"""What each track costs a run before any of it is separated: plan, header, decision, mirror (docs/scale.md)."""

import argparse
import contextlib
import io
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path, PurePath

import fsspec
import numpy as np
import soundfile

from mss_cli.batch.decisions import Wanted, decide
from mss_cli.batch.inputs import Found
from mss_cli.batch.plan import Layout, make_plan
from mss_cli.batch.records import read_record
from mss_cli.batch.stores.mirror import mirrored
from mss_cli.main import main as run_command
from mss_cli.separation.names import Naming
from mss_cli.separation.settings import ReadSettings
from mss_cli.separation.track import open_source


def cpu_ms_each(work: Callable[[], object], count: int) -> float:
    begun = time.process_time()
    work()
    return (time.process_time() - begun) / count * 1e3


def planning(tracks: int) -> tuple[float, float]:
    """CPU ms and peak bytes per track of a plan."""
    naming = Naming(Path("/mnt/stems"), "{track}/{stem}.{ext}", "classical")
    layout = Layout(naming, lambda path: naming.targets(path, ("vocals", "drums", "bass", "other"), "wav"))
    root = Path("/mnt/music")

    def files() -> list[Found]:
        names = (f"artist{n % 500}/album{n % 3000}/track number {n}.flac" for n in range(tracks))
        return [Found(root / name, root, PurePath(name)) for name in names]

    ready = files()
    spent = cpu_ms_each(lambda: make_plan(ready, layout), tracks)
    ready.clear()
    tracemalloc.start()
    make_plan(files(), layout)
    peak = tracemalloc.get_traced_memory()[1] / tracks
    tracemalloc.stop()
    return spent, peak


def deciding(folder: Path, rounds: int) -> tuple[float, float, int]:
    """CPU ms of a header and of a decision to skip; bytes of a record."""
    song = folder / "x.wav"
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, (44100, 2))
    soundfile.write(song, noise, 44100)
    out = folder / "out"
    with contextlib.redirect_stdout(io.StringIO()):
        run_command(["separate", str(song), "-o", str(out), "-m", "classical", "-q", "--jobs", "1", "--device", "cpu"])
    path = out / "x" / "x.mss.json"
    record = read_record(path)
    if record is None:
        raise SystemExit("the run left no record")
    wanted = Wanted(record.model, record.settings, tuple(path.parent / file.path for file in record.files))
    settings = ReadSettings(stream=None, downmix=False)
    header = cpu_ms_each(lambda: [open_source(song, settings) for _ in range(rounds)], rounds)
    decision = cpu_ms_each(lambda: [decide(song, path, wanted) for _ in range(rounds)], rounds)
    return header, decision, path.stat().st_size


def mirroring(tracks: int) -> float:
    """CPU ms per input of a mirror."""
    store = fsspec.filesystem("memory")
    for number in range(tracks):
        store.pipe(f"/music/{number % 50}/{number}.wav", b"x")

    def mirror() -> None:
        with mirrored(["memory://music"], "memory://stems", None, lambda event: None):
            pass

    return cpu_ms_each(mirror, tracks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracks", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        header, decision, record = deciding(Path(folder), options.rounds)
    spent, peak = planning(options.tracks)
    print(f"plan: {spent:.2f} ms and {peak:.0f} bytes per track")
    print(f"header (wav): {header:.2f} ms")
    print(f"decision to skip: {decision:.2f} ms; record: {record} bytes")
    print(f"mirror of a store: {mirroring(options.tracks // 5):.3f} ms per input")


if __name__ == "__main__":
    main()
