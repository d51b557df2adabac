"""Weights on their way into a network: refused where they do not fit, telling where; not drawn before they come."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mss_models.errors import StateMismatch

_NAMED_KEYS = 3


def check_state(expected: Mapping[str, Tensor], received: Mapping[str, Tensor]) -> None:
    """Compare names and shapes of two state dicts.

    Parameters
    ----------
    expected : mapping of str to Tensor
        State dict of the network.
    received : mapping of str to Tensor
        What is to be loaded.

    Raises
    ------
    StateMismatch
        If names or shapes differ; names the first of each kind.
    """
    missing = [key for key in expected if key not in received]
    unexpected = [key for key in received if key not in expected]
    shapes = [
        f"{key} {tuple(received[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected
        if key in received and received[key].shape != expected[key].shape
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
    faults = [f"{len(keys)} {kind}: {_listed(keys)}" for kind, keys in kinds if keys]
    if faults:
        raise StateMismatch(f"weights do not fit the network: {'; '.join(faults)}")


class UndrawnWeights(TorchFunctionMode):
    """A context in which modules are made with memory for weights, but with no random numbers in it.

    Drawing the weights of the largest networks takes seconds, and makes their memory resident, only to be overwritten
    by those that are loaded. All of `torch.nn.init` is left out, so only networks that are then loaded strictly may be
    made here.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Leave a tensor as it is where it would be initialised; run everything else."""
        given = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def drop_weights(network: nn.Module) -> None:
    """Forget the weights of a prepared network that will only `separate`: what `prepare` made of them stays.

    Parameters
    ----------
    network : Module
        A separator after `prepare`; it can neither be prepared, nor trained, nor saved any more.
    """
    for module in network.modules():
        for name, weights in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(weights.new_empty(0), requires_grad=False))


def _listed(keys: list[str]) -> str:
    more = ", ..." if len(keys) > _NAMED_KEYS else ""
    return ", ".join(keys[:_NAMED_KEYS]) + more
