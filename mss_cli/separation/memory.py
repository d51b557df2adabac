"""What running out of memory looks like, on every device, and what is said about it."""

from collections.abc import Iterator
from contextlib import contextmanager

from mss_cli.errors import MemoryExhausted

# torch raises a plain RuntimeError when a CPU, an MPS device or a CUDA library has no room left.
_WORDS = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory ran out."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _WORDS)


@contextmanager
def memory_errors(name: str) -> Iterator[None]:
    """Turn an error for lack of memory into ours, where the work cannot start again by itself.

    Raises
    ------
    MemoryExhausted
        Naming the flag that helps.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        hint = "use shorter segments with `--segment-seconds`, or `--device cpu`"
        raise MemoryExhausted("out of memory", path=name, hint=hint) from error
