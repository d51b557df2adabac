"""Where to compute and how: device, precision, threads, allocator."""

import os
from typing import TYPE_CHECKING, Literal

from mss_cli.errors import DeviceError, UsageError
from mss_cli.events import Listener, Warned
from mss_cli.heap import keep_big_buffers

if TYPE_CHECKING:
    import torch

    from mss_models.separator import Precision

PrecisionChoice = Literal["auto", "fp32", "bf16", "fp16"]

# Segments given to a separator in one call: on a CPU more only cost memory; a GPU needs several to be busy.
CPU_BATCH = 1
GPU_BATCH = 8

# Waiting OpenMP threads sleep instead of spinning: on a shared machine spinning cost most of the time of two threads.
# libgomp reads it when torch is loaded, so it is set when this module is, which all that computes imports first.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def prepare_process(threads: int | None = None) -> int:
    """Set up this process for inference; call once.

    Big buffers stay with the process between segments, and denormal numbers count as zero.

    Parameters
    ----------
    threads : int, >= 1, optional
        Threads of one operation; by default the cores this process may use.

    Returns
    -------
    int
        The threads in use.
    """
    keep_big_buffers()
    import torch

    count = threads or available_cores()
    torch.set_num_threads(count)
    torch.set_flush_denormal(True)
    # On by default for convolutions on CUDA: 10 bits of mantissa are not what `fp32` says.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    return count


def available_cores() -> int:
    """Count the cores this process may use: affinity and the container's limit, the smaller one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as limit:  # noqa: PTH123 - a kernel file, not a user's
            quota, period = limit.read().split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # no cgroup v2 here
    return cores


def resolve_device(name: str, listener: Listener) -> "torch.device":
    """Turn `--device` into a device that is there.

    Parameters
    ----------
    name : str
        "auto", "cpu", "cuda", "cuda:N" or "mps".
    listener : Listener
        Told once when "auto" finds no GPU.

    Raises
    ------
    UsageError
        If there is no such kind of device.
    DeviceError
        If it is not there.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        listener(Warned("no GPU found: computing on the CPU; say `--device cpu` to choose it"))
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not (kind == "cuda" and number.isdecimal())):
        raise UsageError(f"no device is called `{name}`", hint="use `auto`, `cpu`, `cuda`, `cuda:N` or `mps`")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise DeviceError(f"device `{name}` is not there ({found} CUDA devices found)", hint="use `--device auto`")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device `mps` is not there", hint="use `--device auto`")
    return torch.device(f"cuda:{number or 0}" if kind == "cuda" else kind)


def resolve_precision(
    choice: PrecisionChoice, device: "torch.device", *, possible: "tuple[Precision, ...]", bf16_measured: bool
) -> "Precision":
    """Turn `--precision` into the one to compute in.

    Parameters
    ----------
    choice : {"auto", "fp32", "bf16", "fp16"}
        What was asked for. "auto" is fp32 unless the model's card carries a measured and small bf16 error and the
        device computes bf16 fast.
    device : torch.device
        Where it will be computed.
    possible : tuple of str
        Precisions of the separator.
    bf16_measured : bool
        Whether the card allows bf16.

    Raises
    ------
    UsageError
        If the separator does not compute in it.
    """
    if choice == "auto":
        return "bf16" if bf16_measured and "bf16" in possible and has_fast_bf16(device) else "fp32"
    if choice not in possible:
        raise UsageError(
            f"this model does not compute in {choice}", hint=f"use `--precision auto` or one of {', '.join(possible)}"
        )
    if choice == "fp16" and device.type == "cpu":
        raise UsageError("fp16 is for GPUs: a CPU takes 40 times as long", hint="use `--precision bf16` or `auto`")
    return choice


def has_fast_bf16(device: "torch.device") -> bool:
    """Tell whether bf16 is faster than fp32 there: AVX512_BF16 or AMX on a CPU, Ampere or newer on CUDA."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):  # private in torch 2.13: may move
        supported = getattr(torch.cpu, probe, None)
        if supported is not None and supported():
            return True
    return False
