"""What a batch does with missing, bad and equally named files, kills and second runs: `mss-cli` beside `demucs`.

    python benchmarks/batch_versus_demucs.py --peers DIR

DIR is the environment that `default_speed.py` describes. `demucs` runs with a small network of random weights, which
behaves like any other; `mss-cli` runs with `classical`. Each point is tried with both, in a folder of its own.
"""

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

RATE = 44100
STEMS = 4
# Runs in the peers' environment; the argument is the folder to fill.
MAKE_NETWORK = """
import sys
from pathlib import Path
import torch
from demucs.htdemucs import HTDemucs
torch.manual_seed(0)
settings = dict(sources=["drums", "bass", "other", "vocals"], channels=16, bottom_channels=0, t_layers=1, segment=2)
state = HTDemucs(**settings).state_dict()
package = dict(klass=HTDemucs, args=(), kwargs=settings, state=state, training_args={})
torch.save(package, Path(sys.argv[1]) / "small.th")
"""


@dataclass(frozen=True, slots=True)
class Tool:
    """A command, and what goes before its inputs.

    Attributes
    ----------
    name : str
    line : tuple of str
    model_flag : tuple of str
        Names a model that is not there.
    """

    name: str
    line: tuple[str, ...]
    model_flag: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """Inputs and what is done to the run.

    Attributes
    ----------
    name : str
    inputs : tuple of str
    more : tuple of str
        Further flags.
    twice : bool
        The same command a second time; only that one is told.
    stop : int or None
        Signal to send when the first output is there.
    locked : bool
        Without the right to write into the folder.
    """

    name: str
    inputs: tuple[str, ...]
    more: tuple[str, ...] = ()
    twice: bool = False
    stop: int | None = None
    locked: bool = False


CASES = (
    Case("one of three is missing", ("one.wav", "missing.wav", "two.wav")),
    Case("one of three is text called wav", ("one.wav", "text.wav", "two.wav")),
    Case("one of three is cut off (flac)", ("one.wav", "cut.flac", "two.wav")),
    Case("one of three holds a NaN", ("one.wav", "nan.wav", "two.wav")),
    Case("the only input is missing", ("missing.wav",)),
    Case("a folder", ("folder",)),
    Case("same base names", ("a/x.wav", "b/x.wav")),
    Case("same names but for the suffix", ("one.wav", "one.flac")),
    Case("the same command again", ("one.wav", "two.wav"), twice=True),
    Case("killed -9 at the first output", ("long.wav", "one.wav"), stop=signal.SIGKILL),
    Case("killed -9, started again", ("long.wav", "one.wav"), stop=signal.SIGKILL, twice=True),
    Case("Ctrl-C at the first output", ("long.wav", "one.wav"), stop=signal.SIGINT),
    Case("output folder not writable", ("one.wav",), locked=True),
    Case("no such model", ("one.wav",), more=("MODEL",)),
    Case("no such flag", ("one.wav",), more=("--no-such-flag",)),
)


@dataclass(slots=True)
class Result:
    """What a run came to.

    Attributes
    ----------
    exit : int
    message : str
        The last line it said.
    whole, torn : list of str
        Its stems: as long as an input, or not.
    fresh : int
        Stems written by the second run.
    """

    exit: int
    message: str
    whole: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    fresh: int | None = None


def noise(path: Path, seconds: float, *, bad: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.random.default_rng(0).standard_normal((round(seconds * RATE), 2))
    if bad:
        samples[len(samples) // 2, 0] = np.nan
    subtype = "FLOAT" if path.suffix == ".wav" else "PCM_16"
    soundfile.write(path, samples, RATE, subtype=subtype)
    return path


def fill(folder: Path) -> None:
    """Write what the cases name; lengths tell the stems of one input from those of another."""
    for name, seconds in {
        "one.wav": 2,
        "two.wav": 3,
        "one.flac": 4,
        "a/x.wav": 2,
        "b/x.wav": 3,
        "long.wav": 60,
    }.items():
        noise(folder / name, seconds)
    noise(folder / "folder/in.wav", 2)
    noise(folder / "nan.wav", 2, bad=True)
    (folder / "text.wav").write_text("dear diary\n" * 200)
    whole = noise(folder / "cut.flac", 5).read_bytes()
    (folder / "cut.flac").write_bytes(whole[: len(whole) // 2])


def ordinary(*, locked: bool) -> None:
    """Let Ctrl-C work, which a shell takes from its background jobs; take from root what passes every permission."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if locked and os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
        libc.prctl(28, 3, 0, 0, 0)  # PR_SET_SECUREBITS, SECBIT_NOROOT and its lock
        libc.capset(header, (ctypes.c_uint32 * 6)())


def outputs(out: Path) -> Iterator[Path]:
    return (path for path in sorted(out.rglob("*.wav")) if not path.name.startswith("."))


def run(line: list[str], folder: Path, case: Case, *, stop: int | None) -> tuple[int, str]:
    """Run a command, sending a signal at the first output; give its exit status and its last line."""
    with (folder / "said.txt").open("w") as said:
        process = subprocess.Popen(
            line, cwd=folder, stdout=said, stderr=said, preexec_fn=partial(ordinary, locked=case.locked)
        )
        while stop is not None and process.poll() is None:
            if next(outputs(folder / "out"), None) is not None:
                os.kill(process.pid, stop)
                break
            time.sleep(0.001)
        code = process.wait()
    lines = (folder / "said.txt").read_text(errors="replace").replace("\r", "\n").splitlines()
    words = [text for text in lines if text.strip() and "Warning" not in text and "%|" not in text]
    return code, words[-1].strip() if words else ""


def attempt(tool: Tool, case: Case) -> Result:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder)
        out = folder / "out"
        if case.locked:
            out.mkdir(mode=0o555)
        more = tool.model_flag if case.more == ("MODEL",) else case.more
        line = [*tool.line, *more, "-o", "out", *case.inputs]
        code, message = run(line, folder, case, stop=case.stop)
        seen: dict[Path, int] | None = None
        if case.twice:
            seen = {path: path.stat().st_mtime_ns for path in outputs(out)}
            code, message = run(line, folder, case, stop=None)
        result = Result(code, message)
        lengths = {2 * RATE: "2 s", 3 * RATE: "3 s", 4 * RATE: "4 s", 60 * RATE: "60 s"}
        for path in outputs(out):
            try:
                length = lengths.get(soundfile.info(path).frames)
            except soundfile.LibsndfileError:
                length = None
            (result.torn if length is None else result.whole).append(f"{path.parent.name} ({length})")
        if seen is not None:
            result.fresh = sum(seen.get(path) != path.stat().st_mtime_ns for path in outputs(out))
        out.chmod(0o755) if out.exists() else None
    return result


def tell(case: Case, tool: Tool, result: Result) -> str:
    tracks = ", ".join(f"{result.whole.count(name)} of {name}" for name in sorted(set(result.whole))) or "none"
    if result.torn:
        tracks += f"; **{len(result.torn)} of no input's length**"
    if result.fresh is not None:
        tracks += f"; written by the second run: {result.fresh}"
    message = result.message.replace("|", "\\|")
    return f"| {case.name} | {tool.name} | {result.exit} | {tracks} | {message[:150]} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[""], help="cases with one of these words in their names")
    arguments = parser.parse_args()
    peers = arguments.peers.absolute()
    print("| what | command | exit | whole stems, by track | last line |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as made:
        subprocess.run([peers / "bin" / "python", "-W", "ignore", "-c", MAKE_NETWORK, made], check=True)
        demucs = (str(peers / "bin" / "demucs"), "--repo", made, "-d", "cpu")
        ours = (sys.executable, "-m", "mss_cli", "separate", "--device", "cpu", "--threads", "1")
        tools = (
            Tool("demucs", (*demucs, "-n", "small"), ("-n", "smal")),
            Tool("mss-cli", (*ours, "-m", "classical"), ("-m", "clasical")),
        )
        for case in CASES:
            if any(word in case.name for word in arguments.only):
                for tool in tools:
                    print(tell(case, tool, attempt(tool, case)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
