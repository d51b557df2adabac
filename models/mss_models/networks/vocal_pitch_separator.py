"""Makes a wiring of vocals and pitch a `Separator` that also tells the pitch."""

import copy

import torch
from torch import Tensor

from mss_models.networks.front_end import check_mixture
from mss_models.networks.network_separator import NetworkSeparator
from mss_models.networks.unet import fold_batch_norm
from mss_models.networks.vocal_pitch_unet import VocalPitchEstimate, VocalPitchSettings, VocalPitchUnet, WiringError
from mss_models.separator import Precision
from mss_models.stft import istft, stft


class VocalPitchSeparator(NetworkSeparator[VocalPitchUnet]):
    """Vocals, and the salience of their pitch, of a mono mixture.

    Wirings that need an oracle, or give no vocals or no pitch, can be built and trained too; they refuse what they
    cannot do with a `WiringError`. `estimate` and `forward` are the differentiable way for training and for
    oracles; `separate` and `salience` run a prepared copy of the network.

    Parameters
    ----------
    settings : VocalPitchSettings
        Wiring, front end and sizes.
    """

    def __init__(self, settings: VocalPitchSettings) -> None:
        super().__init__(VocalPitchUnet(settings), settings.signature)
        self.settings = settings

    @property
    def salience_hop(self) -> int:
        """Distance between frames of the salience, in samples."""
        return self.settings.front_end.stft.hop_length

    def prepare(self, device: torch.device, precision: Precision) -> None:
        """Make the copy of the network that `separate` and `salience` run.

        Parameters
        ----------
        device : torch.device
            Where mixtures will be.
        precision : {"fp32", "bf16", "fp16"}
            Of the networks; transforms, masks and what flows between networks stay in float32.

        Raises
        ------
        ValueError, WiringError
            If the precision is not one of these; if the wiring needs an oracle.
        """
        if self.settings.oracle is not None:
            raise WiringError(
                f"wiring `{self.settings.wiring}` needs the true {self.settings.oracle}: it can be trained and "
                "judged as an upper bound, not used on a mixture alone"
            )
        super().prepare(device, precision)

    def inference_copy(self) -> VocalPitchUnet:
        """Copy the networks in evaluation mode, without gradients, their batch norms folded."""
        network = copy.deepcopy(self.network)
        network.begin("all")  # a frozen network would hold on to its mode
        network = network.requires_grad_(False).eval()
        fold_batch_norm(network)
        return network

    def forward(self, mixture: Tensor) -> Tensor:
        """Estimate the vocals differentiably, in the network's own precision and mode.

        Parameters
        ----------
        mixture : float32 Tensor of shape (batch, 1, sample)
            At least 1 sample.

        Returns
        -------
        float32 Tensor of shape (batch, 1 stem, 1 channel, sample)
            The vocals.

        Raises
        ------
        WiringError
            If the wiring gives no vocals or needs an oracle.
        """
        return self.waveform(mixture, self.estimate(mixture))

    def estimate(
        self, mixture: Tensor, *, vocals: Tensor | None = None, salience: Tensor | None = None
    ) -> VocalPitchEstimate:
        """Estimate magnitudes and salience on the transform's frames, differentiably.

        Parameters
        ----------
        mixture : float32 Tensor of shape (batch, 1, sample)
            At least 1 sample.
        vocals : float32 Tensor of shape (batch, 1, sample) or None
            The true vocals, for "oracle-vocals".
        salience : float Tensor of shape (batch, 360, frame) or None
            The true salience at `VocalPitchUnet.frame_times`, for "oracle-pitch".

        Returns
        -------
        VocalPitchEstimate
            See `VocalPitchUnet.forward`.

        Raises
        ------
        WiringError
            If the oracle is missing.
        """
        check_mixture(mixture, self.channels)
        true_magnitude = None if vocals is None else self.network.magnitude(vocals)
        estimate: VocalPitchEstimate = self.network(
            self.network.magnitude(mixture), vocals_magnitude=true_magnitude, salience=salience
        )
        return estimate

    def waveform(self, mixture: Tensor, estimate: VocalPitchEstimate) -> Tensor:
        """Apply the mask of an estimate to the mixture, whose phase the vocals take.

        Parameters
        ----------
        mixture : float32 Tensor of shape (batch, 1, sample)
            What was estimated from.
        estimate : VocalPitchEstimate
            From `estimate`.

        Returns
        -------
        float32 Tensor of shape (batch, 1 stem, 1 channel, sample)
            The vocals.

        Raises
        ------
        WiringError
            If the estimate has no mask.
        """
        if estimate.mask is None:
            raise WiringError(f"wiring `{self.settings.wiring}` gives no vocals, only their pitch")
        grid = self.settings.front_end.stft
        masked = estimate.mask * stft(mixture, grid)  # (batch, 1, bin, frame)
        return istft(masked, grid, mixture.shape[-1]).unsqueeze(1)  # (batch, stem, channel, sample)

    def separate(self, mixture: Tensor) -> Tensor:
        """Estimate the vocals; see `mss_models.separator.Separator.separate`.

        Raises
        ------
        WiringError
            If the wiring gives no vocals.
        """
        return self.separate_with_salience(mixture)[0]

    def salience(self, mixture: Tensor) -> Tensor:
        """Tell the pitch of the vocals; see `mss_models.separator.PitchSeparator.salience`.

        Raises
        ------
        WiringError
            If the wiring gives no pitch.
        """
        if not self.settings.gives_pitch:
            raise WiringError(f"wiring `{self.settings.wiring}` gives no pitch, only the vocals")
        return self._at_samples(self._run(mixture), mixture)

    def separate_with_salience(self, mixture: Tensor) -> tuple[Tensor, Tensor | None]:
        """Do both with one run of the networks.

        Parameters
        ----------
        mixture : float32 Tensor of shape (batch, 1, sample)
            On the device of `prepare`.

        Returns
        -------
        tuple of float32 Tensors (batch, 1, 1, sample) and (batch, 360, frame)
            As from `separate` and `salience`; None instead of a salience if the wiring gives no pitch.

        Raises
        ------
        WiringError
            If the wiring gives no vocals.
        """
        estimate = self._run(mixture)
        with torch.no_grad():
            vocals = self.waveform(mixture, estimate)
        return vocals, None if estimate.salience is None else self._at_samples(estimate, mixture)

    def frame_times(self, frames: int) -> Tensor:
        """Times of the frames of `salience`: multiples of the hop from 0 on; (frame,), seconds, float64."""
        return torch.arange(frames, dtype=torch.float64) * (self.salience_hop / self.sample_rate)

    def _run(self, mixture: Tensor) -> VocalPitchEstimate:
        network = self.prepared_network
        check_mixture(mixture, self.channels)
        with torch.no_grad():  # no inference mode: callers may change the results in place
            estimate: VocalPitchEstimate = network(network.magnitude(mixture))
        return estimate

    def _at_samples(self, estimate: VocalPitchEstimate, mixture: Tensor) -> Tensor:
        """Cut a salience to the frames centred on the mixture's samples."""
        if estimate.salience is None:
            raise WiringError(f"wiring `{self.settings.wiring}` gives no pitch")
        grid = self.settings.front_end.stft
        before = grid.overlap_frames - 1 - grid.n_fft // 2 // grid.hop_length  # frames centred before sample 0
        frames = -(-mixture.shape[-1] // grid.hop_length)
        return estimate.salience[..., before : before + frames].contiguous()
