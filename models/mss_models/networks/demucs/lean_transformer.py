"""The transformer as `separate` runs it: norms and scales folded into the products, attention by pieces.

The stream that layers add to stays in float32; what is multiplied has the network's precision.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_models.networks.demucs.affine import Affine
from mss_models.networks.demucs.cross_transformer import Attention, CrossTransformer, TransformerLayer
from mss_models.networks.demucs.lean_branch import centre
from mss_models.networks.demucs.positions import line_positions, plane_positions

# Steps done at once where attention and feed-forward part go by pieces.
_PIECE = 256
_HIDDEN_PIECE = 672


class LeanTransformer:
    """See `CrossTransformer`; laid out (batch, bin, frame, channel) and (batch, 1, step, channel).

    Parameters
    ----------
    transformer : CrossTransformer
        With weights; not changed.
    dtype : torch.dtype
        Of the products.
    """

    def __init__(self, transformer: CrossTransformer, dtype: torch.dtype) -> None:
        self._norms = (transformer.norm_in, transformer.norm_in_t)
        self._layers = [_Layer(_known(layer), dtype) for layer in transformer.layers]
        self._layers_t = [_Layer(_known(layer), dtype) for layer in transformer.layers_t]

    def __call__(self, plane: Tensor, line: Tensor) -> tuple[Tensor, Tensor]:
        """Map both to the same shapes, in float32."""
        _, bins, frames, width = plane.shape
        cells = self._norms[0](plane.float()).transpose(1, 2)  # (batch, frame, bin, width)
        cells = (cells + plane_positions(bins, frames, width, plane.device)).flatten(1, 2)
        steps = self._norms[1](line.float()).flatten(1, 2)
        steps = steps + line_positions(steps.shape[1], width, line.device)
        for layer, layer_t in zip(self._layers, self._layers_t, strict=True):
            cells, steps = layer(cells, steps), layer_t(steps, cells)
        return torch.unflatten(cells, 1, (frames, bins)).transpose(1, 2), steps.unsqueeze(1)


class _Layer:
    """See `TransformerLayer`."""

    def __init__(self, layer: TransformerLayer, dtype: torch.dtype) -> None:
        attention = _attention(layer)
        width = attention.out_proj.in_features
        self._heads, self._crosses, self._dtype = attention.heads, layer.crosses, dtype
        weight, bias = attention.in_proj_weight.detach().clone(), attention.in_proj_bias.detach().clone()
        scale = 1 / math.sqrt(width // attention.heads)
        weight[:width] *= scale
        bias[:width] *= scale
        own, before = slice(0, width if layer.crosses else 3 * width), layer.norm1
        self._asking = _folded(weight[own], bias[own], before, dtype)
        if layer.crosses:
            self._asked = _folded(weight[width:], bias[width:], layer.norm2, dtype)
        self._found = _scaled(attention.out_proj, layer.gamma_1.scale, dtype)
        norm = layer.norm3 if layer.crosses else layer.norm2
        self._first = _folded(layer.linear1.weight, layer.linear1.bias, norm, dtype)
        self._second = _scaled(layer.linear2, layer.gamma_2.scale, dtype)
        self._epsilons = (layer.norm1.eps, norm.eps, layer.norm_out.eps)
        self._gain, self._offset = layer.norm_out.weight.detach(), layer.norm_out.bias.detach()

    def __call__(self, steps: Tensor, other: Tensor) -> Tensor:
        """Map float32 (batch, step, width) to a new tensor of the same shape."""
        width = steps.shape[-1]
        parts = self._asking(self._normed(steps, self._epsilons[0]))
        if self._crosses:
            asked = self._asked(self._normed(other, self._epsilons[0]))
            query, key, value = parts, asked[..., :width], asked[..., width:]
        else:
            query, key, value = parts.chunk(3, dim=-1)
        found = _attend(*(torch.unflatten(part, -1, (self._heads, -1)).transpose(1, 2) for part in (query, key, value)))
        steps = steps + self._found(found.transpose(1, 2).flatten(2))
        normed = self._normed(steps, self._epsilons[1])
        for start in range(0, steps.shape[1], _HIDDEN_PIECE):
            part = slice(start, start + _HIDDEN_PIECE)
            steps[:, part] += self._second(self._first(normed[:, part], gelu=True))
        _, variance = centre(steps, (1, 2))
        gain = self._gain * (variance + self._epsilons[2]).rsqrt()  # (batch, 1, width)
        return steps.mul_(gain).add_(self._offset)

    def _normed(self, steps: Tensor, epsilon: float) -> Tensor:
        """Bring each step to mean 0 and deviation 1, in the precision of the products."""
        return functional.layer_norm(steps, steps.shape[-1:], eps=epsilon).to(self._dtype)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend, (batch, head, step, channel) each; queries are scaled already.

    On a CPU torch's fused kernel is slow in half precision; there scores of a few queries at a time, which stay in
    the cache, are half as fast again.
    """
    if query.device.type != "cpu" or query.dtype == torch.float32:
        return functional.scaled_dot_product_attention(query, key, value, scale=1.0)
    found = query.new_empty(query.shape[0], query.shape[2], query.shape[1], query.shape[3]).transpose(1, 2)
    for item in range(query.shape[0]):
        for head in range(query.shape[1]):
            keys, values = key[item, head].t(), value[item, head]
            for start in range(0, query.shape[2], _PIECE):
                part = slice(start, start + _PIECE)
                found[item, head, part] = torch.mm((query[item, head, part] @ keys).softmax(dim=-1), values)
    return found


def _folded(weight: Tensor, bias: Tensor, norm: nn.LayerNorm, dtype: torch.dtype) -> Affine:
    """Fold gain and offset of a norm into the product after it."""
    gain, offset = norm.weight.detach(), norm.bias.detach()
    return Affine(weight.detach() * gain, bias.detach() + weight.detach() @ offset, dtype)


def _scaled(linear: nn.Linear, scale: Tensor, dtype: torch.dtype) -> Affine:
    """Fold a scale of each output into the product before it."""
    scale = scale.detach()
    return Affine(linear.weight.detach() * scale[:, None], linear.bias.detach() * scale, dtype)


def _known(layer: nn.Module) -> TransformerLayer:
    if not isinstance(layer, TransformerLayer):
        raise TypeError(f"not a layer of the transformer: {type(layer).__name__}")
    return layer


def _attention(layer: TransformerLayer) -> Attention:
    return layer.cross_attn if layer.crosses else layer.self_attn
