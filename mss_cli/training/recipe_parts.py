"""What the names in a recipe stand for: the configuration of its network, its steps of augmentation."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mss_cli.training.recipe import Network
from mss_cli.training.recipe import Step as StepSettings

if TYPE_CHECKING:
    from mss_models.augmentation.step import Step
    from mss_models.configuration import Configuration

PER_STEM = "unet-per-stem"


def resolve_network(network: Network) -> "Configuration":
    """Give the configuration that a recipe's network means: its preset with `settings`, `each` and `targets`.

    Parameters
    ----------
    network : Network
        Of a recipe.

    Returns
    -------
    Configuration
        For `mss_models.catalog.build`.

    Raises
    ------
    ConfigurationError
        If there is no such preset.
    """
    from mss_models.configuration import Configuration
    from mss_models.presets import shipped

    base = shipped(network.preset) if network.preset is not None else None
    architecture = base.architecture if base is not None else network.architecture
    settings: dict[str, object] = {**(base.settings if base is not None else {}), **network.settings}
    members = settings.get("networks")
    if architecture == PER_STEM and isinstance(members, Sequence):
        settings["networks"] = chosen = [
            {**member, **network.each}
            for member in members
            if isinstance(member, Mapping) and (network.targets is None or stems_of(member) & {*network.targets})
        ]
        if len(chosen) < len(members):
            settings["residual"] = None
    # `build` refuses an architecture that does not exist.
    return Configuration(architecture, settings)  # type: ignore[arg-type]


def stems_of(member: Mapping[str, object]) -> set[str]:
    """Give the stems of the settings of one network."""
    stems = member.get("stems")
    return {str(stem) for stem in stems} if isinstance(stems, Sequence) and not isinstance(stems, str) else set()


def make_step(step: StepSettings) -> "Step":
    """Make a step of augmentation from its name, settings and probability.

    Raises
    ------
    ValueError
        If there is no such step or setting; if a value is out of its range, with a message that begins with its name.
    """
    from mss_models.augmentation import chain

    settings = dict(step.settings)
    if step.probability is not None:
        settings["probability"] = step.probability
    return chain.make_step(step.step, settings)  # the step checks each value itself
