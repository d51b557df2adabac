"""The C library's heap: big buffers stay with the process between segments.

A network's buffers come and go with every segment, and returning each at once costs page faults: freed memory is kept.
What loading and preparing weights took besides is given back once, before the first segment. All of this is glibc's;
elsewhere nothing happens.
"""

import ctypes
from functools import cache


def keep_big_buffers() -> None:
    """Make glibc keep freed buffers: giving them back after each layer cost over half of the CPU time in page faults.

    One arena, so that threads profit too.
    """
    m_trim_threshold, m_mmap_threshold, m_arena_max = -1, -3, -8  # from malloc.h
    library = _glibc()
    if library is not None:
        library.mallopt(m_arena_max, 1)
        library.mallopt(m_mmap_threshold, 1 << 30)
        library.mallopt(m_trim_threshold, 1 << 30)


def give_back() -> None:
    """Give all free memory back to the system."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libc.so.6")
        _ = library.mallopt, library.malloc_trim
    except (OSError, AttributeError):
        return None
    return library
