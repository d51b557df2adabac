"""What holds for every step: items do not depend on their batch, seeds, shapes, silence, linked stems."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mss_models.augmentation.chain import STEPS, Chain, make_step
from mss_models.augmentation.draws import Draws, derive_seeds
from mss_models.errors import ShapeError

RATE = 8000
LINEAR = [name for name in STEPS if name not in ("tempo-change", "pitch-shift")]
LENGTHENED = ("tempo-change", "pitch-shift", "resampling")
PER_STEM = [name for name in STEPS if name != "stem-dropout"]


def noise(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape) * 0.1).float()


def always(name):
    return make_step(name, {"probability": 1.0}) if name != "stem-dropout" else make_step(name, {"probability": 0.5})


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("probability", [0.5, 1.0])
def test_an_item_comes_out_the_same_in_any_batch(name, probability):
    step, audio = make_step(name, {"probability": probability}), noise(6, 2, 2, 6000)
    seeds = torch.tensor([5, 17, -3, 2**62, 5, 0])
    together = step(audio, seeds, sample_rate=RATE)
    for item in range(6):
        alone = step(audio[item : item + 1], seeds[item : item + 1], sample_rate=RATE)
        assert torch.equal(together[item], alone[0])
    order = [3, 0, 5, 1, 4, 2]
    assert torch.equal(step(audio[order], seeds[order], sample_rate=RATE), together[order])


@pytest.mark.parametrize("name", [name for name in STEPS if name not in ("channel-swap", "polarity")])
def test_another_seed_gives_another_result(name):
    step, audio = always(name), noise(1, 4, 2, 6000).expand(8, -1, -1, -1)
    changed = step(audio, torch.arange(8), sample_rate=RATE)
    assert len({tuple(item.flatten()[::97].tolist()) for item in changed}) > 4


@pytest.mark.parametrize("name", STEPS)
def test_the_audio_that_goes_in_is_left_as_it_is(name):
    audio = noise(3, 2, 2, 6000)
    before = audio.clone()
    always(name)(audio, torch.arange(3), sample_rate=RATE)
    assert torch.equal(audio, before)


@pytest.mark.parametrize("name", STEPS)
def test_items_that_are_not_changed_keep_their_samples(name):
    step, audio = make_step(name, {"probability": 0.0}), noise(3, 2, 2, 6000)
    got = step(audio, torch.arange(3), sample_rate=RATE)
    assert torch.equal(got, audio[..., : step.produced_samples(6000, sample_rate=RATE)])


@pytest.mark.parametrize("name", STEPS)
def test_nothing_is_computed_on_two_devices(name):
    # The device "meta" holds no numbers, but refuses, as a GPU does, to compute with tensors of the CPU.
    audio = torch.empty(3, 2, 2, 6000, device="meta")
    changed = always(name)(audio, torch.arange(3), sample_rate=RATE)
    assert changed.device.type == "meta"
    assert changed.shape == always(name)(noise(3, 2, 2, 6000), torch.arange(3), sample_rate=RATE).shape


@pytest.mark.gpu
@pytest.mark.parametrize("name", STEPS)
def test_a_gpu_gives_what_a_cpu_gives(name):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    step, audio, seeds = always(name), noise(3, 2, 2, 6000), torch.arange(3)
    expected = step(audio, seeds, sample_rate=RATE)
    got = step(audio.cuda(), seeds.cuda(), sample_rate=RATE).cpu()
    # In cells where hardly anything sounds, the phases of a vocoder follow rounding.
    assert (got - expected).abs().max() < (0.02 if name in ("tempo-change", "pitch-shift") else 1e-4)


@pytest.mark.parametrize("name", PER_STEM)
def test_silence_stays_silence_and_stays_finite(name):
    assert not always(name)(torch.zeros(2, 2, 6000), torch.arange(2), sample_rate=RATE).any()


@pytest.mark.parametrize("name", PER_STEM)
def test_a_nan_is_not_hidden(name):
    audio = noise(1, 2, 6000)
    audio[0, 0, 2000] = math.nan
    assert torch.isnan(always(name)(audio, torch.arange(1), sample_rate=RATE)).any()


@pytest.mark.parametrize("name", [name for name in LINEAR if name != "stem-dropout"])
def test_stems_changed_together_sum_to_the_changed_mixture(name):
    step, stems = always(name), noise(3, 4, 2, 6000)
    changed = step(stems, torch.arange(3), sample_rate=RATE)
    mixture = step(stems.sum(dim=1), torch.arange(3), sample_rate=RATE)
    assert_close(changed.sum(dim=1), mixture, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", PER_STEM)
def test_three_axes_are_one_stem(name):
    step, audio = always(name), noise(2, 2, 6000)
    seeds = torch.arange(2)
    stems = step(audio.unsqueeze(1), seeds, sample_rate=RATE)
    assert torch.equal(step(audio, seeds, sample_rate=RATE), stems.squeeze(1))


@pytest.mark.parametrize("name", LENGTHENED)
@settings(max_examples=100, deadline=None)
@example(samples=1, low=0.5, span=0.5000000000000002)  # a ratio one rounding above 1
@given(samples=st.integers(1, 10**7), low=st.floats(0.5, 1.0), span=st.floats(0.0, 1.0))
def test_required_samples_are_enough_and_one_less_is_not(name, samples, low, span):
    field = {"pitch-shift": "semitones"}.get(name, "ratio")
    step = make_step(name, {field: [low, low + span]})
    required = step.required_samples(samples, sample_rate=RATE)
    assert step.produced_samples(required, sample_rate=RATE) == samples
    assert step.produced_samples(required - 1, sample_rate=RATE) < samples


@pytest.mark.parametrize("name", LENGTHENED)
def test_too_little_audio_says_how_much_is_needed(name):
    step = always(name)
    needed = step.required_samples(1, sample_rate=RATE)
    assert step(noise(1, 1, needed), torch.arange(1), sample_rate=RATE).shape == (1, 1, 1)
    with pytest.raises(ShapeError, match=f"at least {needed} samples"):
        step(noise(1, 1, needed - 1), torch.arange(1), sample_rate=RATE)


@pytest.mark.parametrize("name", [name for name in STEPS if name not in LENGTHENED])
def test_one_sample_is_enough_elsewhere(name):
    assert always(name)(noise(2, 2, 1, 1), torch.arange(2), sample_rate=RATE).shape == (2, 2, 1, 1)


@pytest.mark.parametrize("name", STEPS)
def test_probability_is_checked(name):
    for wrong in (-0.1, 1.1, math.nan, True, "1"):
        with pytest.raises(ValueError, match=r"probability must be a number in \[0, 1\]"):
            make_step(name, {"probability": wrong})


@pytest.mark.parametrize(
    ("name", "field", "wrong"),
    [
        ("gain", "gain_db", [2.0, -2.0]),
        ("gain", "gain_db", 3.0),
        ("tremolo", "depth", [0.0, 1.5]),
        ("chorus", "voices", 2.5),
        ("flanger", "feedback", [0.0, 1.0]),
        ("phaser", "stages", 1),
        ("equaliser", "q", [0.0, 1.0]),
        ("reverb", "decay_seconds", [math.nan, 1.0]),
        ("compression", "attack_ms", 0.0),
        ("pitch-shift", "semitones", [-25.0, 0.0]),
        ("tempo-change", "ratio", [0.0, 1.0]),
        ("resampling", "ratio", [1.0, math.inf]),
        ("stem-dropout", "keep", -1),
    ],
)
def test_a_wrong_field_is_named(name, field, wrong):
    with pytest.raises(ValueError, match=f"^{field} must"):
        make_step(name, {field: wrong})


def test_wrong_names_of_steps_and_fields_are_answered_with_the_right_ones():
    with pytest.raises(ValueError, match=r"step must be one of gain, channel-swap, .*; got `echo`"):
        make_step("echo", {})
    with pytest.raises(ValueError, match=r"gain is no field of `gain`; it has probability, gain_db"):
        make_step("gain", {"gain": [0.0, 1.0]})


def test_axes_and_seeds_are_checked():
    step = make_step("gain", {})
    with pytest.raises(ShapeError, match="audio"):
        step(noise(10), torch.arange(10), sample_rate=RATE)
    with pytest.raises(ShapeError, match="seeds"):
        step(noise(2, 1, 10), torch.arange(3), sample_rate=RATE)
    with pytest.raises(ShapeError, match="int64"):
        step(noise(2, 1, 10), torch.zeros(2), sample_rate=RATE)
    with pytest.raises(ShapeError, match=r"\(batch, stem, channel, sample\)"):
        make_step("stem-dropout", {})(noise(2, 1, 10), torch.arange(2), sample_rate=RATE)


def test_a_stem_chain_gives_every_stem_its_own_values_and_a_track_chain_one_to_all():
    audio, seeds = torch.ones(3, 4, 1, 10), torch.tensor([1, 2, 3])
    for stage, different in (("stem", 12), ("track", 3)):
        changed = Chain((make_step("gain", {}),), stage, RATE)(audio, seeds)
        assert len(set(changed[..., 0, 0].flatten().tolist())) == different


def test_equal_steps_in_a_chain_draw_apart():
    gain = make_step("gain", {})
    audio, seeds = torch.ones(1, 1, 1, 4), torch.tensor([9])
    once, twice = (Chain((gain,) * count, "stem", RATE)(audio, seeds)[0, 0, 0, 0] for count in (1, 2))
    assert abs(twice - once * once) > 1e-3


def test_a_chain_asks_for_what_all_its_steps_need():
    steps = tuple(always(name) for name in ("resampling", "gain", "tempo-change", "pitch-shift"))
    chain = Chain(steps, "track", RATE)
    required = chain.required_samples(4000)
    assert required > 4000 * 1.1 * 1.15
    assert chain.produced_samples(required) == 4000
    assert chain(noise(2, 2, 1, required), torch.arange(2)).shape == (2, 2, 1, 4000)


def test_every_item_of_a_chain_depends_on_its_seed_alone():
    steps = tuple(make_step(name, {"probability": 0.5}) for name in STEPS)
    for stage in ("stem", "track"):
        chain = Chain(steps, stage, RATE)
        audio, seeds = noise(4, 3, 2, 8000), torch.tensor([4, 3, 2, 1])
        together = chain(audio, seeds)
        for item in range(4):
            assert torch.equal(together[item], chain(audio[item, None], seeds[item, None])[0])


def test_stem_dropout_sees_whole_items_on_the_stage_of_stems():
    chain = Chain((make_step("stem-dropout", {"probability": 1.0, "keep": 1}),), "stem", RATE)
    sounding = chain(torch.ones(50, 4, 1, 2), torch.arange(50))[..., 0, 0]
    assert torch.equal(sounding.sum(dim=1), torch.ones(50))
    assert (sounding.sum(dim=0) > 0).all()


def test_a_chain_without_steps_gives_back_its_audio():
    audio = noise(2, 1, 1, 5)
    assert Chain((), "stem", RATE)(audio, torch.arange(2)) is audio


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"stage": "song"}, "stage must be"), ({"sample_rate": 0}, "sample_rate must be positive")],
)
def test_a_wrong_chain_names_its_field(fields, message):
    with pytest.raises(ValueError, match=message):
        Chain(**({"steps": (), "stage": "stem", "sample_rate": RATE} | fields))


def test_seeds_follow_the_published_generator():
    # The first outputs of SplitMix64 from the seed 1234567, as its reference implementation prints them.
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    for place, number in enumerate(published):
        got = derive_seeds(torch.tensor([1234567]), place).item()
        assert got % 2**64 == number


def test_neighbouring_seeds_draw_evenly_and_apart():
    numbers = Draws(torch.arange(4000)).uniform(0.0, 1.0)[:, 0]
    assert abs(numbers.mean() - 0.5) < 0.02  # 4 standard errors of 0.0046
    assert abs(torch.corrcoef(torch.stack([numbers[:-1], numbers[1:]]))[0, 1]) < 0.065


def test_logarithmic_draws_fill_each_octave_alike():
    numbers = Draws(torch.arange(4000)).log_uniform(1.0, 16.0)[:, 0]
    assert numbers.min() >= 1.0
    assert numbers.max() < 16.0
    for octave in range(4):
        share = ((numbers >= 2**octave) & (numbers < 2 ** (octave + 1))).double().mean()
        assert abs(share - 0.25) < 0.03
