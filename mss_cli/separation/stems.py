"""Which stems are written, and how each is made of the estimates and the mixture."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mss_cli.errors import UsageError

if TYPE_CHECKING:  # the choice is checked before numpy is needed
    import numpy as np
    from numpy.typing import NDArray

    Block = NDArray[np.float32]

# The stem that takes what a separator leaves over, so that the stems sum to the mixture.
REMAINDER = "other"
RESIDUAL = "residual"
# Words of other tools for "everything but vocals", taken by `--two-stems`.
_KARAOKE = ("accompaniment", "instrumental", "karaoke")


@dataclass(frozen=True, slots=True)
class StemChoice:
    """What was asked for.

    Parameters
    ----------
    stems : tuple of str or None
        Stems to write; all if None.
    two_stems : str or None
        Write this stem X and `no_X`, the mixture minus X, instead.
    residual : bool
        Write `residual` too: the mixture minus the stems written.
    """

    stems: tuple[str, ...] | None = None
    two_stems: str | None = None
    residual: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """One output: an estimate (`stem`), or the mixture minus some stems (`minus`)."""

    name: str
    stem: str | None = None
    minus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StemPlan:
    """How estimates become outputs, sample by sample.

    Parameters
    ----------
    available : tuple of str
        Stems of the separator, in its order.
    parts : tuple of Part
        The outputs, in the order they are written.
    """

    available: tuple[str, ...]
    parts: tuple[Part, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return tuple(part.name for part in self.parts)

    def apply(self, mixture: "Block", estimates: "Block") -> "Block":
        """Make the outputs of one block.

        `other`, where the separator has it, is the mixture minus all other estimates: it takes what the separator
        could not hear, and the stems sum to the mixture to the rounding of float32.

        Parameters
        ----------
        mixture : float32 array of shape (channel, sample)
            At the input's rate and channels.
        estimates : float32 array of shape (stem, channel, sample)
            Aligned with it. Not changed.

        Returns
        -------
        float32 array of shape (output, channel, sample)
        """
        import numpy as np

        outputs = np.empty((len(self.parts), *mixture.shape), np.float32)
        for output, part in zip(outputs, self.parts, strict=True):
            if part.stem is not None and part.stem != REMAINDER:
                output[:] = estimates[self.available.index(part.stem)]
                continue
            minus = self._without(REMAINDER) if part.stem == REMAINDER else part.minus
            if REMAINDER in minus:  # mixture - other - some = what other does not hold - some
                kept = [stem for stem in self._without(REMAINDER) if stem not in minus]
                output[:] = sum((estimates[self.available.index(stem)] for stem in kept), np.float32(0))
                continue
            output[:] = mixture
            for stem in minus:
                output -= estimates[self.available.index(stem)]
        return outputs

    def _without(self, name: str) -> tuple[str, ...]:
        return tuple(stem for stem in self.available if stem != name)


def plan_stems(available: Sequence[str], choice: StemChoice) -> StemPlan:
    """Check what was asked for against what a separator estimates.

    Parameters
    ----------
    available : sequence of str
        Stems of the separator.
    choice : StemChoice
        What was asked for.

    Returns
    -------
    StemPlan

    Raises
    ------
    UsageError
        If a stem is not there, is named twice, or `stems` and `two_stems` are both given.
    """
    if choice.stems is not None and choice.two_stems is not None:
        raise UsageError("`--stems` and `--two-stems` exclude each other", hint="leave one out")
    if choice.two_stems is not None:
        single = "vocals" if choice.two_stems in _KARAOKE else choice.two_stems
        _check_there(single, available)
        parts = [Part(single, stem=single), Part(f"no_{single}", minus=(single,))]
        written: tuple[str, ...] = tuple(available)  # the two add up to the mixture: nothing is left
    else:
        written = tuple(available) if choice.stems is None else choice.stems
        for stem in written:
            _check_there(stem, available)
        if len(set(written)) != len(written):
            raise UsageError("`--stems` names a stem twice", hint="name each once")
        parts = [Part(stem, stem=stem) for stem in written]
    if choice.residual:
        parts.append(Part(RESIDUAL, minus=written))
    return StemPlan(tuple(available), tuple(parts))


def _check_there(stem: str, available: Sequence[str]) -> None:
    if stem in available:
        return
    nearest = difflib.get_close_matches(stem, available, n=1, cutoff=0.5)
    guess = f"did you mean `{nearest[0]}`? " if nearest else ""
    raise UsageError(f"this model has no stem `{stem}`", hint=f"{guess}it has {', '.join(available)}")
