"""One update of the weights: its seed, its optimiser, what a bad gradient undoes, and the average that follows.

All of it is a function of the recipe and the number of the update; nothing here knows who runs the loop.
"""

import functools
import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from mss_cli.training.recipe import Optimizer

_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio, as in splitmix64
_WORD = 0xFFFFFFFFFFFFFFFF


def mixed_seed(*numbers: int) -> int:
    """Mix numbers, each >= 0, into one seed of 63 bits by multiplying and shifting."""
    mixed = 0
    for number in numbers:
        mixed = ((mixed ^ (number + 1)) * _GOLDEN) & _WORD
        mixed ^= mixed >> 31
    return mixed >> 1


def make_optimizer(network: nn.Module, settings: Optimizer, *, steps: int) -> tuple[torch.optim.Optimizer, LambdaLR]:
    """Make the optimiser of the weights that learn, with the recipe's schedule, one step of it per update.

    Parameters
    ----------
    network : nn.Module
    settings : section of the recipe
    steps : int
        Updates of the whole training.
    """
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    rate, decay = settings.learning_rate, settings.weight_decay
    optimizer: torch.optim.Optimizer
    if settings.name == "rmsprop":
        optimizer = torch.optim.RMSprop(weights, lr=rate, weight_decay=decay)
    else:
        kind = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
        optimizer = kind(weights, lr=rate, betas=settings.betas, weight_decay=decay)
    return optimizer, LambdaLR(optimizer, functools.partial(learning_rate_factor, settings, steps=steps))


def learning_rate_factor(settings: Optimizer, step: int, *, steps: int) -> float:
    """Factor on the learning rate of an update: a linear rise, then what the schedule says."""
    if step < settings.warmup_steps:
        return (step + 1) / (settings.warmup_steps + 1)
    if settings.schedule == "constant":
        return 1.0
    if settings.schedule == "cooldown":
        return min(1.0, max(0, steps - step) / max(1, settings.cooldown_steps))
    share = (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def has_finite_gradient(network: nn.Module) -> bool:
    """Tell whether every gradient is finite; also where there is none."""
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    norms = torch.stack(torch._foreach_norm(gradients)) if gradients else torch.zeros(1)
    return bool(norms.sum().isfinite())


def statistics_of(network: nn.Module) -> list[Tensor]:
    """Copy what a forward pass in training mode changes: the statistics of batch norms."""
    return [statistic.clone() for statistic in network.buffers()]


def undo(network: nn.Module, statistics: Sequence[Tensor]) -> None:
    """Let an update change nothing: drop the gradients, put back the statistics from before it."""
    for weight in network.parameters():
        weight.grad = None
    for statistic, before in zip(network.buffers(), statistics, strict=True):
        statistic.copy_(before)  # batch norm has seen the bad batch


def move_average(average: nn.Module, network: nn.Module, *, ema: float, step: int) -> None:
    """Move the average of the weights after an update.

    Parameters
    ----------
    average : nn.Module
        Changed in place; what is no floating point number is copied.
    network : nn.Module
        The one that learns.
    ema : float, in (0, 1)
        Decay at last. It rises from 0.1 (step 0) as ``(1 + step) / (10 + step)``, so that the average forgets the
        first weights soon.
    step : int
        Updates done.
    """
    decay = min(ema, (1 + step) / (10 + step))
    pairs = list(zip(average.state_dict().values(), network.state_dict().values(), strict=True))
    floats = [pair for pair in pairs if pair[0].is_floating_point()]
    with torch.no_grad():
        torch._foreach_lerp_([mean for mean, _ in floats], [value for _, value in floats], 1 - decay)
        for mean, value in pairs:
            if not mean.is_floating_point():
                mean.copy_(value)


def mean_terms(collected: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    """Mean of every term over the batches that have it, by name."""
    names = dict.fromkeys(itertools.chain.from_iterable(collected))
    return {name: float(torch.stack([terms[name] for terms in collected if name in terms]).mean()) for name in names}
