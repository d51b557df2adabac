"""Draws a track's spectrograms and masks as one PNG."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mss_cli.pitch.figure import drawable, new_figure, save_png
from mss_cli.separation.sketch import TrackSketch

# Decibels shown below the loudest cell of the mixture.
_RANGE_DB = 80.0
_TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000)


def save_picture(sketch: TrackSketch, target: Path, *, title: str) -> None:
    """Draw the mixture's spectrogram, and each output's beside its mask.

    Parameters
    ----------
    sketch : TrackSketch
        Filled.
    target : Path
        Exactly this name is written, as PNG.
    title : str
        Drawn as it is.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from matplotlib.axes import Axes

    energies = sketch.energies()  # (output and mixture, band, column)
    mixture = energies[-1]
    top_db = 10 * np.log10(float(mixture.max()) + 1e-12)
    seconds = sketch.samples / sketch.sample_rate
    outputs = len(sketch.names) - 1
    figure = new_figure(12, 2.0 * (outputs + 1) + 0.6)
    figure.suptitle(drawable(title), fontsize=11)
    grid = figure.subplots(outputs + 1, 2, squeeze=False, sharex=True)

    def show(axes: Axes, cells: NDArray[np.float32], *, lowest: float, highest: float, colours: str) -> None:
        times = np.linspace(0.0, seconds, cells.shape[-1] + 1)
        mesh = axes.pcolormesh(times, sketch.edges_hz, cells, vmin=lowest, vmax=highest, cmap=colours, rasterized=True)
        axes.set_yscale("log")
        ticks = [tick for tick in _TICKS_HZ if tick < sketch.sample_rate / 2][::2]
        axes.set_yticks(ticks, [f"{tick / 1000:g} kHz" if tick >= 1000 else f"{tick} Hz" for tick in ticks])
        axes.minorticks_off()
        figure.colorbar(mesh, ax=axes, pad=0.01)

    for row, index in enumerate([outputs, *range(outputs)]):
        level = 10 * np.log10(energies[index] + 1e-12) - top_db
        left, right = grid[row]
        show(left, level, lowest=-_RANGE_DB, highest=0.0, colours="magma")
        left.set_title(f"{sketch.names[index]}: level, dB below the mixture's peak", fontsize=9, loc="left")
        if index == outputs:
            right.axis("off")
            continue
        heard = 10 * np.log10(mixture + 1e-12) - top_db > -_RANGE_DB  # a share of next to nothing says nothing
        mask = np.where(heard, np.sqrt(energies[index] / np.maximum(mixture, 1e-12)), 0.0).clip(0.0, 1.0)
        show(right, mask, lowest=0.0, highest=1.0, colours="viridis")
        right.set_title(f"{sketch.names[index]}: mask, share of the mixture's magnitude", fontsize=9, loc="left")
    for axes in grid[-1]:
        axes.set_xlabel("seconds")
    save_png(figure, target)
