"""What the command says about inputs and outputs that cannot be: prints the table of cases, messages, exit codes."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

RATE = 44100


def sound(seconds: float = 1.0, channels: int = 2) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal((round(seconds * RATE), channels))


def written(path: Path, samples: np.ndarray, subtype: str | None = None) -> bytes:
    soundfile.write(path, samples, RATE, subtype=subtype)
    return path.read_bytes()


def cases(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Make each case's file and yield its name and the arguments."""
    good = folder / "good.wav"
    whole = written(good, sound(10.0), "PCM_16")

    def file(name: str, data: bytes) -> list[str]:
        (folder / name).write_bytes(data)
        return [name]

    yield "missing", ["missing.wav"]
    (folder / "folder.wav").mkdir()
    yield "a folder", ["folder.wav"]
    yield "empty", file("empty.wav", b"")
    yield "text renamed to wav", file("text.wav", b"dear diary\n" * 200)
    yield "zero samples", file("none.wav", written(folder / "zero.wav", np.zeros((0, 2)), "PCM_16"))
    channels = bytearray(whole)
    channels[22:24] = b"\0\0"
    yield "zero channels", file("channels.wav", bytes(channels))
    yield "cut inside the header", file("header.wav", whole[:30])
    yield "shorter than its header says (wav)", file("short.wav", whole[: len(whole) // 3])
    flac = written(folder / "good.flac", sound(10.0))
    yield "shorter than its header says (flac)", file("short.flac", flac[: len(flac) // 3])
    for kind, value in (("NaN", np.nan), ("infinite", np.inf)):
        samples = sound()
        samples[20000, 0] = value
        written(folder / f"{kind}.wav", samples, "FLOAT")
        yield f"{kind} sample", [f"{kind}.wav"]
    written(folder / "six.wav", sound(0.2, 6))
    yield "six channels", ["six.wav"]
    damaged = bytearray(flac)
    damaged[len(flac) // 2 : len(flac) // 2 + 4000] = bytes(4000)
    yield "damaged in the middle (flac)", file("damaged.flac", bytes(damaged))
    (folder / "locked.wav").write_bytes(whole)
    (folder / "locked.wav").chmod(0)
    yield "unreadable", ["locked.wav"]
    (folder / "taken").write_text("a file")
    yield "output folder is a file", ["good.wav", "-o", "taken"]
    (folder / "closed").mkdir()
    (folder / "closed").chmod(0o500)
    yield "output folder not writable", ["good.wav", "-o", "closed/out"]
    yield "disk full (file size limit of 1 MiB)", ["good.wav", "-o", "limited"]
    yield "two inputs, one output name", ["good.wav", "good.flac"]
    yield "no such stream", ["good.wav", "--stream", "3"]
    yield "no such stem", ["good.wav", "--stems", "piano"]
    yield "no such model", ["good.wav", "--model", "clasical"]
    yield "no such device", ["good.wav", "--device", "cuda:3"]


def restrict(name: str) -> None:
    """Run as an ordinary user, since root may read and write everything; and with small files for the full disk."""
    import resource
    import signal

    if name.startswith("disk full"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    if os.geteuid() == 0:
        # Without the capabilities that let root pass every permission; files of root stay its own.
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
        nothing = (ctypes.c_uint32 * 6)()
        libc.prctl(28, 3, 0, 0, 0)  # PR_SET_SECUREBITS, SECBIT_NOROOT and its lock: a new program gets none back
        libc.capset(header, nothing)


def main() -> int:
    print("| case | message | exit | left behind |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case, arguments in cases(folder):
            before = set(folder.rglob("*"))
            done = subprocess.run(
                [sys.executable, "-m", "mss_cli", "separate", *arguments, "--quiet"],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
                preexec_fn=lambda case=case: restrict(case),
            )
            left = set(folder.rglob("*")) - before
            kept = ", ".join(str(path.relative_to(folder)) for path in sorted(left)) or "nothing"
            message = done.stderr.strip().replace("\n", " ⏎ ").replace("|", "\\|")
            print(f"| {case} | {message} | {done.returncode} | {kept} |")
        for locked in (folder / "locked.wav", folder / "closed"):
            locked.chmod(0o700)
    return 0


if __name__ == "__main__":
    sys.exit(main())
