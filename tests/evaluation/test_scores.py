import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss_cli.evaluation.scores import METRICS, PAIR, Frames, StemScores, TrackScores, from_json, museval_json, to_json
from real_museval import museval_or_skip

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "reference" / "museval-cases" / "golden.json"


def track(*stems):
    return TrackScores("A - B", "test", 3 * 44100, 44100, tuple(stems))


def scored(stem="vocals", values=(1.0, math.nan, 3.0, math.inf)):
    return StemScores(stem, PAIR, tuple(Frames(metric, values) for metric in METRICS), 2.5, math.inf)


def from_museval(text):
    targets = []
    for target in json.loads(text)["targets"]:
        rows = [frame["metrics"] for frame in target["frames"]]
        frames = tuple(Frames(metric, tuple(float(row[metric]) for row in rows)) for metric in METRICS)
        targets.append(StemScores(target["name"], PAIR, frames, 0.0, 0.0))
    return track(*targets)


@pytest.mark.parametrize("name", ["four_stems", "with_accompaniment", "vocals_accompaniment"])
def test_files_equal_museval_byte_for_byte(name):
    if not GOLDEN.exists():
        pytest.skip("the stored cases are not here")
    text = json.loads(GOLDEN.read_text())["track"][name]
    assert museval_json(from_museval(text), version=json.loads(text)["museval_version"]) == text


def test_files_obey_the_schema_of_museval_and_its_store_reads_them(tmp_path):
    import jsonschema

    museval = museval_or_skip()
    names = ("vocals", "drums", "accompaniment")
    scores = track(*(scored(name, (5.0, math.nan, 7.0)) for name in names))
    text = museval_json(scores, version="0.4.1")
    schema = json.loads((Path(museval.__file__).parent / "musdb.schema.json").read_text())
    jsonschema.validate(json.loads(text), schema)
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "A - B.json").write_text(text)
    store = museval.EvalStore()
    store.add_eval_dir(tmp_path)
    medians = store.agg_frames_tracks_scores()
    assert medians["vocals"]["SDR"] == pytest.approx(6.0)
    assert set(medians.index.get_level_values("target")) == set(names)


def test_infinite_and_missing_values_are_nan_for_museval():
    only_sdr = StemScores("bass", PAIR, (Frames("SDR", (math.inf, -math.inf, 0.1234550000001)),), 0.0, 0.0)
    rows = [
        frame["metrics"] for frame in json.loads(museval_json(track(only_sdr), version="x"))["targets"][0]["frames"]
    ]
    assert [math.isnan(row["SDR"]) for row in rows] == [True, True, False]
    assert rows[2]["SDR"] == 0.12346
    assert all(math.isnan(row["SIR"]) for row in rows)


def test_stems_without_scores_are_left_out_of_museval_files():
    silent = StemScores("bass", PAIR, (), math.nan, math.nan, "silent reference")
    assert json.loads(museval_json(track(silent), version="x"))["targets"] == []


def test_our_json_is_strict_and_names_what_is_infinite():
    document = to_json(track(scored()))
    text = json.dumps(document, allow_nan=False)
    stem = json.loads(text)["stems"]["vocals"]
    assert stem["frames"]["SDR"] == [1.0, None, 3.0, None]
    assert stem["infinite"]["SDR"] == {"3": "+"}
    assert stem["infinite"]["si_sdr"] == "+"
    assert stem["median"]["SDR"] == 2.0
    assert stem["nan_frames"] == 2


values = st.one_of(
    st.just(math.nan), st.just(math.inf), st.just(-math.inf), st.integers(-9_000_000, 9_000_000).map(lambda v: v / 1e5)
)


@given(columns=st.lists(values, max_size=6), usdr=values, si_sdr=values)
def test_scores_survive_our_json(columns, usdr, si_sdr):
    frames = tuple(Frames(metric, tuple(columns)) for metric in METRICS[:2])
    before = track(StemScores("drums", PAIR, frames, usdr, si_sdr, None))
    after = from_json(json.loads(json.dumps(to_json(before), allow_nan=False)))
    for ours, theirs in zip(after.stems[0].frames, before.stems[0].frames, strict=True):
        np.testing.assert_array_equal(ours.values, theirs.values)
    np.testing.assert_array_equal([after.stems[0].usdr, after.stems[0].si_sdr], [usdr, si_sdr])
    assert (after.name, after.samples, after.stems[0].reason) == (before.name, before.samples, None)


@pytest.mark.parametrize("entry", [{}, [], {"name": "a", "subset": "b", "samples": "c", "sample_rate": 1, "stems": {}}])
def test_other_json_is_refused(entry):
    with pytest.raises(ValueError, match="track|object|whole"):
        from_json(entry)


def test_medians_and_means_count_finite_frames_only():
    frames = Frames("SDR", (1.0, math.nan, 2.0, 6.0, math.inf))
    assert (frames.median(), frames.mean()) == (2.0, 3.0)
    assert math.isnan(Frames("SDR", (math.nan,)).median())
