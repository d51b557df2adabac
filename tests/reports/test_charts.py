import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import floats, lists
from scipy.stats import wilcoxon

from mss_cli.reports.charts import (
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
from mss_cli.reports.results import read_results
from report_data import by_sdr, document, seeded, stem_scores, write


@pytest.fixture
def read(tmp_path):
    """Turn documents into what the charts take."""

    def reader(*documents):
        paths = [write(tmp_path / f"{index}.json", results) for index, results in enumerate(documents)]
        return [read_results(path) for path in paths]

    return reader


@pytest.mark.parametrize(
    ("value", "text"),
    [(5.234, "5.23"), (-1.5, "−1.50"), (-0.001, "0.00"), (None, "–"), (float("nan"), "–"), (float("inf"), "–")],
)
def test_scores_are_written_with_two_decimals_or_a_dash(value, text):
    assert decibels(value) == text


def test_differences_carry_their_sign():
    assert [decibels(value, signed=True) for value in (0.5, -0.5, 0.0)] == ["+0.50", "−0.50", "0.00"]


def test_stems_stand_in_their_usual_order(read):
    stems = {stem: stem_scores({"SDR": 1.0}) for stem in ("zither", "accompaniment", "bass", "alto", "vocals")}
    assert stems_of(read(document("a", {"t": stems}))) == ["vocals", "bass", "accompaniment", "alto", "zither"]


def test_metrics_without_a_number_are_left_out(read):
    assert metrics_of(read(document("a", {"t": {"vocals": stem_scores({"SDR": 1.0, "SIR": None})}}))) == ["SDR"]


def test_the_best_system_is_on_top_of_every_panel(read):
    systems = read(seeded("low", gain=-3, seed=1), seeded("high", gain=3, seed=2), seeded("middle", seed=3))
    panels = [panel for _, panels in box_panels(systems) for panel in panels]
    assert len(panels) == 16
    assert {tuple(row.name for row in panel.rows) for panel in panels} == {("high", "middle", "low")}


def test_a_box_is_drawn_where_its_numbers_are(read):
    [(_, [panel])] = box_panels(read(by_sdr("a", [0, 2, 4, 6, 10])))
    [row] = panel.rows
    assert (row.box.low, row.box.lower, row.box.median, row.box.upper, row.box.high) == (0, 2, 4, 6, 10)
    first, last = panel.axis[0], panel.axis[-1]
    assert (first.text, last.text) == ("0", "10")
    assert (first.x, last.x) == (8, WIDTH - 8)
    assert row.median == pytest.approx(8 + 0.4 * (WIDTH - 16))
    corners = [tuple(map(float, point.split(","))) for point in row.outline.split()]
    assert min(x for x, _ in corners) == pytest.approx(8 + 0.2 * (WIDTH - 16))
    assert max(x for x, _ in corners) == pytest.approx(8 + 0.6 * (WIDTH - 16))


def test_tracks_beyond_the_axis_are_counted(read):
    [(_, [panel])] = box_panels(read(by_sdr("a", [-90, -80, 1, 2, 3, 4, 5, 6, 7, 8, 9, 90])))
    assert (panel.rows[0].left, panel.rows[0].right) == (2, 1)
    assert len(panel.rows[0].ticks) == 9


def test_a_system_without_a_score_has_a_row_without_a_box(read):
    [(_, [panel])] = box_panels(read(by_sdr("a", [1, 2]), by_sdr("b", [None, None])))
    assert [(row.name, row.box is None) for row in panel.rows] == [("a", False), ("b", True)]


@given(lists(floats(-200, 200), min_size=1, max_size=12))
def test_boxes_stay_inside_their_drawing(tmp_path_factory, values):
    path = write(tmp_path_factory.mktemp("r") / "r.json", by_sdr("a", values))
    [(_, [panel])] = box_panels([read_results(path)])
    [row] = panel.rows
    for x in (row.low, row.median, row.high, *row.ticks, *(tick.x for tick in panel.axis)):
        assert 0 <= x <= WIDTH
    assert 2 <= len(panel.axis) <= 9


def test_the_heat_map_holds_every_score_and_colours_by_height(read):
    heat = heat_map(read(by_sdr("a", [3.0, 1.0, None]), by_sdr("b", [4.0, 2.0, 5.0])), "SDR")
    assert [name for name, _ in heat.columns] == ["a", "b"]
    rows = {label: [cell.text for cell in cells] for label, cells in heat.rows}
    assert rows == {"track 1": ["3.00", "4.00"], "track 2": ["1.00", "2.00"], "track 3": ["–", "5.00"]}
    assert [label for label, _ in heat.rows] == ["track 2", "track 1", "track 3"]
    levels = [cell.level for _, cells in heat.rows for cell in cells]
    assert levels[0] == 0
    assert levels[-1] == 1
    assert levels[-2] is None
    assert levels[:4] == sorted(levels[:4], key=lambda level: (0.0, 0.25, 0.5, 0.75).index(round(level * 4) / 4))


def test_no_score_gives_no_heat_map(read):
    assert heat_map(read(by_sdr("a", [None])), "SDR") is None


def test_tracks_of_several_subsets_carry_theirs(read):
    systems = read(by_sdr("a", [1], subset="train"), by_sdr("b", [1], subset="test"))
    assert list(track_labels(systems).values()) == ["train/track 1", "test/track 1"]


def test_systems_are_compared_on_the_tracks_that_both_have(read):
    first = by_sdr("a", [5.0, 6.0, 7.5, None, 9.0])
    second = by_sdr("b", [4.0, 5.5, 6.0, 7.0])
    [comparison] = compare(read(first, second), "SDR")
    assert comparison.tracks == 3
    assert comparison.median_difference == 1.0


def test_the_p_value_is_that_of_scipy_times_the_number_of_tests(read):
    systems = read(seeded("a", seed=1), seeded("b", seed=2, gain=0.4))
    found = compare(systems, "SDR")
    raw = {}
    for stem in stems_of(systems):
        scores = [np.array(list(system.medians(stem, "SDR").values())) for system in systems]
        raw[stem] = wilcoxon(scores[0] - scores[1], zero_method="pratt").pvalue
    smallest = min(raw, key=raw.get)
    by_stem = {comparison.stem: comparison.corrected_p_value for comparison in found}
    assert by_stem[smallest] == pytest.approx(min(1.0, 4 * raw[smallest]), abs=1e-12)
    assert all(by_stem[stem] >= raw[stem] for stem in raw)


def test_the_matrix_says_who_is_better_in_words(read):
    systems = read(seeded("weak", seed=1), seeded("strong", seed=2, gain=3))
    [matrix] = matrices(compare(systems, "SDR"), ["weak", "strong"], ["vocals"])
    words = {
        (row, column): cell.word for row, cells in matrix.rows for column, cell in zip(matrix.names, cells, strict=True)
    }
    assert words == {
        ("weak", "weak"): "",
        ("weak", "strong"): "worse",
        ("strong", "weak"): "better",
        ("strong", "strong"): "",
    }


def test_five_tracks_never_show_a_difference(read):
    systems = read(by_sdr("a", [1, 2, 3, 4, 5]), by_sdr("b", [9.1, 9.2, 9.3, 9.4, 9.5]))
    [matrix] = matrices(compare(systems, "SDR"), ["a", "b"], ["vocals"])
    assert matrix.rows[0][1][1].word == "no difference shown"


def test_one_system_has_nothing_to_be_compared_with(read):
    assert compare(read(by_sdr("a", [1, 2])), "SDR") == []
