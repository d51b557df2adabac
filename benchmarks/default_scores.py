"""Scores a model on eval-v1 and the excerpt of `make demo`, beside floors, masks, the classical separator, an oracle.

    python benchmarks/default_scores.py [--model NAME_OR_PATH] [--precision fp32] [--picture FILE.png] [--json FILE]

Prints Markdown. uSDR over the whole song and BSSEval v4 SDR (median of frames of 1 s), both as means over the songs
that have the stem; the last column is the mean over the stems. Real songs come first. Then: stems below the floor (the
best of mixture, mixture times the best gain, and silence), stems on which `classical` is better, the level of stems
that a song does not have, and bleed. Rows that the model does not change are kept in ``--cache``. Nothing here is for
tuning.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mss_cli.devices import prepare_process

prepare_process(threads=1)

import numpy as np

from default_measures import absent_levels, band_centres, band_levels, bleed, scores
from default_songs import CONSTRUCTED, EXCERPT, REAL, VALIDATION, Song, judged_songs
from default_systems import FIXED, GAIN, MIXTURE, SILENCE, Estimates, model
from mss_cli.datasets.player.pack import STEMS
from mss_cli.separation.api import Model
from mss_cli.weights.manifest import DEFAULT

Pair = tuple[float, float]
_ROOT = Path(__file__).resolve().parents[1]
_GROUPS = (REAL, CONSTRUCTED, EXCERPT, VALIDATION)
_FLOORS = (MIXTURE, GAIN, SILENCE)
_CLASSICAL = "classical"
# To be raised when a fixed row is computed in another way.
_VERSION = 1


@dataclass(slots=True)
class Sheet:
    """Scores of systems on songs: system, song, stem -> uSDR and SDR.

    Attributes
    ----------
    groups : dict of str to str
        Song to group.
    rows : dict
    """

    groups: dict[str, str] = field(default_factory=dict)
    rows: dict[str, dict[str, dict[str, Pair]]] = field(default_factory=dict)

    def mean(self, system: str, group: str, stem: str, metric: int = 0) -> float:
        """Mean over the songs of a group that have the stem; NaN if none has."""
        songs = self.rows.get(system, {})
        values = [row[stem][metric] for name, row in songs.items() if self.groups[name] == group and stem in row]
        return float(np.mean(values)) if values else float("nan")

    def overall(self, system: str, group: str, metric: int = 0) -> float:
        """Mean over the stems of their means."""
        return float(np.mean([self.mean(system, group, stem, metric) for stem in STEMS]))

    def floor(self, song: str, stem: str) -> tuple[float, str]:
        """Best uSDR of the floors, and its name."""
        return max((self.rows[system][song][stem][0], system) for system in _FLOORS)


def fixed_rows(songs: Sequence[Song], cache: Path) -> dict[str, dict[str, dict[str, Pair]]]:
    """Score everything but the model, or read what was scored before."""
    path = cache / f"fixed-{_VERSION}.json"
    known: dict[str, dict[str, dict[str, Pair]]] = json.loads(path.read_text()) if path.exists() else {}
    classical = Model(_CLASSICAL, device="cpu", threads=1)
    systems: Mapping[str, Callable[[Song], Estimates]] = {**FIXED, _CLASSICAL: model(classical)}
    for name, separate in systems.items():
        row = known.setdefault(name, {})
        for song in songs:
            if song.name not in row:
                row[song.name] = scores(song, separate(song))
    cache.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=1) + "\n")
    return {name: {song.name: known[name][song.name] for song in songs} for name in systems}


@dataclass(frozen=True, slots=True)
class Judged:
    """A model on the songs.

    Attributes
    ----------
    sheet : Sheet
        With the row `name`.
    absent : dict of (song, stem) to dB
    bleeds : dict of (song, estimate, stem) to dB
    spectra : dict of (group, stem) to list of (true, estimated) levels
    """

    name: str
    sheet: Sheet
    absent: dict[tuple[str, str], float]
    bleeds: dict[tuple[str, str, str], float]
    spectra: dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray]]]


def judge(loaded: Model, songs: Sequence[Song], cache: Path | None) -> Judged:
    """Separate every song once and measure everything; without a cache, no other systems."""
    name = loaded.engine.card.name
    sheet = Sheet({song.name: song.group for song in songs}, {} if cache is None else fixed_rows(songs, cache))
    judged = Judged(name, sheet, {}, {}, {})
    separate = model(loaded)
    row = sheet.rows.setdefault(name, {})
    for song in songs:
        estimates = separate(song)
        row[song.name] = scores(song, estimates)
        judged.absent.update({(song.name, stem): level for stem, level in absent_levels(song, estimates).items()})
        judged.bleeds.update({(song.name, *pair): level for pair, level in bleed(song, estimates).items()})
        for stem, reference in song.references.items():
            pair = band_levels(reference), band_levels(estimates[stem])
            judged.spectra.setdefault((song.group, stem), []).append(pair)
    return judged


def means(judged: Judged) -> dict[str, float]:
    """Give the uSDR of the model by group and stem, for a card."""
    found = {}
    for group in (REAL, CONSTRUCTED, EXCERPT):
        for stem in STEMS:
            value = judged.sheet.mean(judged.name, group, stem)
            if np.isfinite(value):
                found[f"{group} {stem}"] = round(value, 2)
    return found


def report(judged: Judged) -> str:
    """Write all tables."""
    sheet = judged.sheet
    present = [group for group in _GROUPS if group in sheet.groups.values()]
    parts = []
    for metric, title in enumerate(("uSDR", "BSSEval v4 SDR")):
        parts.append(f"{title}, dB, means over the songs that have the stem")
        parts.append("\n".join(_table(sheet, judged.name, present, metric)))
    parts.append("uSDR of every song (in brackets how far above the floor), dB")
    parts.append("\n".join(_songs(judged)))
    parts.append(_lists(judged))
    parts.append("\n\n".join(_bleed(judged, group) for group in present))
    return "\n\n".join(parts)


def _table(sheet: Sheet, ours: str, groups: Sequence[str], metric: int) -> list[str]:
    lines = [f"| songs | system | {' | '.join(STEMS)} | mean |", "|---" * (len(STEMS) + 3) + "|"]
    order = [ours, *(name for name in sheet.rows if name != ours)]
    for group in groups:
        count = sum(1 for kind in sheet.groups.values() if kind == group)
        for system in order:
            if metric and system == SILENCE:
                continue  # no frame of silence has an SDR
            name = f"**{system}**" if system == ours else system
            cells = [_cell(sheet.mean(system, group, stem, metric)) for stem in STEMS]
            lines.append(
                f"| {group} ({count}) | {name} | {' | '.join(cells)} | {_cell(sheet.overall(system, group, metric))} |"
            )
    return lines


def _songs(judged: Judged) -> list[str]:
    sheet = judged.sheet
    lines = [f"| song | group | {' | '.join(STEMS)} |", "|---" * (len(STEMS) + 2) + "|"]
    for song, row in sheet.rows[judged.name].items():
        cells = []
        for stem in STEMS:
            if stem in row:
                cells.append(f"{row[stem][0]:.2f} ({row[stem][0] - sheet.floor(song, stem)[0]:+.2f})")
            else:
                cells.append(f"absent: {judged.absent[song, stem]:.1f} dB of the mixture")
        lines.append(f"| {song} | {sheet.groups[song]} | {' | '.join(cells)} |")
    return lines


def _lists(judged: Judged) -> str:
    sheet, below, worse = judged.sheet, [], []
    for song, row in sheet.rows[judged.name].items():
        for stem, (score, _) in row.items():
            floor, system = sheet.floor(song, stem)
            if score <= floor:
                below.append(f"{song} {stem}: {score:.2f}, {system} {floor:.2f}")
            other = sheet.rows[_CLASSICAL][song][stem][0]
            if score < other:
                worse.append(f"{song} {stem}: {score:.2f}, classical {other:.2f}")
    texts = []
    for title, found in (("Not above the floor", below), ("Worse than `classical`", worse)):
        texts.append(f"{title}: none." if not found else f"{title}:\n\n- " + "\n- ".join(found))
    return "\n\n".join(texts)


def _bleed(judged: Judged, group: str) -> str:
    """How much of each true stem the estimates hold, mean of dB over songs."""
    lines = [f"Bleed, {group} songs: part of a true stem (column) in an estimate (row), dB against the true stem\n"]
    lines += [f"| estimate | {' | '.join(STEMS)} |", "|---" * (len(STEMS) + 1) + "|"]
    for estimate in STEMS:
        cells = []
        for stem in STEMS:
            found = [
                level
                for (song, made, true), level in judged.bleeds.items()
                if (made, true) == (estimate, stem) and judged.sheet.groups[song] == group
            ]
            cells.append(_cell(float(np.mean(found)) if found else float("nan"), digits=1))
        lines.append(f"| {estimate} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "-"


def draw(judged: Judged, path: Path) -> None:
    """Draw mean spectra of true and estimated stems, one row per group."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    groups = [group for group in _GROUPS if any(key[0] == group for key in judged.spectra)]
    figure, axes = plt.subplots(len(groups), len(STEMS), figsize=(14, 3 * len(groups)), squeeze=False, sharex=True)
    for row, group in zip(axes, groups, strict=True):
        for panel, stem in zip(row, STEMS, strict=True):
            pairs = judged.spectra.get((group, stem), [])
            panel.set_title(f"{stem}, {group} ({len(pairs)})", fontsize=9)
            if pairs:
                true, made = (np.mean([pair[side] for pair in pairs], axis=0) for side in (0, 1))
                panel.semilogx(band_centres(), true, label="true", color="black")
                panel.semilogx(band_centres(), made, label="estimated", color="tab:red")
                panel.legend(fontsize=7)
            panel.grid(alpha=0.3)
    for panel in axes[-1]:
        panel.set_xlabel("Hz")
    for panel in axes[:, 0]:
        panel.set_ylabel("dB per third of an octave")
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--cache", type=Path, default=_ROOT / "runs" / "default-scores")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--json", type=Path, help="write the means here too")
    arguments = parser.parse_args()
    songs = list(judged_songs())
    if not songs:
        raise SystemExit("error: neither eval-v1 nor the package stempeg is there")
    loaded = Model(arguments.model, device="cpu", precision=arguments.precision, threads=1)
    judged = judge(loaded, songs, arguments.cache)
    print(report(judged))
    if arguments.picture:
        draw(judged, arguments.picture)
    if arguments.json:
        arguments.json.write_text(json.dumps(means(judged), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
