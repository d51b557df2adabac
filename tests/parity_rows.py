"""What tests of parity leave behind for the table of `benchmarks/parity_table.py`."""

from collections.abc import Callable
from dataclasses import dataclass

PROPERTY = "parity"


@dataclass(frozen=True, slots=True)
class ParityRow:
    """One comparison of a network of ours with another implementation of it, on the same weights.

    Parameters
    ----------
    architecture, configuration : str
    against : str
        The other implementation, or the known answer.
    parameters : int
        Of the networks, all together.
    difference : float
        The largest difference over the largest absolute output of the other.
    """

    architecture: str
    configuration: str
    against: str
    parameters: int
    difference: float

    def record(self, record_property: Callable[[str, object], None]) -> None:
        """Hand the row to pytest."""
        values = (self.architecture, self.configuration, self.against, self.parameters, self.difference)
        record_property(PROPERTY, values)
