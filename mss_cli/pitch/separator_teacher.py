"""A separator that also tells the pitch, in the place of a teacher: it hears the mixture, not the vocals."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mss_cli.pitch.teachers import Salience, Source
from mss_cli.pitch.windows import Mono, windows

if TYPE_CHECKING:
    import torch

    from mss_models.separator import PitchSeparator, Separator


class SeparatorTeacher:
    """The salience of a prepared separator, window by window.

    Windows are as long as the separator's segments; of each only the middle half is kept.

    Parameters
    ----------
    separator : PitchSeparator
        Prepared for `device`.
    device : torch.device
        Where it computes.
    """

    name = "separator"

    def __init__(self, separator: "PitchSeparator", device: "torch.device") -> None:
        from mss_models.salience import THRESHOLD

        self.sample_rate = separator.sample_rate
        self.hop_samples = separator.salience_hop
        self.threshold = THRESHOLD
        self._separator = separator
        self._device = device
        self._context = max(1, separator.segment_samples // self.hop_samples // 4)

    def __call__(self, audio: Mono) -> Salience:
        """Do the same as `salience`."""
        return self.salience(audio)

    def salience(self, audio: Mono) -> Salience:
        """Tell the salience of a whole mixture; see `mss_cli.pitch.teachers.Teacher`."""
        return np.concatenate(list(self.pieces(lambda: [audio])), axis=1)

    def pieces(self, source: Source) -> Iterator[Salience]:
        """Tell the salience stretch by stretch; see `mss_cli.pitch.teachers.Teacher`."""
        import torch

        from mss_models.streaming import measure_scale

        separator, hop = self._separator, self.hop_samples
        scale = measure_scale(separator.normalization, (torch.from_numpy(block)[None] for block in source()))
        for window in windows(source(), hop=hop, piece=2 * self._context, context=self._context):
            wanted = window.before + window.frames
            # The frame of a last whole hop is centred on the sample after the end.
            audio = np.pad(window.audio, (0, max(0, wanted * hop - window.audio.size)))
            mixture = torch.from_numpy((audio - np.float32(scale.offset)) / np.float32(scale.factor))
            batch = mixture.to(self._device).expand(1, separator.channels, -1)  # (batch, channel, sample)
            salience = separator.salience(batch)[0].float().cpu().numpy()  # (bin, frame)
            yield salience[:, window.before : wanted]


def own_pitch(separator: "Separator", device: "torch.device") -> SeparatorTeacher | None:
    """Give a prepared separator's own salience, if it has one."""
    import torch

    from mss_models.networks.vocal_pitch_unet import WiringError
    from mss_models.separator import PitchSeparator

    if not isinstance(separator, PitchSeparator):
        return None
    try:
        separator.salience(torch.zeros(1, separator.channels, 1, device=device))
    except WiringError:  # of the vocals alone
        return None
    return SeparatorTeacher(separator, device)
