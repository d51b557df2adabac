"""What every picture of ours shares: matplotlib looked for, titles drawn as they are, the same bytes each time."""

from pathlib import Path
from typing import TYPE_CHECKING

from mss_cli.errors import UsageError
from mss_cli.files import output_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_matplotlib(purpose: str) -> None:
    """Refuse a picture before any work where matplotlib is not installed.

    Parameters
    ----------
    purpose : str
        What needs it, for the message.

    Raises
    ------
    UsageError
        Naming the extra to install.
    """
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise UsageError(f"{purpose} needs matplotlib", hint="install it with `pip install 'mss-cli[plot]'`")


def new_figure(width: float, height: float) -> "Figure":
    """Make an empty figure, in inches, that is drawn without a screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def drawable(title: str) -> str:
    """Give a name of the file system as text to draw: no mathematics between dollars, no bytes that are no UTF-8."""
    return title.replace("$", r"\$").encode("utf-8", "replace").decode()


def save_png(figure: "Figure", target: Path) -> None:
    """Write a figure under exactly this name, as PNG that tells no version.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    try:
        with target.open("wb") as file:
            figure.savefig(file, format="png", dpi=100, metadata={"Software": None})
    except OSError as error:
        raise output_error(target, error) from error
