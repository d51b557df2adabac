"""Affine maps as `separate` runs them: on an x86 CPU with weights laid out once for oneDNN's kernels.

torch gives float32 products to MKL, which on some machines is a sixth slower than oneDNN, and lays out the weights of
half-precision ones anew at each call. Where oneDNN has no kernels for the machine, torch's own way is taken.
"""

import torch
from torch import Tensor
from torch.nn import functional


class Affine:
    """Maps (..., input) to (..., output).

    Parameters
    ----------
    weight : Tensor of shape (output, input)
        Not changed.
    bias : Tensor of shape (output,)
    dtype : torch.dtype
        Of input and output, float32 or bfloat16.
    """

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
        self._weight = weight.detach().to(dtype).contiguous()
        self._bias = bias.detach().to(dtype)
        self._packed = _fits(self._weight)
        if self._packed:
            self._weight = torch.ops.mkldnn._reorder_linear_weight(self._weight)

    def __call__(self, signal: Tensor, *, gelu: bool = False) -> Tensor:
        """Map a signal to a new one, by a GELU after it if wanted."""
        if self._packed:
            after: tuple[str, list[float], str] = ("gelu", [], "none") if gelu else ("none", [], "")
            result: Tensor = torch.ops.mkldnn._linear_pointwise(signal, self._weight, self._bias, *after)
            return result
        result = functional.linear(signal, self._weight, self._bias)
        return torch.ops.aten.gelu_(result) if gelu else result


def _fits(weight: Tensor) -> bool:
    """Tell whether oneDNN has kernels for a weight on this machine."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return False
    if not all(hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise")):
        return False
    return weight.dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported()
