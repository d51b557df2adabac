"""The normal equations of BSSEval's distortion filters: a large symmetric block Toeplitz system."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Added to the diagonal by BSSEval v4; it makes the equations solvable where a whole channel is zero.
_DIAGONAL = torch.finfo(torch.float64).eps
# Columns factored at once: the rest is matrix products, which run at the machine's full rate.
_PANEL = 256
# Least share of a delayed signal's energy that earlier ones may leave for the factors to be trusted.
_DIGITS = 1e-12
# Least eigenvalue, relative to the mean one, from which scores are reproducible. Songs rounded to 16 bits stay near
# 1e-9; songs as a lossy decoder gives them, with an empty band, fall below 1e-12, where rounding decides.
_STABLE = 1e-11
# The least share for an exact multiple of another signal.
_ROUNDING = 4 * torch.finfo(torch.float64).eps


@dataclass(frozen=True, slots=True)
class Solution:
    """Solution of normal equations.

    Attributes
    ----------
    values : float64 Tensor of shape (row x delay, column)
    stable : bool
        False if rounding decides part of it, so that another computer may find another one.
    """

    values: Tensor
    stable: bool


def gram_matrix(lags: Tensor) -> Tensor:
    """Build the Gram matrix of delayed signals from their correlations.

    Parameters
    ----------
    lags : Tensor of shape (row, row, delay)
        ``lags[a, b, p] = sum_n a[n - p] b[n]``.

    Returns
    -------
    Tensor of shape (row x delay, row x delay)
        Entry ((a, p), (b, q)) is the inner product of a delayed by p and b delayed by q.
    """
    rows, taps = lags.shape[0], lags.shape[-1]
    gram = lags.new_empty(rows, taps, rows, taps)
    for a in range(rows):
        for b in range(rows):
            # The entry depends on p - q only: from taps - 1 down to 1 - taps.
            line = torch.cat([lags[a, b].flip(0), lags[b, a, 1:]])
            gram[a, :, b] = line.unfold(0, taps, 1).flip(0)  # [p, q] = line[taps - 1 - p + q]
    return gram.reshape(rows * taps, rows * taps)


def solve(lags: Tensor, right: Tensor) -> Solution:
    """Solve the normal equations; any solution will do if there are many, only the projection matters.

    Silent rows and exact multiples of other rows (a mono stem in two channels) get filters of zeros and leave the
    equations. Then Cholesky factors first. If rounding has used up all digits, LU factors as in BSSEval v4: such
    equations, of references with an empty band, have no answer that two computers agree on, and Cholesky's or a
    regularised one would be farther from what is published. If a pivot is exactly zero, the shortest solution.

    Parameters
    ----------
    lags : float64 Tensor of shape (row, row, delay)
        As in `gram_matrix`.
    right : float64 Tensor of shape (row x delay, column)

    Returns
    -------
    Solution
    """
    rows, taps = lags.shape[0], lags.shape[-1]
    kept = _independent_rows(lags[..., 0])
    if len(kept) == rows:
        return _solve_full(lags, right)
    solution, stable = right.new_zeros(rows, taps, right.shape[1]), True
    if kept:
        part = right.reshape(rows, taps, -1)[kept].reshape(len(kept) * taps, -1)
        found = _solve_full(lags[kept][:, kept], part)
        solution[kept], stable = found.values.reshape(len(kept), taps, -1), found.stable
    return Solution(solution.reshape(right.shape), stable)


def _independent_rows(products: Tensor) -> list[int]:
    """Rows that are neither silent nor exact multiples of an earlier one, from their inner products."""
    table, kept = products.tolist(), list[int]()
    for a, line in enumerate(table):
        if line[a] > 0 and all(line[b] ** 2 < line[a] * table[b][b] * (1 - _ROUNDING) for b in kept):
            kept.append(a)
    return kept


def _solve_full(lags: Tensor, right: Tensor) -> Solution:
    """Solve equations without the plain cases of dependence."""
    gram = gram_matrix(lags)
    gram.diagonal().add_(_DIAGONAL)
    mean_eigenvalue = float(gram.diagonal().mean())
    if _factor_in_place(gram):
        # G^-1 b of a random b of length 1 is about 1 / (least eigenvalue x root of size) long, or longer.
        generator = torch.Generator().manual_seed(0)
        probe = torch.randn(gram.shape[0], 1, generator=generator, dtype=torch.float64).to(right.device)
        solved = _substitute(gram, torch.cat([right, probe / probe.norm()], dim=1))
        least_eigenvalue = 1.0 / (float(solved[:, -1].norm()) * gram.shape[0] ** 0.5)
        return Solution(solved[:, :-1], stable=least_eigenvalue > _STABLE * mean_eigenvalue)
    del gram
    equations = gram_matrix(lags.cpu())
    equations.diagonal().add_(_DIAGONAL)
    try:
        # LAPACK of NumPy: on these equations its LU stays nearer to that of BSSEval v4 than torch's.
        solution = torch.from_numpy(np.linalg.solve(equations.numpy(), right.cpu().numpy()))
    except np.linalg.LinAlgError:
        equations.diagonal().sub_(_DIAGONAL)
        solution = torch.linalg.pinv(equations, hermitian=True, rtol=_DIAGONAL * equations.shape[0]) @ right.cpu()
    return Solution(solution.to(right.device), stable=False)


def _factor_in_place(matrix: Tensor) -> bool:
    """Replace the lower triangle by the Cholesky factor, panel by panel; tell whether enough digits are left."""
    size, diagonal = matrix.shape[0], matrix.diagonal().clone()
    for start in range(0, size, _PANEL):
        panel, below = slice(start, start + _PANEL), slice(start + _PANEL, size)
        if start:
            matrix[start:, panel].addmm_(matrix[start:, :start], matrix[panel, :start].mT, alpha=-1)
        corner, failed = torch.linalg.cholesky_ex(matrix[panel, panel])
        kept = corner.diagonal().square() > _DIGITS * diagonal[panel]
        if bool(failed) or not bool(kept.all()):
            return False
        matrix[panel, panel] = corner
        if start + _PANEL < size:
            matrix[below, panel] = torch.linalg.solve_triangular(
                corner.mT, matrix[below, panel], upper=True, left=False
            )
    return True


def _substitute(factor: Tensor, right: Tensor) -> Tensor:
    """Solve with a Cholesky factor in the lower triangle; the upper one is not read."""
    solution = right.clone()
    starts = range(0, factor.shape[0], _PANEL)
    for start in starts:
        panel = slice(start, start + _PANEL)
        solution[panel] = torch.linalg.solve_triangular(
            factor[panel, panel].tril(), solution[panel] - factor[panel, :start] @ solution[:start], upper=False
        )
    for start in reversed(starts):
        panel, below = slice(start, start + _PANEL), slice(start + _PANEL, factor.shape[0])
        solution[panel] = torch.linalg.solve_triangular(
            factor[panel, panel].tril().mT, solution[panel] - factor[below, panel].mT @ solution[below], upper=True
        )
    return solution
