import math
from dataclasses import replace

import pytest

from made_results import made_results
from mss_cli.errors import InputError, UsageError
from mss_cli.evaluation.aggregate import Rule
from mss_cli.evaluation.gates import check_against, check_requirements, find_expectation, parse_requirement
from mss_cli.evaluation.published import find_published
from mss_cli.evaluation.results import write_results


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vocals=5.0", ("vocals", "SDR", Rule.MEDIAN, 5.0)),
        ("vocals.sir=-3", ("vocals", "SIR", Rule.MEDIAN, -3.0)),
        ("vocals.sir.mean=1e1", ("vocals", "SIR", Rule.MEAN, 10.0)),
        ("bass.si_sdr.mean=0.5", ("bass", "SI-SDR", Rule.MEAN, 0.5)),
    ],
)
def test_requirements_are_read(text, expected):
    wanted = parse_requirement(text)
    assert (wanted.stem, wanted.metric, wanted.rule, wanted.least) == expected


@pytest.mark.parametrize(
    "text", ["vocals", "=5", "vocals=", "vocals=high", "vocals=nan", "vocals.pesq=1", "vocals.sdr.max=1", "a.b.c.d=1"]
)
def test_other_forms_are_refused(text):
    with pytest.raises(UsageError):
        parse_requirement(text)


def test_a_score_below_is_missed_and_one_that_is_missing_too():
    results = made_results({"vocals": [4.0, 5.0, 9.0]})
    wanted = [parse_requirement(t) for t in ("vocals=5.0", "vocals=5.01", "vocals.sdr.mean=6", "drums=-90")]
    verdict = check_requirements(results, wanted)
    assert [row[-1] for row in verdict.table.rows] == ["passed", "MISSED", "passed", "MISSED"]
    assert verdict.misses == (
        "vocals SDR median: 5.00 dB, at least 5.01 dB required",
        "drums SDR median: no score, at least -90.00 dB required",
    )


@pytest.mark.parametrize(("drop", "fails"), [(0.0, False), (0.04, False), (0.05, False), (0.1, True), (-1.0, False)])
def test_a_drop_beyond_the_tolerance_fails(drop, fails):
    before = made_results({"vocals": [5.0, 6.0, 7.0]})
    after = made_results({"vocals": [5.0 - drop, 6.0 - drop, 7.0 - drop]})
    assert bool(check_against(after, before, tolerance_db=0.05).misses) == fails


def test_the_table_says_what_moved():
    before = made_results({"vocals": [6.0], "drums": [4.0], "bass": [3.0]})
    after = made_results({"vocals": [5.9], "drums": [4.01], "bass": [3.5]})
    rows = {row[0]: row[3:] for row in check_against(after, before, tolerance_db=0.05).table.rows}
    assert rows == {"vocals SDR": ("-0.10", "FELL"), "drums SDR": ("+0.01", "same"), "bass SDR": ("+0.50", "rose")}


def test_a_stem_that_has_gone_is_a_fall():
    verdict = check_against(
        made_results({"bass": [3.0]}), made_results({"vocals": [6.0], "bass": [3.0]}), tolerance_db=1
    )
    assert verdict.misses == ("vocals SDR: no score, 5.00 dB needed to match mine (earlier run)",)


def test_runs_over_other_tracks_are_compared_where_they_meet():
    before = made_results({"vocals": [1.0, 100.0]}, tracks=["a", "b"])
    after = made_results({"vocals": [1.0, 2.0]}, tracks=["a", "c"])
    verdict = check_against(after, before, tolerance_db=0.05)
    assert not verdict.misses
    assert any("1 common tracks of 2 here and 2 there" in note for note in verdict.table.notes)
    with pytest.raises(UsageError, match="no track in common"):
        check_against(after, made_results({"vocals": [1.0]}, tracks=["z"]), tolerance_db=0.05)


def test_a_published_system_can_be_expected_and_other_data_are_marked():
    verdict = check_against(made_results({"vocals": [9.0]}), find_published("irm1"), tolerance_db=0.05)
    rows = {row[0]: row[-1] for row in verdict.table.rows}
    assert rows["vocals SDR"] == "rose"
    assert rows["drums SDR"] == "FELL"
    assert any("other data: musdb18 test, 50 tracks there" in note for note in verdict.table.notes)


def test_two_kinds_of_score_are_never_subtracted(tmp_path):
    with pytest.raises(UsageError, match="two kinds of score are never subtracted"):
        find_expectation("MDX23C")
    path = write_results(replace(made_results({"vocals": [1.0]}), score_kind="bsseval_v3"), tmp_path)
    with pytest.raises(UsageError, match="another kind"):
        find_expectation(str(path))


def test_what_is_neither_file_nor_system_is_refused():
    with pytest.raises(UsageError, match="did you mean `IRM1`"):
        find_expectation("irm1x")
    with pytest.raises(InputError, match=r"gone\.json: cannot be read"):
        find_expectation("gone.json")


def test_nothing_scored_is_no_pass():
    assert check_against(made_results({"vocals": [math.nan]}), made_results({"vocals": [1.0]}), tolerance_db=9).misses
