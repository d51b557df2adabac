"""A Demucs in the time domain as `separate` runs it: the network of `time`, with the lean levels of the hybrid's.

Estimates differ from the network's by rounding only. In lower precisions most layers compute in these; resampling,
recurrent layers, statistics of norms and the outermost levels stay in float32.
"""

import torch
from torch import Tensor

from mss_models.networks.demucs.doubling import halve_rate
from mss_models.networks.demucs.lean_layers import LeanDecoder, LeanEncoder
from mss_models.networks.demucs.time import TimeDemucs, TimeEncoder, entered, middle

# Levels that stay in float32, as in the hybrid's.
_FINE_ENCODERS = 2
_FINE_DECODERS = 1


class LeanTimeDemucs:
    """Runs a network without gradients.

    Parameters
    ----------
    network : TimeDemucs
        In evaluation mode, on its device; its weights are shared where they are not changed.
    dtype : torch.dtype
        Of the layers, but the outermost.
    stems : tuple of str
        Those to estimate, in this order.
    """

    def __init__(self, network: TimeDemucs, dtype: torch.dtype, stems: tuple[str, ...]) -> None:
        self._settings, self._lstm, self._dtype = network.settings, network.lstm, dtype
        self._encoder = [
            LeanEncoder(layer.as_layer(), torch.float32 if level < _FINE_ENCODERS else dtype)
            for level, layer in enumerate(network.encoder)
            if isinstance(layer, TimeEncoder)
        ]
        self._decoders: list[tuple[list[int], list[LeanDecoder]]] = []
        for own, levels in network.groups():
            places = [stems.index(stem) for stem in own if stem in stems]
            if not places:
                continue
            layers = [level.as_layer() for level in levels]
            if len(places) < len(own):
                layers[-1].keep_parts([own.index(stem) for stem in own if stem in stems], len(own))
            fine = len(layers) - _FINE_DECODERS
            lean = [LeanDecoder(one, dtype if index < fine else torch.float32) for index, one in enumerate(layers)]
            self._decoders.append((places, lean))

    def separate_into(self, estimates: Tensor, mixture: Tensor) -> None:
        """Estimate the stems of (batch, channel, sample) into (batch, stem, channel, sample)."""
        samples = mixture.shape[-1]
        entrance, mean, deviation = entered(mixture, self._settings)
        line = entrance.transpose(1, 2).unsqueeze(1).contiguous()  # (batch, 1, step, channel)
        del entrance
        skips: list[Tensor] = []
        for encode in self._encoder:
            line = encode(line)
            skips.append(line)
        if self._lstm is not None:
            context: Tensor = self._lstm(line[:, 0].transpose(1, 2).float())
            line = context.transpose(1, 2).unsqueeze(1).contiguous()
        for number, (places, levels) in enumerate(self._decoders):
            last = number == len(self._decoders) - 1
            # A decoder changes what it is given.
            signal = self._decode(line if last else line.clone(), skips if last else list(skips), levels)
            if self._settings.resample:
                signal = halve_rate(signal)
            signal = middle(signal, samples) * deviation + mean
            estimates[:, places] = torch.unflatten(signal, 1, (len(places), -1))
        if not self._settings.normalize:
            estimates.mul_((mixture != 0).any(dim=(1, 2))[:, None, None, None])  # biases sound in silence, too

    def _decode(self, line: Tensor, skips: list[Tensor], levels: list[LeanDecoder]) -> Tensor:
        """Decode (batch, 1, step, channel) to (batch, channel, sample) in float32, emptying the list of skips."""
        settings = self._settings
        lost = 0 if settings.context_padding else 2 * settings.context
        for decode in levels:
            steps = line.shape[2]
            length = (steps - lost - 1) * settings.stride + settings.kernel_size
            line, _ = decode(line, middle(skips.pop(), steps, axis=2), length)
        return line[:, 0].transpose(1, 2).float().contiguous()
