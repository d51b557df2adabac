"""Tables of scores on stdout: aligned on a terminal, whole lines in a pipe."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mss_cli.console.words import printable
from mss_cli.stdout import write_line

if TYPE_CHECKING:
    from mss_cli.evaluation.tables import Table

# Wide enough for every table where nobody looks at columns: no cell is cut in a pipe.
_PIPE_COLUMNS = 240


def show(tables: "Sequence[Table]", *, colour: bool) -> None:
    """Write tables to stdout.

    Raises
    ------
    Interruption, OutputError
        If the reader has gone away; if stdout cannot be written.
    """
    from rich import box
    from rich.console import Console as Terminal
    from rich.table import Table as RichTable
    from rich.text import Text

    on_terminal = sys.stdout.isatty()
    plain = not colour or bool(os.environ.get("NO_COLOR"))
    terminal = Terminal(
        file=sys.stdout, no_color=plain, highlight=False, markup=False, width=None if on_terminal else _PIPE_COLUMNS
    )
    for table in tables:
        grid = RichTable(title=Text(printable(table.title)), title_justify="left", box=box.SIMPLE_HEAD, expand=False)
        for place, column in enumerate(table.columns):
            grid.add_column(Text(column), justify="left" if place == 0 else "right", no_wrap=not on_terminal)
        for row in table.rows:
            grid.add_row(*(Text(printable(cell)) for cell in row))
        # Captured and written by ourselves: rich would end the process with 1 when the reader goes away.
        with terminal.capture() as shown:
            terminal.print(grid)
            for note in table.notes:
                terminal.print(Text(f"  {printable(note)}", style="dim"), soft_wrap=True)
        for line in shown.get().removesuffix("\n").split("\n"):
            write_line(line)
