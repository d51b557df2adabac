import csv
import statistics
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from made_results import made_results
from mss_cli.evaluation.aggregate import score_set
from mss_cli.evaluation.comparison import comparison_table
from mss_cli.evaluation.published import KINDS, chosen_systems, find_published, published_systems
from mss_cli.evaluation.tables import published_table, score_table, spread_table

MEDIANS = Path(__file__).resolve().parents[2].parent / "shared" / "reference" / "sisec2018-pertrack-medians.csv"


def sisec():
    if not MEDIANS.exists():
        pytest.skip("the per-track medians are not here")
    tracks = defaultdict(list)
    with MEDIANS.open() as file:
        for row in csv.DictReader(file):
            for metric in ("SDR", "ISR", "SIR", "SAR"):
                if row[metric] not in ("", "nan"):
                    tracks[row["method"], row["target"], metric].append(float(row[metric]))
    return tracks


def test_the_shipped_medians_of_sisec_are_those_of_its_tracks():
    tracks = sisec()
    shipped = {
        (system.name, stem, metric): value
        for system in published_systems()
        if system.source.startswith("SiSEC 2018")
        for stem, scores in system.scores.items()
        for metric, value in scores.items()
    }
    assert len({name for name, _, _ in shipped}) == 31
    assert set(shipped) == set(tracks)
    for key, values in tracks.items():
        assert shipped[key] == pytest.approx(statistics.median(values), abs=6e-6)
        assert score_set([np.array([value]) for value in values]).value == pytest.approx(shipped[key], abs=6e-6)


@pytest.mark.parametrize(
    ("name", "stem", "metric", "expected"),
    [("TAK2", "vocals", "SDR", 7.159), ("TAU1", "drums", "SDR", 6.961), ("IRM2", "other", "SDR", 7.852),
     ("IBM2", "accompaniment", "SIR", 29.29), ("STL2", "bass", "SAR", 4.64)],
)  # fmt: skip
def test_printed_numbers_of_the_campaign_are_there(name, stem, metric, expected):
    assert find_published(name).score(stem, metric) == pytest.approx(expected, abs=0.0051)


def test_every_system_has_a_known_kind_a_source_and_finite_scores():
    systems = published_systems()
    assert len({system.name.lower() for system in systems}) == len(systems) > 60
    for system in systems:
        assert system.kind in KINDS
        assert len(system.source) > 5
        for scores in system.scores.values():
            assert "SDR" in scores
            assert all(-60 < value < 60 for value in scores.values())


def test_the_oracles_bound_the_systems_of_their_campaign():
    ratio = find_published("IRM2")
    for name in ("TAK2", "UHL3", "STL1"):
        assert find_published(name).score("vocals", "SDR") < ratio.score("vocals", "SDR")


def test_rows_of_other_data_and_other_kinds_are_marked():
    results = made_results({"vocals": [5.0] * 50}, dataset="musdb18", published=50)
    table = published_table(results, chosen_systems("all", results))
    rows = {row[0]: row for row in table.rows}
    assert "IRM1" in rows  # the same data, the same kind: no mark
    assert "SCNet *" in rows
    assert "MDX23C †*" in rows
    assert rows["mine"][1] == "5.00"
    assert any(note.startswith("†") for note in table.notes)
    assert any("SiSEC 2018" in note for note in table.notes)


def test_tables_name_fewer_tracks_than_published_both_scenarios_and_nan_frames():
    results = made_results({"vocals": [5.0, float("nan")]}, dataset="musdb18", published=50)
    table = score_table(results)
    assert table.title == "mine on musdb18 test, 2 of the published 50 tracks"
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert row["scenario"] == "four-stems"
    assert row["NaN frames"] == "3 of 6"
    assert row["SDR"] == "5.00"


def test_previews_are_called_previews():
    assert "7 s previews" in score_table(made_results({"vocals": [1.0]}, dataset="musdb18-7s")).title


def test_a_paired_comparison_finds_a_constant_gain():
    random = np.random.default_rng(0)
    base = random.normal(5, 2, 12)
    one = made_results({"vocals": list(base), "bass": list(base)}, name="one")
    two = made_results({"vocals": list(base - 0.3 - 0.1 * random.random(12)), "bass": list(base)}, name="two")
    table = comparison_table([one, two])
    rows = {row[1]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert rows["vocals"]["pair"] == "one - two"
    assert 0.3 <= float(rows["vocals"]["median SDR difference"]) <= 0.4
    assert rows["vocals"]["p (Wilcoxon)"] == "< 0.001"  # 2 / 2^12
    assert rows["vocals"]["p (Holm)"] == "< 0.001"  # twice that
    assert rows["bass"]["p (Wilcoxon)"] == "1.000"


def test_runs_of_one_name_are_told_apart():
    run = made_results({"vocals": [1.0, 2.0]})
    assert comparison_table([run, run]).rows[0][0] == "mine (1) - mine (2)"


def test_the_spread_over_tracks_is_shown_as_in_the_thesis():
    table = spread_table(made_results({"vocals": [1.0, 3.0, 8.0]}))
    assert table.columns[1:6] == ("mean", "deviation", "minimum", "maximum", "median")
    row = next(row for row in table.rows if row[0] == "vocals SDR")
    assert row[1:7] == ("4.00", "3.61", "1.00", "8.00", "3.00", "3")
