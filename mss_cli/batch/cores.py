"""How many workers a machine carries, with how many threads, on which devices."""

import math
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mss_cli.devices import GPU_BATCH, available_cores

# Of a worker without weights: torch, its buffers, decoder and encoders; `classical` peaks at 0.88 GB
# (benchmarks/batches.py, one file of 300 s).
_WORKER_BYTES = 1000**3
# Of a worker with weights, for each of their bytes: as stored, as loaded, and layers of one segment.
_BYTES_PER_WEIGHT_BYTE = 6
# A worker more costs about 3 s of CPU before it begins, what `classical` takes for this much audio.
LEAST_SECONDS_EACH = 60.0
# Of memory that is free now, the share that workers may fill: others want some too.
_SHARE_OF_MEMORY = 0.8


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to divide.

    Parameters
    ----------
    cores : int, >= 1
        This process may use: affinity and limits of its control groups counted.
    free_bytes : int or None
        Memory it may still fill; None where the system does not tell.
    accelerators : tuple of str
        Devices that `auto` prefers to the CPU: `cuda:0`, `cuda:1`, ..., or `mps`.
    """

    cores: int
    free_bytes: int | None
    accelerators: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Division:
    """How a run uses the machine.

    Parameters
    ----------
    devices : tuple of str
        One per worker.
    threads : int, >= 1
        Of each worker.
    seats : int, >= 1
        Tracks at once in each worker, over one loaded model.
    """

    devices: tuple[str, ...]
    threads: int
    seats: int = 1

    @property
    def workers(self) -> int:
        """Number of workers."""
        return len(self.devices)

    @property
    def jobs(self) -> int:
        """Most tracks at once."""
        return self.workers * self.seats

    @property
    def on_cuda(self) -> bool:
        """Whether every worker has a GPU that several threads may use."""
        return all(device.startswith("cuda") for device in self.devices)

    def seated(self, *, tracks: int, segments: int | None) -> "Division":
        """Give workers on GPUs as many seats as it takes to fill a batch with the segments of short tracks.

        Parameters
        ----------
        tracks : int, >= 0
            To do.
        segments : int or None, >= 1
            Of a mean track; None if a worker can only do one track at a time.
        """
        if segments is None or not self.on_cuda:
            return self
        # Rounded down: with more seats some workers would have no track.
        wanted = min(math.ceil(GPU_BATCH / segments), tracks // self.workers)
        return replace(self, seats=max(1, wanted))


def divide(
    machine: Machine,
    *,
    tracks: int,
    seconds: float,
    jobs: int | None,
    threads: int | None,
    device: str,
    worker_bytes: int,
) -> Division:
    """Decide how many workers there are and where each computes.

    A thread more gains less than a worker more, so `auto` takes a worker per core (or per `threads` cores) as far as
    memory goes, each with a minute of audio to do at least. Of accelerators each gets one worker.

    Parameters
    ----------
    machine : Machine
    tracks : int, >= 0
        To do: there are never more workers.
    seconds : float, >= 0
        Audio to do in all.
    jobs, threads : int or None
        As asked for; None leaves it to this function.
    device : str
        As asked for: "auto", "cpu", "cuda", "cuda:N" or "mps".
    worker_bytes : int, > 0
        Memory of one worker.
    """
    cuda = tuple(name for name in machine.accelerators if name.startswith("cuda"))
    places = {"auto": machine.accelerators, "cuda": cuda}.get(device, ()) or (device,)
    on_cpu = places in (("cpu",), ("auto",))
    if jobs is None:
        jobs = min(machine.cores // (threads or 1) if on_cpu else len(places), int(seconds / LEAST_SECONDS_EACH))
        if on_cpu and machine.free_bytes is not None:
            jobs = min(jobs, int(machine.free_bytes * _SHARE_OF_MEMORY) // worker_bytes)
    count = max(1, min(jobs, tracks))
    workers = tuple(places[number % len(places)] for number in range(count))
    return Division(workers, threads or max(1, machine.cores // count))


def worker_bytes(weights: Sequence[Path]) -> int:
    """Estimate the memory of one worker from the size of its weights, of one file or of those of an ensemble."""
    size = 0
    for path in weights:
        with suppress(OSError):
            size += path.stat().st_size
    return _WORKER_BYTES + _BYTES_PER_WEIGHT_BYTE * size


def this_machine(device: str) -> Machine:
    """Look at the machine; only if a run may use an accelerator and there seems to be one, torch is imported.

    Parameters
    ----------
    device : str
        As asked for.
    """
    groups = list(_groups())
    cores = min([available_cores(), *(limit for group in groups if (limit := _quota(group)) is not None)])
    free = [_free_memory(), *map(_free_in, groups)]
    known = [size for size in free if size is not None]
    accelerators = _accelerators() if device in ("auto", "cuda") else ()
    return Machine(cores, min(known) if known else None, accelerators)


def _accelerators() -> tuple[str, ...]:
    if sys.platform == "darwin":
        return ("mps",) if platform.machine() == "arm64" else ()
    # Importing torch takes seconds and much memory, only to hear that there is none.
    signs = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
    if sys.platform == "linux" and not any(map(os.path.exists, signs)):
        return ()
    import torch

    return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))


def _free_memory(table: Path = Path("/proc/meminfo")) -> int | None:
    """Read what the kernel thinks can be filled without swapping."""
    with suppress(OSError, ValueError):
        for line in table.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _groups(table: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> Iterator[Path]:
    """Give the folders of this process's control groups (version 2), innermost first; limits hold in each."""
    with suppress(OSError, UnicodeDecodeError):
        for line in table.read_text(encoding="utf-8").splitlines():
            number, _, path = line.partition("::")
            if number == "0" and ".." not in path.split("/"):  # a group outside of this name space
                inner = root / path.lstrip("/")
                yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(root))


def _quota(group: Path) -> int | None:
    with suppress(OSError, ValueError):
        quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        return max(1, int(quota) // int(period))
    return None


def _free_in(group: Path) -> int | None:
    with suppress(OSError, ValueError):
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
        # Pages of files that were read once go when their room is wanted.
        table = (group / "memory.stat").read_text(encoding="ascii").splitlines()
        spare = sum(int(line.split()[1]) for line in table if line.startswith("inactive_file "))
        return max(0, limit - used + spare)
    return None
