"""Running medians over one axis of a spectrogram, fast enough for long files on a CPU."""

from functools import reduce

import torch
from torch import Tensor

CELLS_AT_ONCE = (
    1 << 15
)  # 128 kB a tensor: the few dozen live ones stay in the cache; 2**13 to 2**17 measured within 20 %


def running_median(values: Tensor, size: int, *, dim: int = -1) -> Tensor:
    """Give the median of the `size` neighbours around each element along one axis.

    Windows are centred; beyond both ends the values are mirrored with the edge repeated (``d c b a | a b c d``), as
    scipy's `median_filter` does with ``mode="reflect"``. Windows share their sorted halves: sorted runs of 2, 4, 8, ...
    elements are merged by Batcher's odd-even merging network with elementwise minima and maxima, so no window is
    sorted on its own.

    Parameters
    ----------
    values : float Tensor
        Any shape, any unit; must not hold NaN (not checked).
    size : int, odd, >= 1
        Elements in a window; may exceed the axis.
    dim : int
        The axis.

    Returns
    -------
    Tensor
        Same shape, dtype and device as `values`.

    Raises
    ------
    ValueError
        If `size` is not odd and positive.

    References
    ----------
    Batcher, "Sorting networks and their applications", AFIPS 1968 (the merge); sharing it among windows is ours.
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size must be odd and positive, got {size}")
    if size == 1 or values.numel() == 0:
        return values.clone()
    if values.ndim > 2:
        along = dim % values.ndim
        axis = 0 if along else 1  # any axis but the one of the windows
        parts = [running_median(part, size, dim=along - (along > axis)) for part in values.unbind(axis)]
        return torch.stack(parts, dim=axis)
    result = torch.empty_like(
        values
    )  # keeps the memory order: bins of a frame may lie side by side, or frames of a bin
    rows, target = ((t.movedim(dim, 0) if t.ndim == 2 else t.unsqueeze(1)) for t in (values, result))  # (length, rest)
    length = rows.shape[0]
    positions = torch.arange(-(size // 2), length + size // 2, device=values.device) % (2 * length)
    mirrored = torch.where(positions < length, positions, 2 * length - 1 - positions)
    step = max(1, CELLS_AT_ONCE // length)
    for start in range(0, rows.shape[1], step):
        padded = rows[:, start : start + step].contiguous().index_select(0, mirrored)  # (length + size - 1, step)
        target[:, start : start + step] = _median_of_windows(padded, size)
    return result


def median_of(values: list[Tensor]) -> Tensor:
    """Give the elementwise median of an odd number of equally shaped tensors.

    Raises
    ------
    ValueError
        If there is an even number of them.
    """
    if len(values) % 2 == 0:
        raise ValueError(f"the number of tensors must be odd, got {len(values)}")
    runs = [[value] for value in values]
    while len(runs) > 2:
        runs = [_merge(*runs[i : i + 2]) if i + 1 < len(runs) else runs[i] for i in range(0, len(runs), 2)]
    return runs[0][0] if len(runs) == 1 else _ranked(runs[0], runs[1], len(values) // 2)


def _median_of_windows(padded: Tensor, size: int) -> Tensor:
    """Median of every `size` consecutive rows; (length + size - 1, rest) -> (length, rest)."""
    length = padded.shape[0] - size + 1
    run = [padded]  # sorted run of `width` rows from each start on
    width, offset = 1, 0
    rest: list[Tensor] = []  # sorted run of the rows already covered by the binary digits of `size`
    while True:
        if size & width:
            part = [rank[offset : offset + length] for rank in run]
            offset += width
            if offset == size:
                return _ranked(part, rest, size // 2)
            rest = _merge(part, rest)
        run = _merge([rank[:-width] for rank in run], [rank[width:] for rank in run])
        width *= 2


def _merge(first: list[Tensor], second: list[Tensor]) -> list[Tensor]:
    """Merge two ascending runs of tensors elementwise into one (Batcher's odd-even merge, any two lengths)."""
    if not first or not second:
        return first or second
    if len(first) == len(second) == 1:
        return [torch.minimum(first[0], second[0]), torch.maximum(first[0], second[0])]
    even, odd = _merge(first[::2], second[::2]), _merge(first[1::2], second[1::2])
    merged = [even[0]]
    for low, high in zip(odd, even[1:], strict=False):
        merged += [torch.minimum(low, high), torch.maximum(low, high)]
    return merged + odd[len(even) - 1 :] + even[len(odd) + 1 :]


def _ranked(first: list[Tensor], second: list[Tensor], rank: int) -> Tensor:
    """Element of 0-based `rank` in the union of two ascending runs: ``min over i + j = rank + 1 of max(a_i, b_j)``."""
    candidates = []
    for taken in range(max(0, rank + 1 - len(second)), min(rank + 1, len(first)) + 1):
        others = rank + 1 - taken
        if taken and others:
            candidates.append(torch.maximum(first[taken - 1], second[others - 1]))
        else:
            candidates.append(first[taken - 1] if taken else second[others - 1])
    return reduce(torch.minimum, candidates)
