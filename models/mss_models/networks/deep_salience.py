"""Deep Salience: a convolutional network that reads pitch salience off a stack of constant-Q transforms."""

from collections.abc import Mapping
from typing import Literal, Self, get_args

import torch
from torch import Tensor, nn

from mss_models.errors import ShapeError
from mss_models.harmonic_cqt import HARMONICS
from mss_models.networks.states import check_state
from mss_models.salience import BINS

Task = Literal["bass", "melody1", "melody2", "melody3", "multif0", "pitch", "vocal"]
TASKS: tuple[Task, ...] = get_args(Task)
CONTEXT_FRAMES = 7  # a frame's salience depends on no input further away: 2 + 2 + 1 + 1 + 1
THRESHOLD = 0.3  # voicing of the published decoder

_NORM_EPS = 1e-3
_COUNTER = "num_batches_tracked"  # of batch normalisation; the published files have none, and inference needs none


class DeepSalience(nn.Module):
    """The network of Deep Salience; its state dict has the published keys.

    Batch normalisation of the input, then five convolutions, each with ReLU and batch normalisation after it (in this
    order), the fifth reaching over more than an octave of bins; last a convolution of one cell and a sigmoid. The
    published weights exist for seven tasks of one shape: bass, melody by three definitions, all pitches (multif0),
    pitch of one instrument, vocal.

    References
    ----------
    Bittner, McFee, Salamon, Li and Bello, "Deep salience representations for F0 estimation in polyphonic music", ISMIR
    2017.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(len(HARMONICS), eps=_NORM_EPS)
        self.bendy1 = nn.Conv2d(len(HARMONICS), 128, 5, padding=2)
        self.bn1 = nn.BatchNorm2d(128, eps=_NORM_EPS)
        self.bendy2 = nn.Conv2d(128, 64, 5, padding=2)
        self.bn2 = nn.BatchNorm2d(64, eps=_NORM_EPS)
        self.smoothy1 = nn.Conv2d(64, 64, 3, padding=1)
        self.bn3 = nn.BatchNorm2d(64, eps=_NORM_EPS)
        self.smoothy2 = nn.Conv2d(64, 64, 3, padding=1)
        self.bn4 = nn.BatchNorm2d(64, eps=_NORM_EPS)
        self.distribute = nn.Conv2d(64, 8, (70, 3), padding=(0, 1))
        self.bn5 = nn.BatchNorm2d(8, eps=_NORM_EPS)
        self.squishy = nn.Conv2d(8, 1, 1)

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor]) -> Self:
        """Give a network for inference with published weights.

        Parameters
        ----------
        weights : mapping of str to Tensor
            Exactly the published keys and shapes.

        Raises
        ------
        StateMismatch
            If a key is missing, unexpected or of another shape.
        """
        network = cls()
        own = {key: value for key, value in network.state_dict().items() if not key.endswith(_COUNTER)}
        check_state(own, weights)
        network.load_state_dict(dict(weights), strict=False)
        return network.eval().requires_grad_(False)

    def forward(self, levels: Tensor) -> Tensor:
        """Estimate salience.

        Parameters
        ----------
        levels : float32 Tensor of shape (batch, harmonic, bin, frame)
            In [0, 1], see `mss_models.harmonic_cqt.levels`.

        Returns
        -------
        Tensor of shape (batch, bin, frame)
            In [0, 1].

        Raises
        ------
        ShapeError
            If harmonics or bins are not 6 and 360.
        """
        if levels.ndim != 4 or levels.shape[1:3] != (len(HARMONICS), BINS):
            raise ShapeError("levels", f"(batch, {len(HARMONICS)}, {BINS}, frame)", levels.shape)
        cells = self.bn0(levels)
        cells = self.bn1(torch.relu(self.bendy1(cells)))
        cells = self.bn2(torch.relu(self.bendy2(cells)))
        cells = self.bn3(torch.relu(self.smoothy1(cells)))
        cells = self.bn4(torch.relu(self.smoothy2(cells)))
        cells = nn.functional.pad(cells, (0, 0, 34, 35))  # 70 bins: one more above than below
        cells = self.bn5(torch.relu(self.distribute(cells)))
        return torch.sigmoid(self.squishy(cells)).squeeze(1)  # (batch, bin, frame)
