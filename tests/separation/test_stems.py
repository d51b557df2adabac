import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss_cli.errors import UsageError
from mss_cli.separation.stems import StemChoice, plan_stems

FOUR = ("vocals", "drums", "bass", "other")


def blocks(seed=0, stems=4):
    random = np.random.default_rng(seed)
    return (
        random.standard_normal((2, 50)).astype(np.float32),
        random.standard_normal((stems, 2, 50)).astype(np.float32),
    )


def test_other_takes_what_the_estimates_leave_over():
    mixture, estimates = blocks()
    outputs = plan_stems(FOUR, StemChoice()).apply(mixture, estimates)
    np.testing.assert_array_equal(outputs[:3], estimates[:3])
    np.testing.assert_allclose(outputs[3], mixture - estimates[:3].sum(axis=0), atol=1e-6)


def test_two_stems_are_the_stem_and_everything_else():
    mixture, estimates = blocks()
    plan = plan_stems(FOUR, StemChoice(two_stems="drums"))
    outputs = plan.apply(mixture, estimates)
    assert plan.names == ("drums", "no_drums")
    np.testing.assert_array_equal(outputs[0], estimates[1])
    np.testing.assert_array_equal(outputs[1], mixture - estimates[1])


def test_two_stems_of_other_add_up_too():
    mixture, estimates = blocks()
    outputs = plan_stems(FOUR, StemChoice(two_stems="other")).apply(mixture, estimates)
    np.testing.assert_allclose(outputs[1], estimates[:3].sum(axis=0), atol=1e-6)
    np.testing.assert_allclose(outputs.sum(axis=0), mixture, atol=1e-6)


def test_the_residual_is_the_mixture_minus_what_is_written():
    mixture, estimates = blocks()
    outputs = plan_stems(FOUR, StemChoice(stems=("bass", "vocals"), residual=True)).apply(mixture, estimates)
    np.testing.assert_array_equal(outputs[0], estimates[2])
    np.testing.assert_allclose(outputs[2], mixture - estimates[2] - estimates[0], atol=1e-6)


def test_a_separator_without_other_leaves_its_residual_apart():
    mixture, estimates = blocks(stems=1)
    outputs = plan_stems(("vocals",), StemChoice(residual=True)).apply(mixture, estimates)
    np.testing.assert_array_equal(outputs[0], estimates[0])
    np.testing.assert_array_equal(outputs[1], mixture - estimates[0])


@given(
    seed=st.integers(0, 99),
    written=st.sets(st.sampled_from(FOUR), min_size=1).map(sorted),
)
def test_any_choice_with_its_residual_adds_up_to_the_mixture(seed, written):
    mixture, estimates = blocks(seed)
    outputs = plan_stems(FOUR, StemChoice(stems=tuple(written), residual=True)).apply(mixture, estimates)
    np.testing.assert_allclose(outputs.sum(axis=0), mixture, atol=3e-6)


@pytest.mark.parametrize("word", ["karaoke", "instrumental", "accompaniment"])
def test_words_of_other_tools_mean_vocals(word):
    assert plan_stems(FOUR, StemChoice(two_stems=word)).names == ("vocals", "no_vocals")


@pytest.mark.parametrize(
    ("choice", "line"),
    [
        (StemChoice(stems=("vocal",)), "this model has no stem `vocal`; did you mean `vocals`\\? it has vocals, drums"),
        (StemChoice(two_stems="piano"), "this model has no stem `piano`; it has"),
        (StemChoice(stems=("bass", "bass")), "names a stem twice"),
        (StemChoice(stems=("bass",), two_stems="bass"), "exclude each other"),
    ],
)
def test_a_choice_that_cannot_be_is_one_line(choice, line):
    with pytest.raises(UsageError, match=line):
        plan_stems(FOUR, choice)
