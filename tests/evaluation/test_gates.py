import math
from dataclasses import replace

import pytest

from made_results import made_results
from mss_cli.errors import InputError, UsageError
from mss_cli.evaluation.aggregate import Rule
from mss_cli.evaluation.gates import check_against, check_comparable, check_requirements, find_expectation
from mss_cli.evaluation.published import find_published
from mss_cli.evaluation.requirements import check_metrics, check_stems, parse_requirement
from mss_cli.evaluation.results import write_results


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vocals=5.0", ("vocals", "SDR", Rule.MEDIAN, Rule.MEDIAN, 5.0)),
        ("vocals.sir=-3", ("vocals", "SIR", Rule.MEDIAN, Rule.MEDIAN, -3.0)),
        ("vocals.sir.mean=1e1", ("vocals", "SIR", Rule.MEDIAN, Rule.MEAN, 10.0)),
        ("vocals.sdr.mean_of_medians=1", ("vocals", "SDR", Rule.MEDIAN, Rule.MEAN, 1.0)),
        ("vocals.sdr.median_of_means=1", ("vocals", "SDR", Rule.MEAN, Rule.MEDIAN, 1.0)),
        ("vocals.SDR.mean_of_means=1", ("vocals", "SDR", Rule.MEAN, Rule.MEAN, 1.0)),
        ("bass.si-sdr.mean=0.5", ("bass", "SI-SDR", Rule.MEDIAN, Rule.MEAN, 0.5)),
        ("bass.log_wmse=20", ("bass", "log-WMSE", Rule.MEDIAN, Rule.MEDIAN, 20.0)),
        ("bass.sdr_v3=2", ("bass", "SDR v3", Rule.MEDIAN, Rule.MEDIAN, 2.0)),
    ],
)
def test_requirements_are_read(text, expected):
    wanted = parse_requirement(text)
    assert (wanted.stem, wanted.metric, wanted.frames_rule, wanted.rule, wanted.least) == expected


def test_four_rules_give_four_numbers():
    # Made frames: the track's number less 1, itself, and 5 more; so means of frames are 4/3 above medians.
    results = made_results({"vocals": [1.0, 2.0, 6.0]})
    rules = {"median": 2.0, "mean": 3.0, "median_of_means": 2 + 4 / 3, "mean_of_means": 3 + 4 / 3}
    for rule, value in rules.items():
        for least, word in ((value - 0.01, "passed"), (value + 0.01, "MISSED")):
            verdict = check_requirements(results, [parse_requirement(f"vocals.sdr.{rule}={least}")], tracks=3)
            assert verdict.table.rows[0][-1] == word


@pytest.mark.parametrize(
    "text",
    [
        "vocals",
        "=5",
        "vocals=",
        "vocals=high",
        "vocals=nan",
        "vocals.pesq=1",
        "vocals.sdr.max=1",
        "a.b.c.d=1",
        "vocals.usdr.mean_of_means=1",
    ],
)
def test_other_forms_are_refused(text):
    with pytest.raises(UsageError):
        parse_requirement(text)


def test_a_score_below_is_missed_and_one_that_is_missing_too():
    results = made_results({"vocals": [4.0, 5.0, 9.0]})
    wanted = [parse_requirement(t) for t in ("vocals=5.0", "vocals=5.01", "vocals.sdr.mean=6", "drums=-90")]
    verdict = check_requirements(results, wanted, tracks=3)
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
    rows = {row[0]: (row[3], row[-1]) for row in check_against(after, before, tolerance_db=0.05).table.rows}
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


def test_a_requirement_names_over_how_many_tracks_it_was_decided():
    results = made_results({"vocals": [4.0, 5.0, 6.0], "bass": [math.nan, 5.0, 6.0]})
    wanted = [parse_requirement(text) for text in ("vocals=1", "bass=1")]
    assert check_requirements(results, wanted, tracks=3).warnings == ("bass SDR median: scored on 2 of 3 tracks",)
    verdict = check_requirements(results, wanted, tracks=4)  # one has failed
    assert [row[3] for row in verdict.table.rows] == ["3 of 4", "2 of 4"]
    assert len(verdict.warnings) == 2
    assert not verdict.misses


def test_a_track_that_has_lost_its_score_is_a_miss_and_is_named():
    before = made_results({"vocals": [1.0, 5.0]}, tracks=["a", "b"])
    after = made_results({"vocals": [math.nan, 5.0]}, tracks=["a", "b"])
    verdict = check_against(after, before, tolerance_db=0.05)
    assert verdict.table.rows[0][-2:] == ("1 of 2", "LOST")
    assert verdict.misses == ("vocals SDR: no score of `a`, which mine (earlier run) has",)
    assert verdict.warnings == ("vocals SDR: scored on 1 of 2 tracks",)
    assert not check_against(before, after, tolerance_db=9).misses


def test_scores_are_compared_on_the_tracks_where_both_are_finite():
    before = made_results({"vocals": [1.0, 5.0, math.nan]}, tracks=["a", "b", "c"])
    after = made_results({"vocals": [math.nan, 5.0, -90.0]}, tracks=["a", "b", "c"])
    verdict = check_against(after, before, tolerance_db=0.05)
    assert verdict.table.rows == (("vocals SDR", "5.00", "5.00", "+0.00", "2 of 3", "LOST"),)


def test_a_track_that_failed_counts_among_those_that_were_asked_for():
    before = made_results({"vocals": [1.0, 5.0]}, tracks=["a", "b"])
    after = made_results({"vocals": [1.0]}, tracks=["a"])
    asked = frozenset({("test", "a"), ("test", "b")})
    verdict = check_against(after, before, tolerance_db=0.05, tracks=asked)
    assert verdict.warnings == ("vocals SDR: scored on 1 of 2 tracks",)
    assert verdict.misses == ("vocals SDR: no score of `b`, which mine (earlier run) has",)
    verdict = check_against(after, find_published("irm1"), tolerance_db=99, tracks=asked)
    assert "vocals SDR: scored on 1 of 2 tracks" in verdict.warnings


def with_metrics(*metrics, **more):
    """Give results with several metrics of the same numbers."""
    made = [made_results({"vocals": [5.0], "bass": [3.0]}, metric=metric, **more) for metric in metrics]
    stems = tuple(
        replace(one, frames=tuple(results.tracks[0].stems[place].frames[0] for results in made))
        for place, one in enumerate(made[0].tracks[0].stems)
    )
    return replace(made[0], tracks=(replace(made[0].tracks[0], stems=stems),))


def test_a_metric_that_has_gone_is_a_miss_unless_it_was_not_asked_for():
    before, after = with_metrics("SDR", "SIR"), with_metrics("SDR")
    verdict = check_against(after, before, tolerance_db=0.05)
    assert [row[-1] for row in verdict.table.rows] == ["same", "FELL", "same", "FELL"]
    assert "vocals SIR: no score, 4.95 dB needed to match mine (earlier run)" in verdict.misses
    verdict = check_against(after, before, tolerance_db=0.05, metrics=["SDR"])
    assert not verdict.misses
    assert verdict.warnings == ("not compared, as this run was not asked for them: SIR",)
    assert verdict.warnings[0] in verdict.table.notes


def test_a_stem_outside_the_scenario_was_not_asked_for():
    before = made_results({"vocals": [5.0], "bass": [3.0], "accompaniment": [9.0]})
    pair = replace(made_results({"vocals": [5.0], "accompaniment": [9.0]}), scenario="vocals-accompaniment")
    four = replace(made_results({"vocals": [5.0], "bass": [3.0]}), scenario="four-stems")
    for after, missing in ((pair, "bass"), (four, "accompaniment")):
        verdict = check_against(after, before, tolerance_db=0.05)
        assert not verdict.misses
        assert verdict.warnings == (f"not compared, as this run was not asked for them: {missing}",)


def test_nothing_in_common_is_an_error_and_no_pass():
    results = made_results({"vocals": [1.0]})
    empty = made_results({"vocals": [math.nan]})
    with pytest.raises(UsageError, match="nothing to compare with mine"):
        check_against(results, empty, tolerance_db=0.05)


def test_an_expectation_that_meets_no_track_or_score_is_refused_before_scoring():
    tracks = frozenset({("test", "track 0")})
    good = made_results({"vocals": [1.0, math.nan]})
    check_comparable(good, tracks=tracks, metrics=["SDR"])
    check_comparable(find_published("irm1"), tracks=tracks, metrics=["SDR"])
    with pytest.raises(UsageError, match="no track in common"):
        check_comparable(good, tracks=frozenset({("test", "other")}), metrics=["SDR"])
    for refused in ({("test", "track 1")}, {("test", "track 0")}):
        metrics = ["SIR"] if ("test", "track 0") in refused else ["SDR"]
        with pytest.raises(UsageError, match="no finite score of the tracks and metrics of this run"):
            check_comparable(good, tracks=frozenset(refused), metrics=metrics)


def test_a_stem_or_metric_that_no_run_would_make_is_refused_with_the_nearest():
    stems = ("vocals", "drums", "accompaniment")
    check_stems([parse_requirement("drums=1")], stems)
    with pytest.raises(UsageError, match=r"`vocal`, which is not scored here; did you mean `vocals`\?"):
        check_stems([parse_requirement("vocal=1")], stems)
    check_metrics([parse_requirement("vocals=1")], ("SDR",), "sdr")
    with pytest.raises(UsageError, match=r"`--scores sdr` does not make SIR.*use `--scores full`"):
        check_metrics([parse_requirement("vocals.sir=1")], ("SDR",), "sdr")
    with pytest.raises(UsageError, match="add `--scores all`"):
        check_metrics([parse_requirement("vocals.nsdr=1")], ("SDR",), "full")
