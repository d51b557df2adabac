"""Scores and excerpts to one HTML file that holds all it shows: nothing in it comes from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np

from mss_cli.errors import UsageError
from mss_cli.evaluation.significance import bootstrap_interval
from mss_cli.files import make_folder, output_error, publish, temporary_name
from mss_cli.reports.charts import (
    DASH,
    SIGNIFICANT,
    WIDTH,
    box_panels,
    compare,
    decibels,
    heat_map,
    matrices,
    metrics_of,
    stems_of,
    track_labels,
)
from mss_cli.reports.excerpts import LOWEST_HZ, RANGE_DB, Excerpt, prepare
from mss_cli.reports.results import Metric, SystemResults

_TEMPLATES: Final = files("mss_cli.reports") / "templates"
_FEWEST_TO_TEST: Final = 6  # of 5 tracks the smallest two-sided p is 2 / 2 ** 5, above 0.05


@dataclass(frozen=True, slots=True)
class Fact:
    """A line about the runs: one value, or one per system where they differ."""

    name: str
    values: tuple[tuple[str, str], ...]

    @property
    def shared(self) -> str | None:
        """The value that all systems share; None if they differ."""
        texts = {value for _, value in self.values}
        return texts.pop() if len(texts) == 1 else None


@dataclass(frozen=True, slots=True)
class Middle:
    """A system's median over tracks on one stem, with its interval and what it counts."""

    median: str
    interval: str
    counts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the table of scores."""

    track: str
    system: str
    stem: str
    scenario: str
    scores: tuple[tuple[str, float | None], ...]
    nan_frames: int
    counts: str


def check_reportable() -> None:
    """Refuse `--report` before any work where what it needs is not installed.

    Raises
    ------
    UsageError
        Naming the extra to install.
    """
    if find_spec("jinja2") is None:
        raise UsageError("`--report` needs jinja2", hint="install it with `pip install 'mss-cli[evaluate]'`")


def write_report(target: Path, systems: Sequence[SystemResults], excerpts: Sequence[Excerpt]) -> Path:
    """Write the report page of one or more systems.

    The same input gives the same bytes. The file appears whole, by a rename, or not at all.

    Parameters
    ----------
    target : Path
        Folder, made if it is not there; the page is its ``index.html``.
    systems : sequence of SystemResults
        At least one, of different names; from `mss_cli.reports.results.read_results`.
    excerpts : sequence of Excerpt
        What can be listened to; may be empty.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    UsageError
        If there is no system, two share a name, or jinja2 is not installed.
    InputError
        If an excerpt cannot be read.
    OutputError
        If the page cannot be written.
    """
    check_reportable()
    names = [system.name for system in systems]
    if not names:
        raise UsageError("a report needs the results of at least one system")
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two systems are named `{name}`", hint="name them apart")
    # Names may hold lone surrogates (file names that are not UTF-8), which no encoding writes.
    content = _render(systems, excerpts).encode("utf-8", "replace")
    make_folder(target)
    page = target / "index.html"
    temporary = temporary_name(page)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        publish({temporary: page})
    except OSError as error:
        raise output_error(page, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    return page


def _render(systems: Sequence[SystemResults], excerpts: Sequence[Excerpt]) -> str:
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, loader=FunctionLoader(_text), trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["decibels"] = decibels
    script = "\n" + _text("table.js") + _text("player.js")
    metrics = metrics_of(systems)
    lead: Metric = metrics[0] if metrics else "SDR"
    stems = stems_of(systems)
    comparisons = compare(systems, lead)
    scenarios = {stem: _scenarios(systems, stem) for stem in stems}
    return environment.get_template("page.html").render(
        style=Markup("\n" + _text("page.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        title=_title(systems),
        facts=_facts(systems),
        notes=_notes(systems),
        systems=systems,
        stems=stems,
        lead=lead,
        middles=[(system, [_middle(system, stem, lead) for stem in stems]) for system in systems],
        panels=box_panels(systems),
        width=WIDTH,
        heat=heat_map(systems, lead),
        matrices=matrices(comparisons, [system.name for system in systems], stems),
        comparisons=len(comparisons),
        level=SIGNIFICANT,
        score_names=[*metrics, "uSDR", "SI-SDR"],
        entries=_entries(systems),
        scenarios=scenarios,
        all_scenarios=_by_scenario(scenarios),
        one_metric=len(metrics) == 1,
        excerpts=[prepare(excerpt) for excerpt in excerpts],
        lowest_hz=LOWEST_HZ,
        range_db=RANGE_DB,
        clock=clock,
        dash=DASH,
    )


def _text(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def clock(seconds: float) -> str:
    """Give a time as minutes and seconds."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    text = f"{minutes}:{rest // 10:02d}"
    return f"{text}.{rest % 10}" if rest % 10 else text


def _title(systems: Sequence[SystemResults]) -> str:
    return " and ".join(dict.fromkeys(_dataset(system) for system in systems))


def _dataset(system: SystemResults) -> str:
    return f"{system.dataset}, {system.subset}" if system.subset else system.dataset


def _tracks(system: SystemResults) -> str:
    if system.published_tracks is None:
        return str(len(system.tracks))
    return f"{len(system.tracks)} of the {system.published_tracks} that published scores are over"


def _scenario(system: SystemResults) -> str:
    """Name the scenario that all stems of a system were scored in, or each one with its stems."""
    return _by_scenario({stem: system.scenario_of(stem) for stem in stems_of([system])}) or system.scenario


def _by_scenario(scenarios: Mapping[str, str]) -> str:
    """Name the one scenario of all stems, or each one with its stems."""
    stems: dict[str, list[str]] = {}
    for stem, scenario in scenarios.items():
        stems.setdefault(scenario, []).append(stem)
    if len(stems) < 2:
        return next(iter(stems), "")
    return "; ".join(f"{scenario}: {', '.join(names)}" for scenario, names in stems.items())


def _scenarios(systems: Sequence[SystemResults], stem: str) -> str:
    having = [system for system in systems if any(stem in track.stems for track in system.tracks)]
    return ", ".join(sorted({system.scenario_of(stem) for system in having}))


def _facts(systems: Sequence[SystemResults]) -> list[Fact]:
    """Give what a reader must know before comparing numbers."""
    kinds: tuple[tuple[str, Callable[[SystemResults], str]], ...] = (
        ("Data set", _dataset),
        ("Tracks", _tracks),
        ("Scenario", _scenario),
        ("Score kind", lambda system: system.score_kind),
        ("Decoder", lambda system: system.decoder),
    )
    return [Fact(name, tuple((system.name, of(system)) for system in systems)) for name, of in kinds]


def _notes(systems: Sequence[SystemResults]) -> list[str]:
    """Give what stands against comparing these numbers with published ones, or with one another."""
    notes = [
        f"{name} differs between the systems: their numbers cannot be compared as they stand."
        for name, values in (
            ("The data set", {(system.dataset, system.subset) for system in systems}),
            ("The scenario", {_scenario(system) for system in systems}),
            ("The kind of score", {system.score_kind for system in systems}),
            ("The decoder", {system.decoder for system in systems}),
        )
        if len(values) > 1
    ]
    if any(s.published_tracks is not None and len(s.tracks) < s.published_tracks for s in systems):
        notes.append("Fewer tracks than the published scores are over: do not set these numbers beside published ones.")
    keys = [{track.key for track in system.tracks} for system in systems]
    shared = set.intersection(*keys)
    if any(tracks != shared for tracks in keys):
        notes.append(f"The systems share {len(shared)} tracks: medians and boxes are over each system's own tracks.")
    if len(systems) > 1 and len(shared) < _FEWEST_TO_TEST:
        notes.append(f"The systems share {len(shared)} tracks: too few for any difference to be significant.")
    return notes


def _middle(system: SystemResults, stem: str, metric: Metric) -> Middle:
    values = np.array(list(system.medians(stem, metric).values()), np.float64)
    scores = [track.stems[stem] for track in system.tracks if stem in track.stems]
    nan, frames = sum(each.nan_frames for each in scores), sum(each.frames for each in scores)
    counts = (f"{len(values)} tracks", f"{nan} of {frames} frames NaN")
    if not len(values):
        return Middle(DASH, "", counts)
    interval = bootstrap_interval(values)
    return Middle(decibels(float(np.median(values))), f"{decibels(interval.low)} to {decibels(interval.high)}", counts)


def _entries(systems: Sequence[SystemResults]) -> list[Entry]:
    """Give a row per track, system and stem; tracks in the order they first appear."""
    by_key = [({track.key: track for track in system.tracks}, system) for system in systems]
    metrics = metrics_of(systems)
    entries: list[Entry] = []
    for key, label in track_labels(systems).items():
        for tracks, system in by_key:
            for stem in stems_of(systems):
                if key not in tracks or stem not in tracks[key].stems:
                    continue
                scores = tracks[key].stems[stem]
                values = [(str(metric), scores.median.get(metric)) for metric in metrics]
                values += [("uSDR", scores.usdr), ("SI-SDR", scores.si_sdr)]
                scenario = scores.scenario or system.scenario
                counts = scores.reason or f"{scores.nan_frames} of {scores.frames}"
                entries.append(Entry(label, system.name, stem, scenario, tuple(values), scores.nan_frames, counts))
    return entries
