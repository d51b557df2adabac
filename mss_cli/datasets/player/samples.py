"""Decoded samples of whole files: 16 bit, in memory up to a limit, or memory-mapped from a folder."""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

Pcm = NDArray[np.int16]
_SILENCE: Pcm = np.zeros((1, 0), dtype=np.int16)
# A decoded peak may pass 1 a little; what is beyond this is clipped.
_FULL_SCALE = 2.0


@dataclass(frozen=True, slots=True)
class BrokenFile:
    """A file that cannot be used and why; `path` is below the root of the pack."""

    path: Path
    reason: str


class SampleCache:
    """Decodes files once; see `mss_cli.datasets.player.pack.open_pack` for the parameters."""

    def __init__(
        self, root: Path, *, cache: Path | None, memory_bytes: int, listener: Callable[[BrokenFile], None] | None
    ) -> None:
        self._root = root
        self._cache = cache
        self._limit = memory_bytes
        self._listener = listener
        self._held: OrderedDict[Path, Pcm] = OrderedDict()
        self._bytes = 0
        self._broken: dict[Path, BrokenFile] = {}

    @property
    def broken(self) -> tuple[BrokenFile, ...]:
        """Broken files so far, in the order in which they were met."""
        return tuple(self._broken.values())

    def report(self, broken: BrokenFile) -> None:
        """Count a broken file, and tell the listener of it the first time."""
        if broken.path not in self._broken:
            self._broken[broken.path] = broken
            if self._listener is not None:
                self._listener(broken)

    def read(self, file: Path) -> tuple[Pcm, float]:
        """Give all samples of a file, of shape (channel, sample), and what to multiply them with.

        A broken file is reported and has no samples.
        """
        scale = _FULL_SCALE / 32767
        if file in self._broken:
            return _SILENCE, scale
        if file in self._held:
            self._held.move_to_end(file)
            return self._held[file], scale
        try:
            pcm = self._decode(file) if self._cache is None else self._mapped(file, self._cache)
        except (OSError, ValueError, soundfile.LibsndfileError) as error:
            self.report(BrokenFile(file, str(error)))
            return _SILENCE, scale
        self._hold(file, pcm)
        return pcm, scale

    def _hold(self, file: Path, pcm: Pcm) -> None:
        self._held[file] = pcm
        if isinstance(pcm, np.memmap):
            return
        self._bytes += pcm.nbytes
        while self._bytes > self._limit and len(self._held) > 1:
            self._bytes -= self._held.popitem(last=False)[1].nbytes

    def _decode(self, file: Path) -> Pcm:
        samples, _ = soundfile.read(str(self._root / file), dtype="float32", always_2d=True)  # (sample, channel)
        if not np.isfinite(samples).all():
            raise ValueError("has samples that are not finite numbers")
        scaled = np.clip(samples.T * np.float32(32767 / _FULL_SCALE), -32767, 32767)
        return np.ascontiguousarray(np.rint(scaled).astype(np.int16))  # (channel, sample)

    def _mapped(self, file: Path, cache: Path) -> Pcm:
        facts = (self._root / file).stat()
        name = hashlib.sha256(f"{(self._root / file).resolve()}|{facts.st_size}|{facts.st_mtime_ns}".encode())
        target = cache / f"{name.hexdigest()[:24]}.npy"
        if not target.is_file():
            cache.mkdir(parents=True, exist_ok=True)
            # Several processes may decode the same file: each writes its own, and the last rename wins.
            temporary = target.with_name(f"{target.stem}.{os.getpid()}.tmp.npy")
            np.save(temporary, self._decode(file))
            temporary.replace(target)
        mapped: Pcm = np.load(target, mmap_mode="r")
        return mapped
