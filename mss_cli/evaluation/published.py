"""Published scores of other systems, shipped with their sources."""

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from mss_cli.errors import UsageError
from mss_cli.evaluation.results import Results

KINDS: Final[Mapping[str, str]] = {
    "MM": "BSSEval v4, median of 1 s frames, median of tracks",
    "AM": "BSSEval v4, median of 1 s frames, mean of tracks",
    "G": "global SDR (uSDR), mean of tracks",
    "V3": "BSSEval v3, whole track",
    "N": "NSDR: BSSEval v3 SDR above that of the mixture, mean of tracks",
    "P": "BSSEval v4 of one 7 s preview",
}


@dataclass(frozen=True, slots=True)
class PublishedSystem:
    """One row of a published table.

    Attributes
    ----------
    name : str
        Unique; for `--against` in any case.
    kind : str
        One of `KINDS`.
    dataset, subset : str
    tracks : int or None
    scenario : str
        As the source has it.
    extra_data : str
        "no" for training on that data set only, "oracle", "none" for no training, or what was added.
    source : str
    shown : bool
        Whether it stands in the short table.
    scores : mapping of stem to metric to dB
    """

    name: str
    kind: str
    dataset: str
    subset: str
    tracks: int | None
    scenario: str
    extra_data: str
    source: str
    shown: bool
    scores: Mapping[str, Mapping[str, float]]

    def score(self, stem: str, metric: str) -> float:
        """Give one score; NaN if the source has none."""
        return self.scores.get(stem, {}).get(metric, math.nan)


@cache
def published_systems() -> tuple[PublishedSystem, ...]:
    """Read all published systems, in the order of the data file."""
    text = files("mss_cli.evaluation").joinpath("published.json").read_text(encoding="utf-8")
    return tuple(PublishedSystem(**entry) for entry in json.loads(text)["systems"])


def find_published(name: str) -> PublishedSystem:
    """Find a system by its name, in any case.

    Raises
    ------
    UsageError
        If there is none; the line names the nearest.
    """
    systems = {system.name.lower(): system for system in published_systems()}
    found = systems.get(name.lower())
    if found is not None:
        return found
    nearest = difflib.get_close_matches(name.lower(), systems, n=1, cutoff=0.4)
    guess = f"did you mean `{systems[nearest[0]].name}`? " if nearest else ""
    raise UsageError(
        f"`--against {name}` is neither a file nor a published system",
        hint=f"{guess}names are in `mss-cli evaluate --published all`",
    )


def chosen_systems(choice: str, results: Results) -> tuple[PublishedSystem, ...]:
    """Choose the rows of a table: "some" has those on the same data set first, "all" everything, "none" nothing."""
    if choice == "none":
        return ()
    systems = published_systems()
    same = [system for system in systems if system.dataset == results.dataset.name]
    others = [system for system in systems if system.dataset != results.dataset.name]
    ordered = [*same, *others]
    return tuple(ordered if choice == "all" else [system for system in ordered if system.shown])
