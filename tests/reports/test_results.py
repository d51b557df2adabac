import copy
import json

import pytest

from mss_cli.errors import InputError
from mss_cli.reports.results import read_results
from report_data import by_sdr, seeded, write


def test_reads_what_a_results_file_says(tmp_path):
    tracks = seeded("unet", tracks=3, settings={"shifts": 2, "device": "cpu"})
    found = read_results(write(tmp_path / "results.json", tracks))
    assert (found.name, found.kind, found.dataset, found.subset) == ("unet", "model", "musdb18", "test")
    assert found.settings == (("device", "cpu"), ("shifts", "2"))
    assert found.published_tracks == 50
    assert [track.name for track in found.tracks] == [track["name"] for track in tracks["tracks"]]
    first, said = found.tracks[0].stems["bass"], tracks["tracks"][0]["stems"]["bass"]
    assert first.median == said["median"]
    assert (first.frames, first.nan_frames) == (200, said["nan_frames"])
    assert first.usdr == said["usdr"]


def test_a_median_of_null_is_no_score(tmp_path):
    found = read_results(write(tmp_path / "r.json", by_sdr("a", [1.0, None, 3.0])))
    assert list(found.medians("vocals", "SDR").values()) == [1.0, 3.0]
    assert found.medians("vocals", "SIR") == {}


def test_keys_of_later_versions_are_passed_over(tmp_path):
    later = by_sdr("a", [1.0]) | {"novelty": {"x": [1]}}
    later["tracks"][0]["stems"]["vocals"]["median"]["PESQ"] = 3.0
    assert read_results(write(tmp_path / "r.json", later)).tracks[0].stems["vocals"].median == {"SDR": 1.0}


def _changed(keys, value):
    results = copy.deepcopy(by_sdr("a", [1.0, 2.0]))
    place = results
    for key in keys[:-1]:
        place = place[key]
    if value is ...:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    return results


STEM = ("tracks", 0, "stems", "vocals")


@pytest.mark.parametrize(
    ("keys", "value", "line"),
    [
        (("schema",), 2, "`schema` is not 1"),
        (("schema",), ..., "`schema` is missing"),
        (("system",), [], "`system` is not an object"),
        (("system", "name"), 3, "`system.name` is not text"),
        (("dataset", "published_tracks"), "many", "`dataset.published_tracks` is not a whole number"),
        (("scenario",), None, "`scenario` is not text"),
        (("tracks",), {}, "`tracks` is not a list"),
        (("tracks", 1), 5, "`tracks[1]` is not an object"),
        (("tracks", 1, "name"), "track 1", "`tracks` names a track twice"),
        (("tracks", 0, "samples"), -1, "`tracks[0].samples` is not a whole number"),
        ((*STEM, "median"), ..., "`tracks[0].stems.vocals.median` is missing"),
        ((*STEM, "median", "SDR"), "5", "`tracks[0].stems.vocals.median.SDR` is neither a number nor null"),
        ((*STEM, "median", "SDR"), True, "`tracks[0].stems.vocals.median.SDR` is neither a number nor null"),
        ((*STEM, "frames", "SDR"), [1, "x"], "`tracks[0].stems.vocals.frames.SDR[1]` is neither a number nor null"),
        ((*STEM, "frames", "SIR"), [1], "`tracks[0].stems.vocals.frames` has metrics of unequal length"),
        ((*STEM, "nan_frames"), 1.5, "`tracks[0].stems.vocals.nan_frames` is not a whole number"),
    ],
)
def test_names_the_file_and_the_key_that_is_wrong(tmp_path, keys, value, line):
    path = write(tmp_path / "results.json", _changed(keys, value))
    with pytest.raises(InputError) as caught:
        read_results(path)
    assert str(caught.value).startswith(f"{path}: {line}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"schema": NaN}', "`NaN` where a number or null is needed"),
        (b"{", "is not strict JSON"),
        (b"\xff", "is not UTF-8 text"),
        (b"[" * 100_000, "is not strict JSON"),
        (
            json.dumps(by_sdr("a", [7.25])).replace('"median": {"SDR": 7.25}', '"median": {"SDR": 1e999}').encode(),
            "finite",
        ),
    ],
)
def test_refuses_what_is_not_strict_json(tmp_path, text, reason):
    path = tmp_path / "results.json"
    path.write_bytes(text)
    with pytest.raises(InputError) as caught:
        read_results(path)
    assert reason in str(caught.value)


def test_refuses_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_results(tmp_path / "none.json")
