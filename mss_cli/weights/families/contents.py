"""What a reader makes of a checkpoint of others, and how it refuses one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mss_cli.errors import WeightsError
from mss_cli.weights.safe_loading import HINT

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Contents:
    """A network of ours with weights of others.

    Parameters
    ----------
    architecture : str
        Name in `mss_models.catalog`; `deep-salience` for its network, which separates nothing.
    configuration : mapping of str to object
        Settings of the architecture, as JSON.
    state : mapping of str to Tensor
        Its state dict, in the precision of the file.
    stems : tuple of str
    sample_rate : int, Hz
    """

    architecture: str
    configuration: Mapping[str, object]
    state: "Mapping[str, Tensor]"
    stems: tuple[str, ...]
    sample_rate: int


@dataclass(frozen=True, slots=True)
class Part:
    """One file, and the stem it is for where each is for one."""

    path: Path
    role: str | None = None


def refuse(path: Path, reason: str, *, hint: str = HINT) -> WeightsError:
    """Make the error for a file that cannot be taken."""
    return WeightsError(f"cannot load weights: {reason}", path=str(path), hint=hint)
