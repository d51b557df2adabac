"""Least scores as a user writes them: `vocals=5.0`, `vocals.sir.mean=10`."""

import difflib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mss_cli.datasets.track import VOCALS
from mss_cli.errors import UsageError
from mss_cli.evaluation.aggregate import Rule
from mss_cli.evaluation.pitch_values import HIGHER_IS_BETTER, PITCH_METRICS
from mss_cli.evaluation.scores import FURTHER_METRICS, METRICS

_FORM: Final = re.compile(r"(?P<stem>[^.=]+)(\.(?P<metric>[^.=]+))?(\.(?P<rule>[^.=]+))?=(?P<least>.+)")
_EXAMPLE: Final = "write it as `vocals=5.0`, `vocals.sir=10` or `vocals.sir.mean=10`"
_FULL: Final = "use `--scores full`"


def _word(metric: str) -> str:
    return metric.lower().replace(" ", "_").replace("-", "_")


# As users write them: sdr, si_sdr, sdr_v3, log_wmse ...
_METRICS: Final[Mapping[str, str]] = {
    _word(metric): metric for metric in (*METRICS, "uSDR", "SI-SDR", *FURTHER_METRICS, *HIGHER_IS_BETTER)
}
# Over the frames of a track, then over tracks. The short words are those of published tables.
_RULES: Final[Mapping[str, tuple[Rule, Rule]]] = {
    "median": (Rule.MEDIAN, Rule.MEDIAN),
    "mean": (Rule.MEDIAN, Rule.MEAN),
    "median_of_medians": (Rule.MEDIAN, Rule.MEDIAN),
    "mean_of_medians": (Rule.MEDIAN, Rule.MEAN),
    "median_of_means": (Rule.MEAN, Rule.MEDIAN),
    "mean_of_means": (Rule.MEAN, Rule.MEAN),
}
_UNITS: Final[Mapping[str, str]] = dict.fromkeys(("log-WMSE", "bleedless", "fullness", *PITCH_METRICS), "")


@dataclass(frozen=True, slots=True)
class Requirement:
    """A least score.

    Attributes
    ----------
    stem, metric : str
    rule : Rule
        Over tracks.
    least : float
        In dB, but for log-WMSE, bleedless, fullness and the shares of `PITCH_METRICS`, which have no unit.
    frames_rule : Rule
        Over the frames of each track.
    """

    stem: str
    metric: str
    rule: Rule
    least: float
    frames_rule: Rule = Rule.MEDIAN

    @property
    def label(self) -> str:
        """For tables."""
        frames = "_of_means" if self.frames_rule is Rule.MEAN else ""
        return f"{self.stem} {self.metric} {self.rule}{frames}"


def unit(metric: str) -> str:
    """Give what stands behind a number of a metric: " dB", or nothing."""
    return _UNITS.get(metric, " dB")


def parse_requirement(text: str) -> Requirement:
    """Read `STEM[.METRIC[.RULE]]=DB`; SDR and the median over tracks if left out.

    Raises
    ------
    UsageError
        If it has another form.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"`--fail-under {text}` has another form", hint=_EXAMPLE)
    metric = _METRICS.get(_word(match["metric"] or "sdr"))
    if metric is None:
        raise UsageError(f"`{match['metric']}` is no metric", hint=f"use one of {', '.join(sorted(_METRICS))}")
    rule = match["rule"] or "median"
    if rule not in _RULES or ("_of_" in rule and metric not in METRICS):
        allowed = _RULES if metric in METRICS else ("median", "mean")
        raise UsageError(f"`{rule}` is no rule for {metric}", hint=f"use one of {', '.join(allowed)}")
    try:
        least = float(match["least"])
    except ValueError:
        least = math.nan
    if not math.isfinite(least):
        raise UsageError(f"`{match['least']}` is no number of dB", hint=_EXAMPLE)
    frames_rule, tracks_rule = _RULES[rule]
    return Requirement(match["stem"].strip(), metric, tracks_rule, least, frames_rule)


def check_metrics(requirements: Sequence[Requirement], metrics: Collection[str], scores: str) -> None:
    """Refuse a requirement of a metric that a run will not make.

    Parameters
    ----------
    requirements : sequence of Requirement
    metrics : collection of str
        That the run makes.
    scores : str
        What was asked for by `--scores`, for the message.

    Raises
    ------
    UsageError
        Naming the first.
    """
    for wanted in requirements:
        if wanted.metric not in (*metrics, *PITCH_METRICS):
            problem = f"`--scores {scores}` does not make {wanted.metric}, which `--fail-under` requires"
            raise UsageError(problem, hint="add `--scores all`" if wanted.metric in FURTHER_METRICS else _FULL)


def check_pitch(requirements: Sequence[Requirement], *, labelled: bool) -> None:
    """Refuse a requirement of a pitch that no track has labels of, or that is not the vocals'.

    Parameters
    ----------
    requirements : sequence of Requirement
    labelled : bool
        Whether a track has labels.

    Raises
    ------
    UsageError
        Naming the first.
    """
    for wanted in requirements:
        if wanted.metric not in PITCH_METRICS:
            continue
        if wanted.stem != VOCALS:
            problem = f"`--fail-under` requires {wanted.metric} of `{wanted.stem}`"
            raise UsageError(problem, hint=f"pitch is scored of `{VOCALS}` only")
        if not labelled:
            problem = f"`--fail-under` requires {wanted.metric}, and no track has labels of pitch"
            raise UsageError(problem, hint="put `f0.csv` beside the true stems")


def check_stems(requirements: Sequence[Requirement], stems: Sequence[str]) -> None:
    """Refuse a requirement of a stem that no track of the data set has; the line names the nearest.

    Raises
    ------
    UsageError
        Naming the first.
    """
    for wanted in requirements:
        if wanted.stem in stems:
            continue
        nearest = difflib.get_close_matches(wanted.stem, stems, n=1, cutoff=0.5)
        hint = f"did you mean `{nearest[0]}`? " if nearest else ""
        problem = f"`--fail-under` names the stem `{wanted.stem}`, which is not scored here"
        raise UsageError(problem, hint=f"{hint}scored are {', '.join(stems) or 'none'}")
