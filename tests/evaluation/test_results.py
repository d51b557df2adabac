import csv
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from made_results import made_results
from mss_cli.errors import InputError
from mss_cli.evaluation.aggregate import Rule
from mss_cli.evaluation.results import read_results, to_csv, to_text, write_results
from mss_cli.evaluation.scores import FOUR_STEMS, FurtherScore, StemScores


def test_values_of_the_set_are_medians_and_means_over_tracks():
    results = made_results({"vocals": [1.0, 2.0, 6.0], "bass": [0.0, math.nan, 4.0]})
    assert results.value("vocals", "SDR") == 2.0
    assert results.value("vocals", "SDR", Rule.MEAN) == 3.0
    assert results.value("bass", "SDR") == 2.0
    assert results.value("vocals", "uSDR", Rule.MEAN) == 3.0
    assert math.isnan(results.value("drums", "SDR"))


def test_the_file_is_strict_json_and_has_its_summary():
    document = json.loads(to_text(made_results({"vocals": [1.0, 2.0, 6.0]}, published=50)))
    assert document["schema"] == 1
    assert document["dataset"] == {"name": "folders", "subset": "test", "tracks": 3, "published_tracks": 50}
    summary = document["summary"]["vocals"]["SDR"]
    assert (summary["median_of_medians"], summary["mean_of_medians"]) == (2.0, 3.0)
    assert (summary["minimum"], summary["maximum"]) == (1.0, 6.0)
    assert summary["deviation"] == pytest.approx(np.std([1, 2, 6], ddof=1), abs=1e-6)
    assert summary["ci95"] == [1.0, 6.0]
    assert summary["frames"] == 9
    assert document["summary"]["vocals"]["scenario"] == FOUR_STEMS


def test_the_same_results_give_the_same_bytes_with_sorted_keys():
    results = made_results({"vocals": [1.0, 2.0], "drums": [3.0, 4.0]})
    assert to_text(results) == to_text(made_results({"vocals": [1.0, 2.0], "drums": [3.0, 4.0]}))
    text = to_text(results)
    assert json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n" == text


def test_a_file_is_read_back_as_it_was_written(tmp_path):
    results = made_results({"vocals": [1.0, math.nan], "drums": [math.inf, 2.0]}, published=50)
    silent = StemScores("bass", FOUR_STEMS, (), math.nan, math.nan, "silent reference")
    first = replace(results.tracks[0], stems=(*results.tracks[0].stems, silent))
    results = replace(results, tracks=(first, *results.tracks[1:]))
    again = read_results(write_results(results, tmp_path))
    assert to_text(again) == to_text(results)
    assert again.system.name == "mine"


def test_the_report_reads_what_is_written_here(tmp_path):
    reports = pytest.importorskip("mss_cli.reports.results")
    results = made_results({"vocals": [1.0, math.nan], "drums": [3.0, 2.0]})
    read = reports.read_results(write_results(results, tmp_path))
    assert read.name == "mine"
    assert read.medians("drums", "SDR") == {("test", "track 0"): 3.0, ("test", "track 1"): 2.0}
    assert read.tracks[0].stems["vocals"].median["SDR"] == 1.0


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999", '"1.0"', "true"])
def test_a_score_that_is_no_number_of_strict_json_is_refused_by_name(tmp_path, word):
    path = write_results(made_results({"vocals": [1.25, 1.25]}), tmp_path)
    text = path.read_text()
    assert text.count("1.25,") >= 1
    path.write_text(text.replace("1.25,", f"{word},"))
    with pytest.raises(InputError, match=r"results\.json: not a results file"):
        read_results(path)


def test_the_four_rules_stand_in_the_summary():
    # Made frames: the track's number less 1, itself, and 5 more.
    summary = json.loads(to_text(made_results({"vocals": [1.0, 2.0, 6.0]})))["summary"]["vocals"]["SDR"]
    assert summary["median_of_medians"] == 2.0
    assert summary["mean_of_medians"] == 3.0
    assert summary["median_of_means"] == pytest.approx(2 + 4 / 3, abs=2e-6)
    assert summary["mean_of_means"] == pytest.approx(3 + 4 / 3, abs=2e-6)


def further(results, **scores):
    """Give the first stem of each track further scores, one number per track."""
    tracks = []
    for place, track in enumerate(results.tracks):
        made = tuple(FurtherScore(metric, values[place]) for metric, values in scores.items())
        stems = (replace(track.stems[0], further=made), *track.stems[1:])
        tracks.append(replace(track, samples=44100 * (place + 1), stems=stems))
    return replace(results, tracks=tuple(tracks))


def test_further_scores_are_kept_and_gnsdr_counts_tracks_by_their_length(tmp_path):
    results = further(made_results({"vocals": [1.0, 2.0]}), NSDR=[3.0, 6.0], fullness=[math.nan, 50.0])
    again = read_results(write_results(results, tmp_path))
    assert to_text(again) == to_text(results)
    assert again.further_metrics == ("NSDR", "fullness")
    assert again.value("vocals", "fullness") == 50.0
    assert again.weighted_mean("vocals", "NSDR") == 5.0  # 1 s of 3 dB, 2 s of 6 dB
    summary = json.loads((tmp_path / "results.json").read_text())["summary"]["vocals"]
    assert (summary["NSDR"]["gnsdr"], summary["NSDR"]["median"]) == (5.0, 4.5)
    rows = list(csv.DictReader(io.StringIO(to_csv(results))))
    assert [row["median"] for row in rows if row["metric"] == "NSDR"] == ["3.000000", "6.000000"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1, "system": 3}', "not json"], ids=range(6)
)
def test_other_files_are_refused_by_name(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(InputError, match=r"results\.json: not a results file"):
        read_results(tmp_path / "results.json")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_results(tmp_path / "results.json")


def test_the_table_file_has_a_row_for_each_track_stem_and_metric():
    rows = list(csv.DictReader(io.StringIO(to_csv(made_results({"vocals": [1.0, 2.0], "bass": [3.0, 4.0]})))))
    assert len(rows) == 2 * 2 * 3  # SDR, uSDR, SI-SDR
    first = rows[0]
    assert (first["track"], first["stem"], first["metric"], float(first["median"])) == ("track 0", "vocals", "SDR", 1.0)
    assert (first["frames"], first["nan_frames"]) == ("3", "0")
