"""Refuses weights that do not fit, telling where."""

from collections.abc import Mapping

from torch import Tensor

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


def _listed(keys: list[str]) -> str:
    more = ", ..." if len(keys) > _NAMED_KEYS else ""
    return ", ".join(keys[:_NAMED_KEYS]) + more
