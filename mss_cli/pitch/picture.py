"""Draws the salience of a track and the pitch read off it as one PNG."""

from pathlib import Path

import numpy as np

from mss_cli.pitch.estimate import PitchEstimate
from mss_cli.pitch.figure import drawable, new_figure, save_png

_TICKS_HZ = (50, 100, 200, 400, 800, 1600)


def save_picture(estimate: PitchEstimate, target: Path, *, title: str) -> None:
    """Draw the salience over time and pitch; the most salient pitch as a line.

    Parameters
    ----------
    estimate : PitchEstimate
    target : Path
        Exactly this name is written, as PNG.
    title : str
        Drawn as it is.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from mss_models.salience import BINS, BINS_PER_OCTAVE, LOWEST_HZ

    hop = estimate.hop_seconds
    figure = new_figure(12, 5)
    axes = figure.subplots()
    width = estimate.columns.shape[1] * estimate.frames_per_column * hop
    image = axes.imshow(
        estimate.columns,
        origin="lower",
        aspect="auto",
        extent=(-hop / 2, width - hop / 2, -0.5, BINS - 0.5),
        vmin=0.0,
        vmax=1.0,
        cmap="magma",
        interpolation="nearest",
    )
    figure.colorbar(image, ax=axes, pad=0.01, label="salience")
    first = estimate.frequencies[0]
    places = np.where(first > 0, BINS_PER_OCTAVE * np.log2(np.where(first > 0, first, 1.0) / LOWEST_HZ), np.nan)
    axes.plot(np.arange(first.size) * hop, places, color="cyan", linewidth=0.8, label="most salient pitch")
    axes.set_xlim(-hop / 2, first.size * hop - hop / 2)
    axes.set_yticks([BINS_PER_OCTAVE * np.log2(tick / LOWEST_HZ) for tick in _TICKS_HZ], [f"{t} Hz" for t in _TICKS_HZ])
    axes.set_xlabel("seconds")
    axes.legend(loc="upper right", fontsize=8)
    axes.set_title(drawable(title), fontsize=11)
    save_png(figure, target)
