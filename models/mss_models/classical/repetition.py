"""Repetition: what comes back in similar frames of the segment is background, what does not is foreground."""

import torch
from torch import Tensor

from mss_models.classical.medians import median_of
from mss_models.errors import ShapeError

_CELLS_AT_ONCE = 1 << 15  # as in `medians`: eleven blocks of this size and their sorted runs stay in the cache


def similar_frames(features: Tensor, *, count: int, context: int, apart: int, nearest: int) -> Tensor:
    """Find for every frame the frames most like it elsewhere in the segment.

    Similarity is the cosine between feature vectors, summed over `context` frames before and after, so that it
    compares short passages and not single frames. Only its local maxima along time are taken.

    Parameters
    ----------
    features : float Tensor of shape (feature, frame)
        Non-negative summary of each frame, for instance compressed band energies; silent frames are all 0.
    count : int, >= 1
        Frames to find for each; fewer if the segment is shorter.
    context : int, frames, >= 0
        Half length of the passages compared.
    apart : int, frames, >= 0
        Least distance of two frames found.
    nearest : int, frames, >= 0
        Frames nearer than this to the frame itself are not taken: a held note is not a repetition.

    Returns
    -------
    int64 Tensor of shape (frame, found)
        Frame numbers, most similar first; ``found`` is ``min(count, frame)``. Where a frame has fewer maxima
        than asked for, the list is filled up with the next best frames.

    Raises
    ------
    ShapeError
        If there are not two axes.

    References
    ----------
    Rafii and Pardo, "Music/voice separation using the similarity matrix", ISMIR 2012; the context is ours.
    """
    if features.ndim != 2:
        raise ShapeError("features", "(feature, frame)", features.shape)
    frames = features.shape[1]
    length = torch.linalg.vector_norm(features, dim=0, keepdim=True)
    unit = features / length.masked_fill(length == 0, 1.0)
    single = torch.nn.functional.pad(unit.T @ unit, (context, context, context, context))
    similarity = torch.zeros(frames, frames, dtype=features.dtype, device=features.device)
    for shift in range(2 * context + 1):
        similarity += single[shift : shift + frames, shift : shift + frames]
    numbers = torch.arange(frames, device=features.device)
    # Below every similarity (which is >= 0), maxima first, then other far frames, then near ones.
    similarity.masked_fill_((numbers[:, None] - numbers).abs() < nearest, -2.0)
    peaks = torch.nn.functional.max_pool1d(similarity[None], 2 * apart + 1, stride=1, padding=apart)[0]
    similarity = similarity.masked_fill((similarity < peaks) & (similarity >= 0), -1.0)
    # Of equal similarities the earliest frame first: `topk` promises no order.
    order = similarity.sort(dim=1, descending=True, stable=True).indices
    return order[:, : min(count, frames)]


def repeating_background(magnitudes: Tensor, similar: Tensor) -> Tensor:
    """Take the median over similar frames, never more than the frame itself.

    ``B[bin, frame] = min(V[bin, frame], median of V[bin, frame] and V[bin, similar[frame]])``

    Parameters
    ----------
    magnitudes : float Tensor of shape (bin, frame)
        Linear, non-negative.
    similar : int64 Tensor of shape (frame, found)
        As `similar_frames` gives it; the last one is left out where ``found`` is odd.

    Returns
    -------
    Tensor of shape (bin, frame)
        Magnitudes of what repeats, at most `magnitudes`.

    Raises
    ------
    ShapeError
        If the axes do not fit.

    References
    ----------
    Rafii and Pardo, "Music/voice separation using the similarity matrix", ISMIR 2012.
    """
    if magnitudes.ndim != 2 or similar.ndim != 2 or similar.shape[0] != magnitudes.shape[1]:
        raise ShapeError("similar", f"(frame, found) for magnitudes {tuple(magnitudes.shape)}", similar.shape)
    rows = magnitudes.T.contiguous()  # (frame, bin): a frame is copied in one piece
    chosen = similar[:, : similar.shape[1] // 2 * 2]
    background = torch.empty_like(rows)
    step = max(1, _CELLS_AT_ONCE // rows.shape[1])
    for start in range(0, rows.shape[0], step):
        block = slice(start, start + step)
        others = [rows.index_select(0, chosen[block, i]) for i in range(chosen.shape[1])]
        background[block] = torch.minimum(median_of([rows[block], *others]), rows[block])
    return background.T  # (bin, frame)
