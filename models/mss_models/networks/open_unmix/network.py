"""Open-Unmix: a recurrent network that tells from a mixture's magnitudes how much of each cell belongs to one stem.

    magnitudes -> standardise each bin -> linear -> batch norm -> tanh -> LSTM layers
               -> beside it the tanh again -> linear -> batch norm -> ReLU -> linear -> batch norm
               -> scale and shift each bin -> ReLU = the factors of the magnitudes

One network knows one stem. Networks of several stems may be crossed (`Crossing`): then each also sees signals of the
others. Names and shapes of the weights are those of the published files, so that these load as they are.

References
----------
Stöter, Uhlich, Liutkus and Mitsufuji, "Open-Unmix - a reference implementation for music source separation", JOSS 2019.
Sawata, Uhlich, Takahashi and Mitsufuji, "All for one and one for all: improving music separation by bridging
networks", ICASSP 2021.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

Crossing = Literal["none", "average", "concatenate"]

# Between the LSTM layers, as published.
_DROPOUT = 0.4
# Smallest deviation of a bin, as a share of the largest one: bins that are nearly silent are not blown up.
_LEAST_DEVIATION = 1e-4
# Early published files hold more: the transform's window and the sample rate.
_WEIGHTS = re.compile(r"(input|output)_(mean|scale)|(fc|bn)[123]\.\w+|lstm\.\w+")


@dataclass(frozen=True, slots=True)
class OpenUnmixShape:
    """Sizes of one network.

    Parameters
    ----------
    channels : int, > 0
        Channels of the magnitudes.
    bins : int, > 0
        Bins of the magnitudes, for all of which it gives factors.
    heard_bins : int, in [1, bins]
        Lowest bins that it sees.
    hidden_size : int, > 0
        Width of the linear layers and, both directions together, of the LSTM; even if bidirectional.
    layers : int, > 0
        LSTM layers.
    bidirectional : bool
        False looks at no later frame.
    skips : int, > 0
        Signals of `hidden_size` that stand beside the LSTM's at the second linear layer.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    channels: int
    bins: int
    heard_bins: int
    hidden_size: int = 512
    layers: int = 3
    bidirectional: bool = True
    skips: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.heard_bins <= self.bins:
            raise ValueError(f"heard_bins must be in [1, {self.bins}], got {self.heard_bins}")
        if min(self.channels, self.hidden_size, self.layers, self.skips) < 1:
            raise ValueError("channels, hidden_size, layers and skips must be at least 1")
        if self.bidirectional and self.hidden_size % 2:
            raise ValueError(f"hidden_size must be even in two directions, got {self.hidden_size}")


class OpenUnmix(nn.Module):
    """The network of one stem.

    Parameters
    ----------
    shape : OpenUnmixShape
        Its sizes.
    """

    def __init__(self, shape: OpenUnmixShape) -> None:
        super().__init__()
        self.shape = shape
        hidden, outputs = shape.hidden_size, shape.channels * shape.bins
        self.fc1 = nn.Linear(shape.channels * shape.heard_bins, hidden, bias=False)
        self.bn1 = nn.BatchNorm1d(hidden)
        self.lstm = nn.LSTM(
            input_size=hidden,
            hidden_size=hidden // 2 if shape.bidirectional else hidden,
            num_layers=shape.layers,
            bidirectional=shape.bidirectional,
            dropout=_DROPOUT if shape.layers > 1 else 0.0,
        )
        self.fc2 = nn.Linear((shape.skips + 1) * hidden, hidden, bias=False)
        self.bn2 = nn.BatchNorm1d(hidden)
        self.fc3 = nn.Linear(hidden, outputs, bias=False)
        self.bn3 = nn.BatchNorm1d(outputs)
        # The published files store minus the mean and one over the deviation, and train both on.
        self.input_mean = nn.Parameter(torch.zeros(shape.heard_bins))
        self.input_scale = nn.Parameter(torch.ones(shape.heard_bins))
        self.output_mean = nn.Parameter(torch.ones(shape.bins))
        self.output_scale = nn.Parameter(torch.ones(shape.bins))

    def forward(self, magnitudes: Tensor) -> Tensor:
        """Give the factors of an uncrossed network.

        Parameters
        ----------
        magnitudes : float Tensor of shape (batch, channel, frame, bin)
            Of the mixture.

        Returns
        -------
        float Tensor of shape (batch, channel, frame, bin)
            Not negative; times the magnitudes they estimate the stem's.
        """
        signal = self.encode(magnitudes)
        return self.decode(torch.cat([signal, self.recur(signal)], dim=-1))

    def encode(self, magnitudes: Tensor) -> Tensor:
        """Turn magnitudes, (batch, channel, frame, bin), into the signal before the LSTM, (frame, batch, hidden)."""
        heard = magnitudes.permute(2, 0, 1, 3)[..., : self.shape.heard_bins]  # (frame, batch, channel, bin)
        standard = (heard + self.input_mean) * self.input_scale
        signal: Tensor = self.bn1(self.fc1(standard.flatten(2).flatten(0, 1)))
        return signal.view(*heard.shape[:2], -1).tanh()

    def recur(self, signal: Tensor) -> Tensor:
        """Give the LSTM's output, (frame, batch, hidden) to (frame, batch, hidden)."""
        output: Tensor = self.lstm(signal)[0]
        return output

    def decode(self, joined: Tensor) -> Tensor:
        """Turn the signals beside the LSTM and its output into factors.

        Parameters
        ----------
        joined : float Tensor of shape (frame, batch, (skips + 1) * hidden)
            The LSTM's output last.

        Returns
        -------
        float Tensor of shape (batch, channel, frame, bin)
        """
        inner = self.bn2(self.fc2(joined.flatten(0, 1))).relu()
        outer: Tensor = self.bn3(self.fc3(inner))
        outer = outer.view(*joined.shape[:2], self.shape.channels, self.shape.bins)
        return (outer * self.output_scale + self.output_mean).relu().permute(1, 2, 0, 3)

    @torch.no_grad()
    def standardize(self, mean: Tensor, deviation: Tensor) -> None:
        """Set the first standardisation from the statistics of the training's mixtures.

        Parameters
        ----------
        mean, deviation : float Tensor of shape (bin,)
            Of the magnitudes, over frames and channels; ``heard_bins`` or more. Deviations below 1e-4 of the largest
            count as that.
        """
        heard = self.shape.heard_bins
        least = _LEAST_DEVIATION * deviation.max()
        self.input_mean.copy_(-mean[:heard])
        self.input_scale.copy_(1 / deviation[:heard].clamp(min=float(least)).clamp(min=torch.finfo(torch.float32).tiny))


def crossed_factors(networks: Sequence[OpenUnmix], magnitudes: Tensor, crossing: Crossing) -> Tensor:
    """Give the factors of the networks of all stems.

    Parameters
    ----------
    networks : sequence of OpenUnmix
        One for each stem, of equal sizes.
    magnitudes : float Tensor of shape (batch, channel, frame, bin)
        Of the mixture.
    crossing : {"none", "average", "concatenate"}
        - "none": the networks know nothing of each other.
        - "average": the LSTMs all see the mean of the signals, and the second linear layers the mean of what stands
          before them (X-UMX).
        - "concatenate": the second linear layers see the signals of all networks side by side, in the order of the
          stems, and then their own LSTM.

    Returns
    -------
    float Tensor of shape (batch, stem, channel, frame, bin)
    """
    if crossing not in get_args(Crossing):
        raise ValueError(f"crossing must be one of {', '.join(get_args(Crossing))}; got `{crossing}`")
    signals = [network.encode(magnitudes) for network in networks]
    if crossing == "average":
        mean = torch.stack(signals).mean(dim=0)
        recurred = torch.stack([network.recur(mean) for network in networks]).mean(dim=0)
        joined = torch.cat([mean, recurred], dim=-1)
        return torch.stack([network.decode(joined) for network in networks], dim=1)
    recurrent = [network.recur(signal) for network, signal in zip(networks, signals, strict=True)]
    skips = [torch.cat(signals, dim=-1)] * len(networks) if crossing == "concatenate" else signals
    parts = zip(networks, skips, recurrent, strict=True)
    return torch.stack([network.decode(torch.cat([skip, own], dim=-1)) for network, skip, own in parts], dim=1)


def bin_statistics(magnitudes: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Measure mean and deviation of every bin over many mixtures, for `OpenUnmix.standardize`.

    Parameters
    ----------
    magnitudes : iterable of float Tensor of shape (..., frame, bin)
        At least one frame in all.

    Returns
    -------
    mean, deviation : float32 Tensor of shape (bin,)

    Raises
    ------
    ValueError
        If there is no frame.
    """
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for part in magnitudes:
        rows = part.double().flatten(0, -2)  # (frame, bin)
        size = rows.shape[0]
        if size == 0:
            continue
        # Chan, Golub and LeVeque's update by blocks.
        difference = rows.mean(dim=0) - mean
        squares = squares + (rows - rows.mean(dim=0)).square().sum(dim=0)
        squares = squares + difference.square() * (count * size / (count + size))
        mean = mean + difference * (size / (count + size))
        count += size
    if count == 0:
        raise ValueError("magnitudes: no frame to measure")
    return mean.float(), (squares / count).sqrt().float()


def published_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take out of a published file what is no weight.

    Parameters
    ----------
    state : mapping of str to Tensor
        Of one target, as published.

    Returns
    -------
    dict of str to Tensor
        For `OpenUnmix.load_state_dict`.
    """
    return {key: value for key, value in state.items() if _WEIGHTS.fullmatch(key)}


def crossnet_states(state: Mapping[str, Tensor], stems: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """Sort the weights of a published X-UMX by stem, under the names of `OpenUnmix`.

    Parameters
    ----------
    state : mapping of str to Tensor
        Of all stems, as published for the package asteroid.
    stems : sequence of str
        Names in the file.

    Returns
    -------
    dict of str to dict of str to Tensor
        A state for the network of each stem. Keys of the file that belong to no stem (windows) are left out; a file
        that lacks a weight gives a state that does not load.
    """
    names = {"enc.0": "fc1", "enc.1": "bn1", "dec.0": "fc2", "dec.1": "bn2", "dec.3": "fc3", "dec.4": "bn3"}
    states: dict[str, dict[str, Tensor]] = {}
    for stem in stems:
        states[stem] = found = {}
        for key, value in state.items():
            for part in ("layer_enc", "layer_dec"):
                if key.startswith(f"{part}.{stem}."):
                    kind, place, rest = key.removeprefix(f"{part}.{stem}.").split(".", 2)
                    found[f"{names.get(f'{kind}.{place}', kind)}.{rest}"] = value
            if key.startswith(f"layer_lstm.{stem}."):
                found[f"lstm.{key.removeprefix(f'layer_lstm.{stem}.')}"] = value
            for name in ("input_mean", "input_scale", "output_mean", "output_scale"):
                if key == f"mean_scale.{name}_{stem}":
                    found[name] = value
    return states
