"""How many workers a cluster carries, on which kind of device."""

from collections.abc import Sequence
from dataclasses import dataclass

from mss_cli.batch.cores import LEAST_SECONDS_EACH, Division
from mss_cli.errors import DeviceError, UsageError


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of a cluster, as the cluster counts it.

    Parameters
    ----------
    cpus, gpus, memory_bytes : int, >= 0
        What it lends to workers.
    """

    cpus: int
    gpus: int
    memory_bytes: int

    def workers(self, *, threads: int, gpu: bool, worker_bytes: int) -> int:
        """Tell how many workers fit at once."""
        fit = min(self.cpus // threads, self.memory_bytes // worker_bytes)
        return min(fit, self.gpus) if gpu else fit


def divide_cluster(
    nodes: Sequence[Node],
    *,
    tracks: int,
    seconds: float,
    jobs: int | None,
    threads: int | None,
    device: str,
    worker_bytes: int,
) -> Division:
    """Decide how many workers a cluster gets.

    Workers have one thread unless told otherwise: a worker more gains more than a thread more. `auto` takes the GPUs
    if the cluster has any, and then one worker for each; else as many workers as cores and memory carry, each with a
    minute of audio to do at least.

    Parameters
    ----------
    nodes : sequence of Node
    tracks : int, >= 0
        To do: there are never more workers.
    seconds : float, >= 0
        Audio to do in all.
    jobs, threads : int or None
        As asked for; None leaves it to this function. More jobs than fit now wait for machines to come.
    device : str
        As asked for: "auto", "cpu" or "cuda".
    worker_bytes : int, > 0
        Memory of one worker.

    Raises
    ------
    UsageError
        For a certain GPU, or one that clusters do not lend.
    DeviceError
        If a GPU is asked for and there is none.
    """
    if device not in ("auto", "cpu", "cuda"):
        hint = "use `--device cuda`: the cluster chooses"
        raise UsageError(f"`--device {device}` means nothing on a cluster", hint=hint)
    has_gpus = any(node.gpus for node in nodes)
    if device == "cuda" and not has_gpus:
        raise DeviceError("the cluster has no GPU", hint="use `--device auto`")
    gpu = has_gpus and device != "cpu"
    threads = threads or 1
    if jobs is None:
        fit = sum(node.workers(threads=threads, gpu=gpu, worker_bytes=worker_bytes) for node in nodes)
        jobs = min(fit, int(seconds / LEAST_SECONDS_EACH))
    return Division(("cuda" if gpu else "cpu",) * max(1, min(jobs, tracks)), threads)
