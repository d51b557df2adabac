"""Aggregation: known answers, parity with numpy and pandas, the table of SiSEC 2018."""

import csv
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mss_cli.evaluation.aggregate import Kind, Rule, combine, compare_systems, score_set, summarize
from score_peers import METRICS, SHARED

NAN, INF = math.nan, math.inf
TABLE = SHARED / "reference" / "scores.md"
MEDIANS = SHARED / "reference" / "sisec2018-pertrack-medians.csv"
TARGETS = ("vocals", "drums", "bass", "other", "accompaniment")
needs_table = pytest.mark.skipif(
    not (TABLE.exists() and MEDIANS.exists()), reason="the shared SiSEC 2018 medians are not here"
)


def test_median_of_medians_by_hand():
    tracks = [np.array([1.0, NAN, 3.0, 8.0]), np.array([5.0, 7.0]), np.array([NAN, NAN]), np.array([-9.0])]
    score = score_set(tracks)
    assert (score.value, score.tracks, score.scored_tracks) == (3.0, 4, 3)
    assert (score.frames, score.nan_frames) == (9, 3)


@pytest.mark.parametrize(
    ("frames", "tracks", "value"),
    [("median", "mean", 0.0), ("mean", "median", 4.0), ("mean", "mean", 1 / 3)],
)
def test_mean_variants_by_hand(frames, tracks, value):
    data = [np.array([1.0, NAN, 3.0, 8.0]), np.array([5.0, 7.0]), np.array([NAN]), np.array([-9.0])]
    assert score_set(data, frames_rule=Rule(frames), tracks_rule=Rule(tracks)).value == pytest.approx(value)


def test_infinite_frames_do_not_count():
    score = score_set([np.array([INF, 2.0, -INF, 4.0])])
    assert (score.value, score.nan_frames) == (3.0, 2)


def test_nothing_scored_is_nan_without_a_warning():
    assert math.isnan(score_set([np.array([NAN, NAN]), np.array([])]).value)
    assert math.isnan(score_set([]).value)
    assert math.isnan(summarize(np.array([NAN])).median)


@given(arrays.arrays(np.float64, (4, 7), elements=st.one_of(st.floats(-150, 150), st.just(NAN))))
def test_combine_equals_numpy(values):
    values[:, 0], values[0] = 1.0, 2.0
    np.testing.assert_allclose(combine(values, Rule.MEDIAN), np.nanmedian(values, axis=-1), rtol=0, atol=1e-12)
    np.testing.assert_allclose(combine(values, Rule.MEAN), np.nanmean(values, axis=-1), rtol=0, atol=1e-12)
    np.testing.assert_allclose(combine(values, Rule.MEDIAN, axis=0), np.nanmedian(values, axis=0), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("frames", "tracks", "kind"),
    [("median", "median", Kind.MEDIAN_OF_MEDIANS), ("mean", "mean", Kind.MEAN_OF_MEANS)],
)
def test_the_kind_names_both_rules(frames, tracks, kind):
    assert Kind.of_frames(Rule(frames), Rule(tracks)) is kind


def test_summary_by_hand():
    summary = summarize(np.array([4.0, 1.0, NAN, 2.0, 3.0]))
    assert (summary.tracks, summary.mean, summary.median) == (4, 2.5, 2.5)
    assert (summary.minimum, summary.maximum) == (1.0, 4.0)
    assert summary.deviation == pytest.approx(math.sqrt(5 / 3))
    assert (summary.lower_quartile, summary.upper_quartile) == (1.75, 3.25)


def test_one_track_has_no_deviation():
    assert math.isnan(summarize(np.array([4.0])).deviation)


def test_a_clear_difference_is_found_and_a_shuffled_one_is_not():
    random = np.random.default_rng(0)
    base = random.normal(5, 2, size=(40, 2))
    better = base + np.array([0.5, 0.0]) + random.normal(0, 0.2, size=base.shape)
    better[3, 0] = NAN
    rows = compare_systems(np.stack([better, base]), systems=["new", "old"], stems=["vocals", "bass"])
    vocals, bass = rows
    assert (vocals.first, vocals.second, vocals.stem, vocals.tracks, bass.tracks) == ("new", "old", "vocals", 39, 40)
    assert vocals.low < vocals.median_difference < vocals.high
    assert vocals.low > 0.3
    assert vocals.corrected_p_value < 1e-5
    assert vocals.corrected_p_value == pytest.approx(2 * vocals.p_value)
    assert bass.corrected_p_value > 0.05


def test_names_must_fit_the_axes():
    with pytest.raises(ValueError, match="expected"):
        compare_systems(np.zeros((2, 5, 1)), systems=["a", "b"], stems=["vocals", "bass"])


def medians():
    with MEDIANS.open(newline="") as file:
        return list(csv.DictReader(file))


def set_median(rows, method, target, metric):
    values = [float(r[metric]) for r in rows if r["method"] == method and r["target"] == target]
    return score_set([np.array([v]) for v in values])


def printed_tables():
    """Rows of the two tables of section 1.1: method, target, metric, text of the value."""
    section = TABLE.read_text().split("### 1.1")[1].split("### 1.2")[0]
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not re.fullmatch(r"[A-Z0-9]+", cells[0]):
            continue
        names, values = (METRICS[1:], cells[1:]) if "/" in line else (METRICS[:1], cells[2:])
        for target, cell in zip(TARGETS, values, strict=True):
            if cell != "-":
                yield from ((cells[0], target, m, v) for m, v in zip(names, cell.split(" / "), strict=True))


@needs_table
def test_the_table_of_sisec_2018_comes_out_at_its_two_decimals():
    rows, printed = medians(), list(printed_tables())
    assert len({method for method, *_ in printed}) == 31
    assert len(printed) > 300
    wrong = [
        (method, target, metric, text, value)
        for method, target, metric, text in printed
        if f"{(value := set_median(rows, method, target, metric).value):.2f}" != text
    ]
    assert wrong == []


@needs_table
@pytest.mark.parametrize(
    ("method", "target", "value"), [("TAK2", "vocals", 7.159), ("TAU1", "drums", 6.961), ("IRM2", "other", 7.852)]
)
def test_three_medians_of_sisec_2018_come_out_at_three_decimals(method, target, value):
    score = set_median(medians(), method, target, "SDR")
    assert round(score.value, 3) == value
    assert score.tracks == 50


@needs_table
@pytest.mark.parametrize("rule", ["median", "mean"])
def test_equals_pandas_on_all_of_sisec_2018(rule):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(MEDIANS)
    grouped = getattr(frame.groupby(["method", "target"])[list(METRICS)], rule)()
    for (method, target), row in grouped.iterrows():
        part = frame[(frame.method == method) & (frame.target == target)]
        for metric in METRICS:
            actual = score_set([np.array([v]) for v in part[metric]], tracks_rule=Rule(rule)).value
            assert actual == pytest.approx(row[metric], abs=1e-12)
