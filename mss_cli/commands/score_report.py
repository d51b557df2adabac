"""The report of `evaluate --report`: chooses what can be listened to and hands everything to the page."""

import math
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mss_cli.audio.encode import encode
from mss_cli.audio.formats import OutputFormat
from mss_cli.datasets.folders import audio_files
from mss_cli.datasets.track import MIXTURE, Signal, Track
from mss_cli.evaluation.comparison import told_apart
from mss_cli.evaluation.results import Results, SystemInfo
from mss_cli.evaluation.results import read_results as read_scores
from mss_cli.evaluation.saved_estimates import saved_by
from mss_cli.evaluation.scores import TrackScores
from mss_cli.reports.excerpts import Excerpt
from mss_cli.reports.page import write_report
from mss_cli.reports.results import read_results

Block = NDArray[np.float32]

_SECONDS = 8
_REFERENCE = "reference"


@dataclass(frozen=True, slots=True)
class _Heard:
    """A run whose estimates can be listened to: its name in the report, its folder of stems, and its system."""

    name: str
    folder: Path
    system: SystemInfo

    def files(self, track: Track) -> dict[str, Path]:
        """Give the stems of a track by name; none if another system saved them there."""
        folder = self.folder / track.subset / track.name
        saved = saved_by(folder)
        return audio_files(folder) if saved is None or saved == self.system else {}


def write(
    target: Path,
    *,
    results: Results,
    tracks: Sequence[Track],
    runs: Sequence[tuple[Path, Path | None]],
) -> Path:
    """Write the page of one or more runs over the same data.

    Three tracks can be heard: the best, the middle and the worst of the first run, 8 s each where most frames are
    scored.

    Parameters
    ----------
    target : Path
        Folder of the page.
    results : Results
        Of the first run.
    tracks : sequence of Track
        Of its data set.
    runs : sequence of (Path, Path or None)
        Each run's `results.json`, and the folder of its estimates.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    MssError
        If a file cannot be read or the page not be written.
    """
    read = [read_results(path) for path, _ in runs]
    names = told_apart([system.name for system in read])
    systems = [replace(system, name=name) for system, name in zip(read, names, strict=True)]
    heard = [
        _Heard(system.name, folder, read_scores(path).system)
        for system, (path, folder) in zip(systems, runs, strict=True)
        if folder is not None
    ]
    known = {(track.subset, track.name): track for track in tracks}
    with tempfile.TemporaryDirectory(prefix="mss-cli-report-") as scratch:
        excerpts = []
        for number, scores in enumerate(_chosen(results)):
            track = known.get((scores.subset, scores.name))
            if track is not None:
                excerpts += _excerpts(track, scores, heard, Path(scratch) / str(number))
        return write_report(target, systems, excerpts)


def _chosen(results: Results) -> list[TrackScores]:
    """Give the best, the middle and the worst track by the mean SDR of their stems."""
    ranked = sorted((track for track in results.tracks if math.isfinite(_mean(track))), key=_mean, reverse=True)
    places = sorted({0, len(ranked) // 2, len(ranked) - 1}) if ranked else []
    return [ranked[place] for place in places]


def _mean(track: TrackScores) -> float:
    medians = [stem.median("SDR") for stem in track.stems if stem.frames]
    finite = [value for value in medians if math.isfinite(value)]
    return statistics.fmean(finite) if finite else math.nan


def _excerpts(track: Track, scores: TrackScores, heard: Sequence[_Heard], scratch: Path) -> list[Excerpt]:
    start = _start(scores)
    scratch.mkdir(parents=True)
    end = start + _SECONDS
    mixture = _written(track.mixture, scratch / f"{MIXTURE}.wav", end)
    found = []
    for stem, signal in track.references:
        made = {run.name: run.files(track) for run in heard}
        versions = {MIXTURE: mixture, _REFERENCE: _written(signal, scratch / f"{stem}.wav", end)}
        versions |= {name: files[stem] for name, files in made.items() if stem in files}
        found.append(Excerpt(track.name, stem, float(start), float(_SECONDS), versions))
    return found


def _start(scores: TrackScores) -> int:
    """Give the second from which on most frames of all stems are scored; of equals the one nearest to the middle."""
    columns = [stem.frames[0].values for stem in scores.stems if stem.frames]
    count = min((len(column) for column in columns), default=0)
    scored = [sum(math.isfinite(column[second]) for column in columns) for second in range(count)]
    starts = range(max(1, count - _SECONDS + 1))
    return max(starts, key=lambda start: (sum(scored[start : start + _SECONDS]), -abs(start - len(starts) / 2)))


def _written(signal: Signal, path: Path, seconds: int) -> Path:
    """Write the beginning of a signal as wav, as the page takes files only."""
    rate, channels = signal.form()
    blocks = list(_until(signal.blocks(), seconds * rate))
    samples = sum(block.shape[1] for block in blocks)
    form = OutputFormat("wav", "float32")
    encode(blocks, path, format=form, sample_rate=rate, channels=channels, samples=samples)
    return path


def _until(blocks: Iterator[Block], samples: int) -> Iterator[Block]:
    for block in blocks:
        yield block[:, :samples]
        samples -= block.shape[1]
        if samples <= 0:
            return
