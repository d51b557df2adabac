"""Several separators as one: the weighted mean of their estimates, with weights for each stem.

Published "bags" of fine-tuned networks, each the best at one stem, and ensembles of whole separators are such. Over a
track `mss_models.tracks` takes each member its own way and joins what they give.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from mss_models.networks.front_end import check_mixture
from mss_models.networks.states import check_state
from mss_models.separator import Normalization, Precision, Separator
from mss_models.streaming import StreamSettings, measure_scale, stream


@runtime_checkable
class Restrictable(Protocol):
    """A separator that can leave out stems and so save work."""

    def restrict(self, stems: tuple[str, ...]) -> None:
        """Estimate only these stems from now on, in this order."""


class Bag(nn.Module):
    """A weighted mean of separators.

    Implements `Separator` and `mss_models.tracks.Ensemble`. A member whose weights are 0 for a stem is not asked for
    it. `separate` gives all members the one segment; those with shorter ones cut it up again, and where they want
    different normalisations, each measures it for itself.

    Parameters
    ----------
    members : sequence of Separator
        At least one; equal sample rate and channels.
    weights : sequence of mapping of str to float, optional
        For each member its weight for each stem, at least 0; a stem that is missing has weight 0. None weighs all
        members' own stems equally.

    Raises
    ------
    ValueError
        If the members do not go together, a member has a weight for a stem it does not have, or no weight of a
        stem is above 0.
    """

    def __init__(self, members: Sequence[Separator], weights: Sequence[Mapping[str, float]] | None = None) -> None:
        super().__init__()
        if not members:
            raise ValueError("a bag needs at least one member")
        for name in ("sample_rate", "channels"):
            if len({getattr(member, name) for member in members}) > 1:
                raise ValueError(f"all members of a bag must have the same {name}")
        if weights is None:
            weights = [dict.fromkeys(member.stems, 1.0) for member in members]
        self.stems = tuple(dict.fromkeys(stem for member in members for stem in member.stems))
        self.weights = _checked(members, weights, self.stems)
        self.separators = tuple(members)
        # Those that have a state dict.
        self.members = nn.ModuleDict(
            {str(index): member for index, member in enumerate(members) if isinstance(member, nn.Module)}
        )
        for member, of_member in zip(members, self.weights, strict=True):
            wanted = tuple(stem for stem in member.stems if of_member.get(stem, 0) > 0)
            if isinstance(member, Restrictable) and wanted and wanted != member.stems:
                member.restrict(wanted)

    @property
    def sample_rate(self) -> int:
        """Rate of the mixture in Hz."""
        return self.separators[0].sample_rate

    @property
    def channels(self) -> int:
        """Channels of the mixture."""
        return self.separators[0].channels

    @property
    def segment_samples(self) -> int:
        """The longest segment of a member."""
        return max(member.segment_samples for member in self.separators)

    @property
    def normalization(self) -> Normalization:
        """What the first pass measures for `separate`: what all members want, or nothing where they differ."""
        kinds = {member.normalization for member in self.separators}
        return kinds.pop() if len(kinds) == 1 else "none"

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Precisions that all members can compute in."""
        first = self.separators[0].precisions
        return tuple(one for one in first if all(one in member.precisions for member in self.separators))

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False) -> object:
        """Load the weights of all members, ``members.INDEX.`` before each name.

        Raises
        ------
        StateMismatch
            If names or shapes differ.
        """
        check_state(self.state_dict(), state_dict)
        for index, network in self.members.items():
            prefix = f"members.{index}."
            own = {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}
            network.load_state_dict(own, strict=strict, assign=assign)
        return None

    def prepare(self, device: torch.device, precision: Precision) -> None:
        """Prepare every member."""
        for member in self.separators:
            member.prepare(device, precision)

    def separate(self, mixture: Tensor) -> Tensor:
        """Estimate the stems; see `mss_models.separator.Separator.separate`."""
        check_mixture(mixture, self.channels)
        estimates = mixture.new_zeros(mixture.shape[0], len(self.stems), *mixture.shape[1:])
        totals = {stem: sum(of_member.get(stem, 0) for of_member in self.weights) for stem in self.stems}
        for member, of_member in zip(self.separators, self.weights, strict=True):
            if not any(of_member.values()):
                continue
            measured = member.normalization != self.normalization
            own = _measured(member, mixture) if measured else _whole(member, mixture)  # (batch, stem, channel, sample)
            for index, stem in enumerate(member.stems):
                share = of_member.get(stem, 0) / totals[stem]
                if share:
                    estimates[:, self.stems.index(stem)].add_(own[:, index], alpha=share)
        return estimates


def _measured(member: Separator, mixture: Tensor) -> Tensor:
    """Separate segments that are all that is known of their tracks."""
    items = []
    for item in mixture:
        scale = measure_scale(member.normalization, [item])
        estimates = _whole(member, (item[None] - scale.offset) / scale.factor)
        items.append(estimates.mul_(scale.factor).add_(scale.offset))
    return torch.cat(items)


def _whole(member: Separator, mixture: Tensor) -> Tensor:
    """Separate segments that may be longer than the member's."""
    if mixture.shape[-1] <= member.segment_samples:
        return member.separate(mixture)
    settings = StreamSettings(member.segment_samples)
    items = []
    for item in mixture:
        parts = list(stream(member, [item.cpu()], settings, device=mixture.device))
        items.append(torch.cat(parts, dim=-1))
    return torch.stack(items).to(mixture.device)


def _checked(
    members: Sequence[Separator], weights: Sequence[Mapping[str, float]], stems: tuple[str, ...]
) -> tuple[Mapping[str, float], ...]:
    """Refuse weights that make no mean."""
    if len(weights) != len(members):
        raise ValueError(f"expected weights for {len(members)} members, got {len(weights)}")
    for index, (member, of_member) in enumerate(zip(members, weights, strict=True)):
        for stem, weight in of_member.items():
            if stem not in member.stems:
                raise ValueError(f"member {index} of the bag has no stem `{stem}`")
            if not 0 <= weight < float("inf"):
                raise ValueError(f"weights must be finite and at least 0, got {weight} for `{stem}`")
    for stem in stems:
        if not any(of_member.get(stem, 0) > 0 for of_member in weights):
            raise ValueError(f"no member of the bag has a weight for `{stem}`")
    return tuple(dict(of_member) for of_member in weights)
