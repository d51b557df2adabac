"""Makes a Demucs in the time domain a `Separator`."""

import torch

from mss_models.networks.demucs.demucs_separator import DemucsSeparator
from mss_models.networks.demucs.lean_time import LeanTimeDemucs
from mss_models.networks.demucs.time import TimeDemucs
from mss_models.networks.demucs.time_settings import TimeSettings
from mss_models.networks.network_separator import Signature
from mss_models.stft import StftSettings


class TimeDemucsSeparator(TimeDemucs, DemucsSeparator):
    """A Demucs in the time domain for all its stems, or for some of them.

    Parameters
    ----------
    settings : TimeSettings
        Sizes.
    """

    def __init__(self, settings: TimeSettings) -> None:
        signature = Signature(
            stems=settings.stems,
            sample_rate=settings.sample_rate,
            channels=settings.channels,
            segment_samples=settings.segment_samples,
            transform=StftSettings(n_fft=4096, hop_length=1024),
            normalization="deviation",
        )
        DemucsSeparator.__init__(self, signature)
        self.build(settings)

    def lean(self, device: torch.device, dtype: torch.dtype) -> LeanTimeDemucs:
        """Make a lean copy; see `DemucsSeparator.lean`."""
        with torch.device("meta"):
            network = TimeDemucs(self.settings)
        state = {key: value.to(device, copy=True) for key, value in self.state_dict().items()}
        network.load_state_dict(state, assign=True)
        network.requires_grad_(False).eval()
        return LeanTimeDemucs(network, dtype, self.stems)
