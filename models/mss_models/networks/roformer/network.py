"""RoFormers: from the complex spectrogram of a mixture to those of its stems.

    spectrogram -> numbers for each frame and band -> [along time, along bands] x depth -> a mask for each stem
                -> masks x spectrogram

Names and shapes of the weights are those of the files published for github.com/ZFTurbo/Music-Source-Separation-Training
and of the first versions of github.com/lucidrains/BS-RoFormer.

References
----------
Lu, Wang, Kong and Hung, "Music source separation with band-split RoPE transformer", ICASSP 2024.
Wang, Lu and Won, "Mel-Band RoFormer for music source separation", ISMIR 2023, late-breaking demos.
"""

import torch
from torch import Tensor, nn

from mss_models.errors import ShapeError
from mss_models.networks.roformer.attention import RotaryPositions, UnitNorm
from mss_models.networks.roformer.masks import BandSplit, MaskHead
from mss_models.networks.roformer.settings import RoformerSettings
from mss_models.networks.roformer.transformer import AxialTransformers


class Roformer(nn.Module):
    """The network, BS-RoFormer or Mel-Band RoFormer.

    Parameters
    ----------
    settings : RoformerSettings
    """

    def __init__(self, settings: RoformerSettings) -> None:
        super().__init__()
        self.settings = settings
        self.layers = nn.ModuleList(AxialTransformers(settings) for _ in range(settings.depth))
        if settings.kind == "band-split":
            self.final_norm = UnitNorm(settings.width)
        self.band_split = BandSplit(settings)
        self.mask_estimators = nn.ModuleList(MaskHead(settings) for _ in settings.stems)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Estimate the stems' spectrograms.

        Parameters
        ----------
        spectrum : complex64 Tensor of shape (batch, frame, bin, channel)
            Of the mixture.

        Returns
        -------
        complex64 Tensor of shape (batch, stem, frame, bin, channel)

        Raises
        ------
        ShapeError
            If bins or channels are others than in the settings.
        """
        sizes = (self.settings.transform.bins, self.settings.channels)
        if spectrum.ndim != 4 or tuple(spectrum.shape[2:]) != sizes:
            raise ShapeError("spectrum", f"(batch, frame, {sizes[0]} bins, {sizes[1]} channels)", spectrum.shape)
        cells = self._transformed(self.band_split(torch.view_as_real(spectrum).to(self.dtype)))
        estimates = [spectrum * torch.view_as_complex(head(cells)) for head in self.mask_estimators]
        joined = torch.stack(estimates, dim=1)
        if self.settings.silent_zero:
            joined[:, :, :, 0] = 0
        return joined

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the layers."""
        return next(self.mask_estimators.parameters()).dtype

    @property
    def positions(self) -> tuple[RotaryPositions, ...]:
        """Those of all layers, in their order."""
        return tuple(module for module in self.modules() if isinstance(module, RotaryPositions))

    def _transformed(self, cells: Tensor) -> Tensor:
        """Run the transformers, (batch, frame, band, width) to the same."""
        earlier: Tensor | None = None
        for transformers in self.layers:
            cells = transformers(cells, earlier)
            if self.settings.skips:
                earlier = cells if earlier is None else earlier + cells
        if self.settings.kind == "band-split":
            cells = self.final_norm(cells)
        return cells
