"""How a run goes through its inputs, as asked for."""

from dataclasses import dataclass
from enum import StrEnum

from mss_cli.batch.decisions import Policy
from mss_cli.batch.sharding import Shard


class EngineName(StrEnum):
    """Where the workers of a run live."""

    LOCAL = "local"
    RAY = "ray"


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How a run goes through its inputs; none of it changes a sample.

    Parameters
    ----------
    inputs_from : str or None
        A list of inputs; `-` is stdin.
    null : bool
        Names in that list end with NUL.
    exclude : tuple of str
        Patterns.
    policy : Policy
        When a finished track is done again.
    checksum : bool
        Hash inputs even if size and time are those of the record.
    dry_run : bool
        Tell the plan and write nothing.
    shard : Shard or None
        The share to do.
    wait_lock_seconds : float, >= 0
        How long to wait for another run on the folder.
    max_failures : int or None
        Stop after so many; tracks that others are at then are finished.
    jobs : int or None
        Tracks done at once, each by a process of its own; as many as the machine carries if None.
    timeout_seconds : float or None
        Longest a track may take.
    nice : int, 0 to 19
        How much the run gives way to other processes.
    retry_failed : bool
        Do only the tracks that are listed as failed in the output folder.
    engine : EngineName
    ray_address : str or None
        Of the Ray cluster: `auto`, `HOST` or `HOST:PORT`.
    """

    inputs_from: str | None = None
    null: bool = False
    exclude: tuple[str, ...] = ()
    policy: Policy = Policy.IF_CHANGED
    checksum: bool = False
    dry_run: bool = False
    shard: Shard | None = None
    wait_lock_seconds: float = 0.0
    max_failures: int | None = None
    jobs: int | None = None
    timeout_seconds: float | None = None
    nice: int = 0
    retry_failed: bool = False
    engine: EngineName = EngineName.LOCAL
    ray_address: str | None = None
