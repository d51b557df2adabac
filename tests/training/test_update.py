import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mss_cli.training.recipe import Optimizer
from mss_cli.training.update import (
    has_finite_gradient,
    learning_rate_factor,
    make_optimizer,
    mean_terms,
    mixed_seed,
    move_average,
    statistics_of,
    undo,
)


def network():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


@pytest.mark.parametrize(("step", "factor"), [(0, 0.2), (3, 0.8), (4, 1.0), (7, 0.5), (10, 0.0)])
def test_the_cosine_rises_in_the_warm_up_and_falls_to_zero(step, factor):
    settings = Optimizer(schedule="cosine", warmup_steps=4)
    assert learning_rate_factor(settings, step, steps=10) == pytest.approx(factor, abs=1e-12)


@given(numbers=st.lists(st.integers(0, 2**40), min_size=1, max_size=5), place=st.integers(0, 4))
def test_a_seed_moves_with_each_of_its_numbers_and_fits_torch(numbers, place):
    seed = mixed_seed(*numbers)
    assert 0 <= seed < 2**63
    numbers[place % len(numbers)] += 1
    assert mixed_seed(*numbers) != seed


def test_the_optimiser_leaves_frozen_weights_alone():
    made = network()
    made[0].weight.requires_grad_(False)
    optimizer, _ = make_optimizer(made, Optimizer(learning_rate=0.5), steps=1)
    learning = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
    assert learning == {id(made[0].bias), id(made[1].weight), id(made[1].bias)}


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_one_gradient_that_is_no_number_is_seen(wrong):
    made = network()
    assert has_finite_gradient(made)
    made(torch.ones(4, 2)).sum().backward()
    assert has_finite_gradient(made)
    made[0].weight.grad[1, 1] = wrong
    assert not has_finite_gradient(made)


def test_an_update_undone_leaves_neither_gradient_nor_statistic():
    made = network().train()
    before = {key: value.clone() for key, value in made.state_dict().items()}
    statistics = statistics_of(made)
    made(torch.randn(4, 2)).sum().backward()
    assert not torch.equal(made.state_dict()["1.running_mean"], before["1.running_mean"])
    undo(made, statistics)
    assert all(torch.equal(value, before[key]) for key, value in made.state_dict().items())
    assert all(weight.grad is None for weight in made.parameters())


def test_the_average_begins_near_the_weights_and_ends_with_its_decay():
    average, made = network(), network()
    for early, decay in ((0, 0.1), (10**6, 0.9)):
        before = average[0].weight.detach().clone()
        move_average(average, made, ema=0.9, step=early)
        expected = decay * before + (1 - decay) * made[0].weight.detach()
        torch.testing.assert_close(average[0].weight.detach(), expected, rtol=0, atol=1e-6)
    made[1].num_batches_tracked += 7
    move_average(average, made, ema=0.9, step=1)
    assert int(average[1].num_batches_tracked) == 7


def test_terms_are_means_over_the_batches_that_have_them():
    collected = [{"total": torch.tensor(1.0), "pitch": torch.tensor(4.0)}, {"total": torch.tensor(2.0)}]
    assert mean_terms(collected) == {"total": 1.5, "pitch": 4.0}


@pytest.mark.parametrize(("step", "factor"), [(0, 0.2), (4, 1), (16, 1), (18, 0.5), (20, 0), (25, 0)])
def test_a_cooldown_keeps_the_rate_until_the_last_steps_and_ends_at_zero(step, factor):
    settings = Optimizer(schedule="cooldown", warmup_steps=4, cooldown_steps=4)
    assert learning_rate_factor(settings, step, steps=20) == pytest.approx(factor, abs=1e-12)


def test_rmsprop_divides_by_the_root_of_the_mean_square():
    weight = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        weight.weight.fill_(2.0)
    optimizer, _ = make_optimizer(weight, Optimizer(name="rmsprop", learning_rate=0.1, weight_decay=0.5), steps=9)
    value, square = 2.0, 0.0
    for gradient in (3.0, -1.0):
        optimizer.zero_grad()
        weight.weight.grad = torch.full((1, 1), gradient)
        optimizer.step()
        slope = gradient + 0.5 * value
        square = 0.99 * square + 0.01 * slope**2
        value -= 0.1 * slope / (math.sqrt(square) + 1e-8)
        assert float(weight.weight.detach()) == pytest.approx(value, rel=1e-5)


def test_rmsprop_has_no_betas():
    with pytest.raises(ValueError, match="`betas` belong to `adam` and `adamw`"):
        Optimizer(name="rmsprop", betas=(0.9, 0.99))
