"""Workers as actors of a Ray cluster: one model each, on whatever machines the cluster has."""

import io
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from mss_cli.batch.cluster import Node
from mss_cli.batch.cores import Division
from mss_cli.batch.engines.base import Outcome, Task
from mss_cli.batch.engines.crew import Crew, Died, News
from mss_cli.batch.engines.held_signals import signals_held
from mss_cli.batch.engines.ray_actor import Place, WorkerActor
from mss_cli.batch.engines.serving import Ended, Loaded, Message, Refused
from mss_cli.batch.engines.worker import Brief
from mss_cli.batch.leftovers import remove_traces
from mss_cli.errors import DeviceError, UsageError
from mss_cli.events import Listener, Warned

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

AUTO = "auto"
_PORT = 6379  # of `ray start --head`
# Signals come between slices of waiting at the latest.
_SLICE_SECONDS = 0.5
# After so long without a single worker it is said what the run waits for.
_SILENT_SECONDS = 30.0
# Until Ray, having missed an actor, misses its machine too.
_SECONDS_TO_TELL = 3.0
_SECONDS_TO_DIE = 2.0
_SECONDS_TO_ANSWER = 5.0


def check_ray() -> None:
    """Refuse `--engine ray` before any work where Ray is not installed.

    Raises
    ------
    UsageError
        Naming the extra to install.
    """
    if find_spec("ray") is None:
        raise UsageError("`--engine ray` needs Ray", hint="install `mss-cli[ray]`")


@contextmanager
def joined(address: str) -> Iterator[tuple[Node, ...]]:
    """Join a cluster and give its living machines; leave it at the end.

    Parameters
    ----------
    address : str
        `auto` for the cluster this machine belongs to (or that `RAY_ADDRESS` names), else `HOST` or `HOST:PORT`.

    Raises
    ------
    DeviceError
        If there is none.
    """
    whole = os.environ.get("RAY_ADDRESS", AUTO) if address == AUTO else address
    if whole != AUTO:
        whole = _answering(whole if ":" in whole else f"{whole}:{_PORT}")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a future default, else announced each time
    import ray

    try:
        with signals_held():  # which Ray would take for itself
            ray.init(address=whole, log_to_driver=False, configure_logging=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise _no_cluster("on this machine" if whole == AUTO else f"at `{whole}`") from error
    with redirect_stdout(cast(TextIO, _WithoutRay(sys.stdout))):
        try:
            yield _living()
        finally:
            # What it still holds back of such logs it prints from this thread, once all of ours is written.
            with signals_held(), redirect_stdout(io.StringIO()):
                ray.shutdown()


def _living() -> tuple[Node, ...]:
    import ray

    with signals_held():
        entries = ray.nodes()
    return tuple(
        Node(
            cpus=int(entry["Resources"].get("CPU", 0)),
            gpus=int(entry["Resources"].get("GPU", 0)),
            memory_bytes=int(entry["Resources"].get("memory", 0)),
        )
        for entry in entries
        if entry["Alive"]
    )


def _answering(address: str) -> str:
    """Give an address if something listens there; Ray itself would try for minutes, and complain all the time."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_SECONDS_TO_ANSWER):
            return address
    except (OSError, ValueError, OverflowError) as error:
        raise _no_cluster(f"at `{address}`") from error


def _no_cluster(where: str) -> DeviceError:
    hint = "start one with `ray start --head`, or name its head with `--ray-address`"
    return DeviceError(f"no Ray cluster answers {where}", hint=hint)


class _WithoutRay:
    """Stdout as it was, but for what Ray's threads print: logs of lost machines amid the events."""

    def __init__(self, stdout: TextIO) -> None:
        self._stdout = stdout

    def write(self, text: str) -> int:
        """Write, or drop."""
        return len(text) if threading.current_thread().name.startswith("ray_") else self._stdout.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stdout, name)


class RayEngine:
    """Spreads tasks over actors. To be run inside `joined`.

    Ray restarts nothing by itself: a new actor is asked for wherever there is room, and the track of a lost one is
    given to whoever is free.

    Parameters
    ----------
    brief : Brief
        Of every worker, but for device and threads.
    division : Division
        One worker for each of its devices, `cpu` or `cuda`: which GPU is Ray's choice.
    worker_bytes : int
        Memory that Ray sets aside for each.
    timeout_seconds : float or None
        Longest a track may take; then its actor is killed and the track fails.
    """

    def __init__(
        self, brief: Brief, division: Division, *, worker_bytes: int, timeout_seconds: float | None = None
    ) -> None:
        self._brief = brief
        self._division = division
        self._worker_bytes = worker_bytes
        self._timeout_seconds = timeout_seconds

    def run(self, tasks: Iterator[Task], listener: Listener) -> Generator[Outcome, None, None]:
        """Do tasks; see `Engine.run`."""
        device, threads = self._division.devices[0], self._division.threads
        site = _Cluster(self._brief.at(device, threads=threads), self._worker_bytes, listener)
        crew = Crew(site, self._division.workers, tasks, listener, timeout_seconds=self._timeout_seconds)
        try:
            yield from crew.outcomes()
        finally:
            crew.dismiss()


@dataclass(slots=True, eq=False)
class _Remote:
    """An actor as the run sees it.

    Parameters
    ----------
    handle : ActorHandle
    call : ObjectRef or None
        What it was asked last and has not answered; None while it has nothing to do.
    place : Place or None
        None until it lives.
    """

    handle: "ActorHandle"
    call: "ObjectRef | None"
    place: Place | None = None


class _Cluster:
    """A `Site` of actors."""

    def __init__(self, brief: Brief, worker_bytes: int, listener: Listener) -> None:
        import ray

        request = brief.checked.request
        self._listener = listener
        with signals_held():
            self._brief = ray.put(brief)
        self._actor = ray.remote(WorkerActor).options(
            num_cpus=request.threads,
            num_gpus=int(request.device.startswith("cuda")),
            memory=worker_bytes,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
        )
        self._silent_since: float | None = time.monotonic()  # None when a worker came, or when it was said

    def start(self) -> tuple[_Remote]:
        """Ask for an actor, with one seat; it lives as soon as a machine has room."""
        with signals_held():
            handle = self._actor.remote(self._brief, str(Path.cwd()))
            return (_Remote(handle, handle.place.remote()),)

    def give(self, worker: _Remote, task: Task) -> None:
        """Send a task."""
        with signals_held():
            worker.call = worker.handle.hear.remote(task)

    def hear(self, workers: Sequence[_Remote], patience: float | None) -> list[tuple[_Remote, News]]:
        """Give the answers there are, after a short while at the latest."""
        import ray

        asked = {worker.call: worker for worker in workers if worker.call is not None}
        seconds = _SLICE_SECONDS if patience is None else min(patience, _SLICE_SECONDS)
        with signals_held():
            ready, _ = ray.wait(list(asked), num_returns=1, timeout=seconds)
            if ready:
                ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=0)
        self._break_silence(workers)
        return [(asked[call], news) for call in ready for news in self._answer(asked[call], call)]

    def remove(self, workers: Mapping[_Remote, Task | None]) -> None:
        """Kill actors and remove their temporary files, where this machine sees them."""
        import ray

        with signals_held():
            for worker in workers:
                with suppress(Exception):  # it or the cluster is gone already
                    ray.kill(worker.handle)
            for worker, task in workers.items():
                if task is None or worker.place is None:
                    continue
                with suppress(Exception):  # that it died, or no answer: it cannot be asked for more
                    ray.get(worker.handle.place.remote(), timeout=_SECONDS_TO_DIE)
                remove_traces(worker.place.pid, {path.parent for path in (*task.job.outputs, task.job.record)})

    def _answer(self, worker: _Remote, call: "ObjectRef") -> list[News]:
        import ray
        from ray.exceptions import RayError

        worker.call = None
        try:
            with signals_held():
                answer: Place | list[Message] = ray.get(call)
        except RayError as error:
            return [_death(worker, error)]
        if isinstance(answer, Place):
            worker.place = answer
            answer = []
        if not any(isinstance(message, Loaded | Ended | Refused) for message in answer):
            with signals_held():
                worker.call = worker.handle.hear.remote()
        return list(answer)

    def _break_silence(self, workers: Sequence[_Remote]) -> None:
        if self._silent_since is None:
            return
        if any(worker.place is not None for worker in workers):
            self._silent_since = None
        elif time.monotonic() > self._silent_since + _SILENT_SECONDS:
            self._silent_since = None
            self._listener(Warned("waiting for the cluster: no worker is there yet; it may have no room for one"))


def _death(worker: _Remote, error: Exception) -> Died:
    from ray.exceptions import ActorUnavailableError, OutOfMemoryError

    if isinstance(error, ActorUnavailableError):
        return Died("out of reach", machine=True)
    if worker.place is not None and _lost(worker.place.node):
        return Died("machine lost", machine=True)
    if isinstance(error, OutOfMemoryError) or "memory monitor" in str(error):
        return Died("out of memory", memory=True)
    if worker.place is not None:
        return Died("its process is gone")
    if "creation task" in str(error):  # with the traceback: its code could not even be loaded
        return Died(str(error).strip().splitlines()[-1].strip())
    return Died("it never came up", machine=True)  # sent to a machine that was going


def _lost(node: str) -> bool:
    """Tell whether a machine is gone; its actors may be missed a moment earlier."""
    import ray

    limit = time.monotonic() + _SECONDS_TO_TELL
    while True:
        with signals_held():
            entries = ray.nodes()
        if not any(entry["NodeID"] == node and entry["Alive"] for entry in entries):
            return True
        if time.monotonic() > limit:
            return False
        time.sleep(0.2)
