"""The pitch step of a separation: the vocals of a track to its pitch files."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mss_cli.pitch.f0_file import save_f0
from mss_cli.pitch.hearing import hear
from mss_cli.pitch.midi import save_midi
from mss_cli.pitch.notes import find_notes
from mss_cli.pitch.picture import save_picture
from mss_cli.pitch.teachers import Teacher

Block = NDArray[np.float32]

STEM = "vocals"


@dataclass(frozen=True, slots=True)
class PitchFiles:
    """Names of a track's pitch files.

    Parameters
    ----------
    f0, midi, picture : Path
        See `mss_cli.pitch.f0_file`, `mss_cli.pitch.midi`, `mss_cli.pitch.picture`.
    """

    f0: Path
    midi: Path
    picture: Path

    @classmethod
    def beside(cls, stem: Path, extension: str) -> "PitchFiles":
        """Name them after a stem's file, whose extension they replace."""
        base = stem.name.removesuffix(f".{extension}")
        return cls(*(stem.with_name(base + suffix) for suffix in (".f0.csv", ".mid", ".salience.png")))

    @property
    def names(self) -> tuple[Path, ...]:
        """All of them."""
        return tuple(self.kinds.values())

    @property
    def kinds(self) -> dict[str, Path]:
        """Their names by what they are, as events tell it."""
        return {"f0": self.f0, "midi": self.midi, "salience": self.picture}


@dataclass(frozen=True, slots=True)
class PitchStep:
    """What is to be done for the pitch of one track.

    Parameters
    ----------
    teacher : Teacher
        Tells the salience.
    files : PitchFiles
        Final names.
    hears_mixture : bool
        Whether the teacher is the separator itself, which takes the mixture.
    """

    teacher: Teacher
    files: PitchFiles
    hears_mixture: bool = False

    def write(
        self, blocks: Callable[[], Iterator[Block]], temporary: PitchFiles, *, sample_rate: int, title: str
    ) -> None:
        """Estimate the pitch and write the three files under temporary names.

        Parameters
        ----------
        blocks : callable
            Gives the vocals (or the mixture, see `hears_mixture`) from their start, (channel, sample).
        temporary : PitchFiles
            The names to write.
        sample_rate : int, Hz
            Of the blocks.
        title : str
            Of the picture.

        Raises
        ------
        OutputError
            If one cannot be written.
        """
        estimate = hear(self.teacher, blocks, sample_rate=sample_rate)
        save_f0(estimate, temporary.f0)
        save_midi(find_notes(estimate), temporary.midi)
        save_picture(estimate, temporary.picture, title=title)
