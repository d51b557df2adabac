"""Who holds a lock: a process of a host, told apart from a later one with the same number."""

import os
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from mss_cli.batch.json_fields import Fields, MalformedError, parse_object
from mss_cli.batch.sharding import Shard
from mss_cli.events import Json
from mss_cli.processes import process_exists, start_of

SCHEMA = 1


class Life(StrEnum):
    """Whether the process behind a lock lives, as far as this host can tell."""

    ALIVE = "alive"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Host:
    """A running system, as far as process numbers mean the same.

    Parameters
    ----------
    name : str
        Host name.
    machine : str
        Number of the installation; empty if there is none.
    boot : str
        Number of this start of it; empty if there is none.
    processes : str
        Name space of process numbers: containers have their own.
    """

    name: str
    machine: str
    boot: str
    processes: str


@dataclass(frozen=True, slots=True)
class Holder:
    """A run that holds or claims an output folder.

    Parameters
    ----------
    token : str
        Random; no two runs share one.
    host : Host
    pid : int, > 0
    started : str
        Start of the process in the host's own count; empty where the system does not tell.
    shard : Shard or None
    held : bool
        False while it only claims.
    beats : int
        Renewals so far.
    """

    token: str
    host: Host
    pid: int
    started: str
    shard: Shard | None
    held: bool = False
    beats: int = 0

    def __str__(self) -> str:
        share = "" if self.shard is None else f" (shard {self.shard})"
        return f"process {self.pid} on `{self.host.name}`{share}"

    def conflicts(self, shard: Shard | None) -> bool:
        """Tell whether a run of that shard may not run beside this one: only sisters of one division may."""
        if self.shard is None or shard is None or self.shard.count != shard.count:
            return True
        return self.shard.index == shard.index

    def life(self) -> Life:
        """Tell whether the process lives; unknown on other hosts."""
        here = this_host()
        if self.host == here:
            return Life.ALIVE if _runs(self.pid, self.started) else Life.GONE
        known = bool(here.machine and here.boot and self.host.boot)
        if known and replace(self.host, boot=here.boot) == here:
            return Life.GONE  # this machine, before it was started again
        return Life.UNKNOWN


def myself(shard: Shard | None) -> Holder:
    """Describe this process, with a new token."""
    return Holder(secrets.token_hex(16), this_host(), os.getpid(), start_of(os.getpid()) or "", shard)


def this_host() -> Host:
    """Describe the system this process runs on."""
    processes = ""
    with suppress(OSError):
        processes = str(Path("/proc/self/ns/pid").readlink())
    return Host(socket.gethostname(), _line("/etc/machine-id"), _line("/proc/sys/kernel/random/boot_id"), processes)


def _runs(pid: int, started: str) -> bool:
    start = start_of(pid)
    return process_exists(pid) and (start is None or not started or start == started)


def _line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def holder_to_json(holder: Holder) -> dict[str, Json]:
    """Give the fields of a lock."""
    shard: Json = None if holder.shard is None else {"index": holder.shard.index, "count": holder.shard.count}
    return {
        "schema": SCHEMA,
        "token": holder.token,
        "host": holder.host.name,
        "machine": holder.host.machine,
        "boot": holder.host.boot,
        "processes": holder.host.processes,
        "pid": holder.pid,
        "started": holder.started,
        "shard": shard,
        "held": holder.held,
        "beats": holder.beats,
    }


def parse_holder(raw: bytes, where: str) -> Holder:
    """Read a lock.

    Raises
    ------
    MalformedError
        If it is none of ours.
    """
    fields = parse_object(raw, where)
    if fields.whole("schema") != SCHEMA:
        raise MalformedError(f"{where}: another schema")
    host = Host(fields.text("host"), fields.text("machine"), fields.text("boot"), fields.text("processes"))
    return Holder(
        fields.text("token"),
        host,
        fields.whole("pid", least=1),
        fields.text("started"),
        _read_shard(fields),
        fields.flag("held"),
        fields.whole("beats"),
    )


def _read_shard(fields: Fields) -> Shard | None:
    with suppress(ValueError):  # none, or damaged: then it keeps everyone out
        part = fields.inside("shard")
        return Shard(part.whole("index"), part.whole("count"))
    return None
