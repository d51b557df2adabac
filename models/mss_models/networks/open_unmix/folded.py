"""The networks of `network` as they run: folded, stems together where that saves work, layers one by one.

Standardisation and batch norms are folded into the linear layers, which work channel by channel on the magnitudes as
they lie in memory. The first linear layers of all stems are one. LSTM layers run in one direction over a block of
frames with a state that is carried on, so that a track of any length can pass through them in pieces.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mss_models.networks.open_unmix.network import Crossing, OpenUnmix

State = tuple[Tensor, Tensor]
"""Output and cell of an LSTM layer after its last frame, (1, batch, size) each."""


@dataclass(frozen=True, slots=True)
class FoldedLayer:
    """One direction of one LSTM layer.

    Parameters
    ----------
    weights : list of Tensor
        Input and recurrent weights and their biases, as `torch.lstm` takes them.
    size : int
        Width of its output.
    """

    weights: list[Tensor]
    size: int

    def start(self, batch: int) -> State:
        """Give the state before the first frame."""
        zero = self.weights[0].new_zeros(1, batch, self.size)
        return zero, zero

    def run(self, frames: Tensor, state: State, *, backward: bool = False) -> tuple[Tensor, State]:
        """Pass a block of frames through.

        Parameters
        ----------
        frames : Tensor of shape (frame, batch, feature)
            In the order of time.
        state : (Tensor, Tensor)
            After the block before, or after the block behind if backward.
        backward : bool
            From the last frame to the first.

        Returns
        -------
        output : Tensor of shape (frame, batch, size)
            In the order of time.
        state : (Tensor, Tensor)
            To go on with.
        """
        given = frames.flip(0) if backward else frames.contiguous()
        output, hidden, cell = torch.lstm(given, state, self.weights, True, 1, 0.0, False, False, False)
        return (output.flip(0) if backward else output), (hidden, cell)


@dataclass(frozen=True, slots=True)
class _Decoder:
    """Second and third linear layer of one stem; weights are (in, out)."""

    skip: Tensor
    recurrent: Tensor
    inner: Tensor
    outer: Tensor
    shift: Tensor


class FoldedNetworks:
    """The networks of all stems, ready to run.

    Parameters
    ----------
    networks : sequence of OpenUnmix
        One for each stem, of equal sizes; not changed. What needs no folding (the LSTMs) is shared with them if device
        and precision are theirs.
    crossing : {"none", "average", "concatenate"}
        See `mss_models.networks.open_unmix.network.crossed_factors`.
    device, dtype : torch.device, torch.dtype
        Where and in which precision to compute.
    """

    def __init__(
        self, networks: Sequence[OpenUnmix], crossing: Crossing, *, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.crossing: Crossing = crossing
        self.stems = len(networks)
        self.shape = networks[0].shape
        self.dtype = dtype
        with torch.no_grad():
            encoders = [_encoder(network) for network in networks]
            weights = torch.cat([weight for weight, _ in encoders], dim=1)  # (channel * bin, stem * hidden)
            self._encode = weights.view(self.shape.channels, self.shape.heard_bins, -1).to(device, dtype)
            self._shift = torch.cat([shift for _, shift in encoders]).to(device, dtype)
            self._decoders = [_decoder(network, device, dtype) for network in networks]
            self._layers = [_layers(network, device, dtype) for network in networks]

    @property
    def layers(self) -> int:
        """LSTM layers of each network."""
        return self.shape.layers

    @property
    def directions(self) -> int:
        """1, or 2 if bidirectional."""
        return 2 if self.shape.bidirectional else 1

    @property
    def signals(self) -> int:
        """Different signals that the LSTMs see: one for each stem, or one for all when they are averaged."""
        return 1 if self.crossing == "average" else self.stems

    def layer(self, stem: int, layer: int, *, backward: bool = False) -> FoldedLayer:
        """Give one direction of one LSTM layer of one stem."""
        return self._layers[stem][layer][int(backward)]

    def encode(self, magnitudes: Tensor) -> Tensor:
        """Turn magnitudes into the signals before the LSTMs.

        Parameters
        ----------
        magnitudes : float32 Tensor of shape (batch, channel, frame, bin)
            The lowest ``heard_bins``, or more.

        Returns
        -------
        Tensor of shape (frame, batch, signal, hidden)
        """
        heard = magnitudes[..., : self.shape.heard_bins].to(self.dtype).transpose(0, 2)  # (frame, channel, batch, bin)
        rows = heard.shape[0] * heard.shape[2]
        output = self._shift.expand(rows, -1)
        for channel in range(self.shape.channels):
            seen = heard[:, channel].reshape(rows, -1)
            output = torch.addmm(output, seen, self._encode[channel])
        signals = output.view(heard.shape[0], heard.shape[2], self.stems, -1).tanh_()
        return signals.mean(dim=2, keepdim=True) if self.crossing == "average" else signals

    def recur(self, signals: Tensor) -> Tensor:
        """Pass a whole track through all LSTM layers, (frame, batch, signal, hidden) to (frame, batch, stem, hidden).

        Averaged networks give the mean of the stems: (frame, batch, 1, hidden).
        """
        frames, batch, _, hidden = signals.shape
        outputs = signals.new_empty(frames, batch, self.signals, hidden)
        for stem in range(self.stems):
            current = signals[:, :, stem if self.signals > 1 else 0]
            for layer in range(self.layers):
                parts = []
                for direction in range(self.directions):
                    one = self.layer(stem, layer, backward=direction == 1)
                    parts.append(one.run(current, one.start(batch), backward=direction == 1)[0])
                current = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
            if self.signals > 1:
                outputs[:, :, stem] = current
            elif stem == 0:
                outputs[:, :, 0] = current / self.stems
            else:
                outputs[:, :, 0] += current / self.stems
        return outputs

    def decode(self, signals: Tensor, recurred: Tensor) -> Tensor:
        """Give the factors of all stems over a block of frames of one track.

        Parameters
        ----------
        signals, recurred : Tensor of shape (frame, signal, hidden)
            Of `encode` and `recur`.

        Returns
        -------
        Tensor of shape (stem, channel, frame, bin)
            Not negative. In memory (stem, frame, channel, bin).
        """
        shape = self.shape
        factors = signals.new_empty(self.stems, signals.shape[0], shape.channels * shape.bins)
        beside = signals.flatten(1) if self.crossing == "concatenate" else None
        for stem, decoder in enumerate(self._decoders):
            place = stem if self.signals > 1 else 0
            skip = signals[:, place] if beside is None else beside
            inner = torch.addmm(decoder.inner, skip, decoder.skip).addmm_(recurred[:, place], decoder.recurrent)
            torch.addmm(decoder.shift, inner.relu_(), decoder.outer, out=factors[stem])
        return factors.relu_().view(self.stems, -1, shape.channels, shape.bins).transpose(1, 2)


def _norm(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Scale and shift that a batch norm is when it no longer learns."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("the batch norm has no statistics")
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def _encoder(network: OpenUnmix) -> tuple[Tensor, Tensor]:
    """Give weight, (channel * bin, hidden), and shift, (hidden,), of standardisation, first linear layer and norm."""
    scale, shift = _norm(network.bn1)
    weight = network.fc1.weight.double().view(-1, network.shape.channels, network.shape.heard_bins)
    # (hidden, channel, bin)
    weight = weight * network.input_scale.double() * scale[:, None, None]
    shift = shift + (weight * network.input_mean.double()).sum(dim=(1, 2))
    return weight.flatten(1).t().float(), shift.float()


def _decoder(network: OpenUnmix, device: torch.device, dtype: torch.dtype) -> _Decoder:
    scale, shift = _norm(network.bn2)
    second = (network.fc2.weight.double() * scale[:, None]).t()  # (skip + hidden, hidden)
    split = network.shape.skips * network.shape.hidden_size
    outer_scale, outer_shift = _norm(network.bn3)
    gain = network.output_scale.double().repeat(network.shape.channels)
    outer = (network.fc3.weight.double() * (outer_scale * gain)[:, None]).t()
    outer_shift = outer_shift * gain + network.output_mean.double().repeat(network.shape.channels)
    parts = (second[:split], second[split:], shift, outer, outer_shift)
    return _Decoder(*(part.to(device, dtype).contiguous() for part in parts))


def _layers(network: OpenUnmix, device: torch.device, dtype: torch.dtype) -> list[list[FoldedLayer]]:
    """Give the LSTM by layer and direction."""
    layers = []
    for layer in range(network.shape.layers):
        directions = []
        for suffix in ("", "_reverse")[: 2 if network.shape.bidirectional else 1]:
            names = (f"{kind}_l{layer}{suffix}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            weights = [network.lstm.get_parameter(name).detach().to(device, dtype) for name in names]
            directions.append(FoldedLayer(weights, network.lstm.hidden_size))
        layers.append(directions)
    return layers
