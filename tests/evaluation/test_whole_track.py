import math

import numpy as np
import pytest

from made_songs import stems
from mss_cli.evaluation.scores import FOUR_STEMS, FURTHER_METRICS, PAIR
from mss_cli.evaluation.scoring import Pairs, metrics_of, plan_groups, scorable_stems, score

FOUR = ("vocals", "drums", "bass", "other")


def made(names=("vocals", "drums"), *, rate=44100, seconds=1.2):
    """Give true stems, leaky estimates and the mixture of a short song."""
    signals = stems(3, seconds, rate, 2)
    references = np.stack([signals[name] for name in names]).astype(np.float64)
    mixture = references.sum(axis=0)
    noise = np.random.default_rng(1).standard_normal(references.shape)
    return references, 0.8 * references + 0.15 * mixture + 0.004 * noise, mixture


def scores_of(references, estimates, mixture, *, names=("vocals", "drums"), rate=44100, scenario="auto"):
    def blocks():
        for part in np.array_split(np.arange(references.shape[-1]), 3):
            yield references[..., part], estimates[..., part]

    def whole():
        for part in np.array_split(np.arange(mixture.shape[-1]), 5):
            yield mixture[..., part].astype(np.float32)

    pairs = Pairs(tuple(names), rate, 2, blocks, None if mixture is None else whole)
    found, _ = score(pairs, plan_groups(names, scenario), "all")
    return {one.stem: {further.metric: further.value for further in one.further} for one in found}, found


def test_every_further_metric_is_there_beside_the_full_set():
    values, found = scores_of(*made())
    assert all(tuple(entry) == FURTHER_METRICS for entry in values.values())
    assert all([frames.metric for frames in one.frames] == ["SDR", "ISR", "SIR", "SAR"] for one in found)
    assert all(math.isfinite(value) for entry in values.values() for value in entry.values())
    assert set(metrics_of("all")) == {"SDR", "ISR", "SIR", "SAR", "uSDR", "SI-SDR", *FURTHER_METRICS}


def test_perfect_estimates_reach_the_ends_of_the_scales():
    references, _, mixture = made()
    values, _ = scores_of(references, references.copy(), mixture)
    for entry in values.values():
        assert entry["bleedless"] == entry["fullness"] == 100
        assert entry["log-WMSE"] == pytest.approx(-4 * math.log(1e-8), abs=1e-6)


def test_the_mixture_as_estimate_gains_nothing():
    references, _, mixture = made()
    values, _ = scores_of(references, np.stack([mixture, mixture]), mixture)
    for entry in values.values():
        assert entry["NSDR"] == pytest.approx(0.0, abs=1e-4)
        assert entry["fullness"] > entry["bleedless"]


def test_version_3_equals_mir_eval_on_mono_sums():
    separation = pytest.importorskip("mir_eval.separation")
    references, estimates, mixture = made()
    values, _ = scores_of(references, estimates, mixture)
    with pytest.warns(FutureWarning):
        sdr, sir, sar, _ = separation.bss_eval_sources(references.mean(1), estimates.mean(1), compute_permutation=False)
    untouched = np.stack([mixture.mean(0)] * 2)
    with pytest.warns(FutureWarning):
        floor, *_ = separation.bss_eval_sources(references.mean(1), untouched, compute_permutation=False)
    for place, entry in enumerate(values.values()):
        assert entry["SDR v3"] == pytest.approx(sdr[place], abs=1e-3)
        assert entry["SIR v3"] == pytest.approx(sir[place], abs=1e-3)
        assert entry["SAR v3"] == pytest.approx(sar[place], abs=1e-3)
        assert entry["NSDR"] == pytest.approx(sdr[place] - floor[place], abs=1e-3)


def test_what_is_not_defined_is_nan_and_the_rest_is_there():
    references, estimates, mixture = made(rate=22050)
    values, _ = scores_of(references, estimates, mixture, rate=22050)
    assert math.isnan(values["vocals"]["log-WMSE"])
    assert math.isfinite(values["vocals"]["fullness"])
    references, estimates, _ = made()
    values, _ = scores_of(references, estimates, None)
    assert [name for name, value in values["drums"].items() if math.isnan(value)] == ["NSDR", "log-WMSE"]
    silent = np.stack([references[0, 0], -references[0, 0]])  # once its channels are added
    values, _ = scores_of(references, estimates, silent)
    assert [name for name, value in values["vocals"].items() if math.isnan(value)] == ["NSDR"]


def test_a_silent_stem_has_no_further_scores_and_the_others_have():
    references, estimates, mixture = made(("vocals", "drums", "bass"))
    references[1] = 0.0
    values, found = scores_of(references, estimates, mixture, names=("vocals", "drums", "bass"))
    assert values["drums"] == {}
    assert next(one.reason for one in found if one.stem == "drums") == "silent reference"
    assert len(values["bass"]) == len(FURTHER_METRICS)


def test_each_stem_is_scored_in_the_scenario_in_which_it_is_shown():
    names = (*FOUR, "accompaniment")
    references, estimates, mixture = made(FOUR)
    references = np.concatenate([references, references[1:].sum(0, keepdims=True)])
    estimates = np.concatenate([estimates, estimates[1:].sum(0, keepdims=True)])
    values, found = scores_of(references, estimates, mixture, names=names)
    assert {one.stem: one.scenario for one in found}["vocals"] == PAIR
    assert {one.stem: one.scenario for one in found}["bass"] == FOUR_STEMS
    pair, _ = scores_of(references[[0, 4]], estimates[[0, 4]], mixture, names=("vocals", "accompaniment"))
    assert values["vocals"] == pytest.approx(pair["vocals"], abs=1e-5)


@pytest.mark.parametrize(
    ("references", "scenario", "expected"),
    [
        ([FOUR], "auto", (*FOUR, "accompaniment")),
        ([("vocals",), ("drums",)], "auto", ("vocals", "drums")),
        ([FOUR], "four-stems", FOUR),
        ([FOUR], "vocals-accompaniment", ("vocals", "accompaniment")),
        ([("vocals", "accompaniment")], "auto", ("vocals", "accompaniment")),
    ],
)
def test_stems_that_can_be_scored_follow_from_the_references(references, scenario, expected):
    assert scorable_stems(references, scenario) == expected
