"""What this installation consists of and whether it works."""

import math
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

import numpy as np

from mss_cli.audio.formats import FORMATS
from mss_cli.devices import available_cores, has_fast_bf16
from mss_cli.errors import MssError
from mss_cli.separation.opening import open_engine
from mss_cli.separation.settings import EngineSettings
from mss_cli.separation.stems import StemChoice, plan_stems
from mss_cli.version import version
from mss_cli.weights.manifest import DEFAULT, ENTRIES

_PACKAGES = ("torch", "numpy", "soundfile", "av", "soxr", "safetensors", "typer", "rich", "matplotlib")
# Quieter than this against the mixture, the sum of the stems is right.
_LOUDEST_RESIDUAL_DB = -80.0

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True)
class SelfTest:
    """One second of generated sound through the default model."""

    passed: bool
    message: str
    elapsed_seconds: float


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything a bug report should hold; no user's files, names or addresses."""

    versions: dict[str, str | None]
    devices: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: tuple[str, ...]
    self_test: SelfTest

    def as_json(self) -> dict[str, Json]:
        """Give it as one JSON object."""
        test = self.self_test
        return {
            "versions": dict(self.versions),
            "devices": list(self.devices),
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "weights": list(self.weights),
            "self_test": {"passed": test.passed, "message": test.message, "elapsed_seconds": test.elapsed_seconds},
        }

    def sections(self) -> Iterator[tuple[str, list[str]]]:
        """Give it as headings and lines for people."""
        yield "versions", [f"{name} {number or 'not installed'}" for name, number in self.versions.items()]
        yield "devices", list(self.devices)
        yield "inputs", list(self.inputs)
        yield "outputs", [", ".join(self.outputs)]
        yield "weights", list(self.weights)
        outcome = "passed" if self.self_test.passed else "FAILED"
        yield "self test", [f"{outcome} in {self.self_test.elapsed_seconds:.2f} s: {self.self_test.message}"]


def diagnose() -> Diagnosis:
    """Look at versions, devices, formats and weights, and run the self test."""
    test = _self_test()  # first: it sets up threads before torch is imported
    return Diagnosis(
        versions={"mss-cli": version(), "python": platform.python_version(), "system": platform.platform(terse=True)}
        | {name: _version(name) for name in _PACKAGES}
        | _library_versions(),
        devices=tuple(_devices()),
        inputs=tuple(_inputs()),
        outputs=FORMATS,
        weights=tuple(f"{entry.name}: {entry.licence}" for entry in ENTRIES),
        self_test=test,
    )


def _self_test() -> SelfTest:
    started = time.monotonic()
    rate = 44100
    time_axis = np.arange(rate, dtype=np.float32) / rate
    tone = 0.3 * np.sin(2 * np.pi * 220 * time_axis)
    noise = 0.1 * np.random.default_rng(0).standard_normal(rate)
    mixture = np.stack([tone + noise, tone - noise]).astype(np.float32)  # (channel, sample)
    try:
        engine = open_engine(DEFAULT, device="cpu")
        pairs = engine.estimate(lambda: iter([mixture]), EngineSettings(), sample_rate=rate, channels=2)
        plan = plan_stems(engine.separator.stems, StemChoice())
        stems = np.concatenate([plan.apply(*pair) for pair in pairs], axis=-1)  # (stem, channel, sample)
    except (MssError, RuntimeError, ImportError, OSError) as error:
        return SelfTest(False, f"{type(error).__name__}: {error}", time.monotonic() - started)
    residual = float(np.square(stems.sum(axis=0) - mixture).sum() / np.square(mixture).sum())
    level = 10 * math.log10(residual + 1e-20)
    passed = stems.shape == (len(engine.separator.stems), 2, rate) and level <= _LOUDEST_RESIDUAL_DB
    message = f"`{DEFAULT}` gave {len(stems)} stems that sum to the mixture within {level:.0f} dB"
    return SelfTest(passed, message, round(time.monotonic() - started, 3))


def _version(package: str) -> str | None:
    try:
        return installed(package)
    except PackageNotFoundError:
        return None


def _library_versions() -> dict[str, str | None]:
    import av
    import soundfile

    codec = av.library_versions.get("libavcodec", ())
    return {"libsndfile": soundfile.__libsndfile_version__, "libavcodec": ".".join(str(part) for part in codec)}


def _devices() -> Iterator[str]:
    import torch

    cpu = torch.device("cpu")
    fast = "fast bf16" if has_fast_bf16(cpu) else "no fast bf16"
    yield f"cpu: {available_cores()} cores to use, {torch.backends.cpu.get_cpu_capability()}, {fast}"
    for index in range(torch.cuda.device_count()):
        yield f"cuda:{index}: {torch.cuda.get_device_name(index)}"
    if not torch.cuda.is_available():
        yield "cuda: none found"
    yield f"mps: {'there' if torch.backends.mps.is_available() else 'none found'}"


def _inputs() -> Iterator[str]:
    import soundfile

    yield "libsndfile: " + ", ".join(sorted(name.lower() for name in soundfile.available_formats()))
    yield "ffmpeg (in PyAV): aac, ac3, alac, ape, dts, flac, mp3, opus, vorbis, wavpack, wma in any container and video"
