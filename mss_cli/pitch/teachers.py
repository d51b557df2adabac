"""What estimates the salience of pitch: Deep Salience where its weights are given, else pYIN.

Both hear mono audio and give salience on the grid of `mss_models.salience`, a frame every 256 samples of 22,050 Hz.
They take a track in stretches, so that memory does not grow with its length. Pitch networks learn from them (hence the
name), and `mss-cli separate --pitch` asks them about separated vocals.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from mss_cli.errors import UsageError, WeightsError
from mss_cli.pitch.windows import Mono, Window, windows

if TYPE_CHECKING:
    from mss_models.networks.deep_salience import DeepSalience

Salience = NDArray[np.float32]
Source = Callable[[], Iterable[Mono]]

SAMPLE_RATE = 22_050
HOP_SAMPLES = 256
_NETWORK_PIECE = 256  # frames that go through the network at once; their maps take about 100 MB


class Teacher(Protocol):
    """Tells the salience of pitch in a mono signal.

    Attributes
    ----------
    sample_rate : int, Hz
        Rate of the audio it hears.
    hop_samples : int
        Distance between frames; frame k is centred on sample ``k * hop_samples``.
    threshold : float
        Salience from which on a frame has a pitch.
    name : str
        Changes with anything that changes what it gives.
    """

    @property
    def sample_rate(self) -> int:
        """Rate of the audio it hears, Hz."""

    @property
    def hop_samples(self) -> int:
        """Distance between frames, in samples."""

    @property
    def threshold(self) -> float:
        """Salience from which on a frame has a pitch."""

    @property
    def name(self) -> str:
        """Changes with anything that changes what it gives."""

    def salience(self, audio: Mono) -> Salience:
        """Tell the salience of a whole signal.

        Parameters
        ----------
        audio : float32 array of shape (sample,)
            Mono, at `sample_rate`.

        Returns
        -------
        float32 array of shape (360, frame)
            In [0, 1]; ``1 + sample // hop_samples`` frames.
        """

    def pieces(self, source: Source) -> Iterator[Salience]:
        """Tell the salience stretch by stretch.

        Parameters
        ----------
        source : callable
            Gives the signal from its start as blocks of shape (sample,); may be called more than once.

        Yields
        ------
        float32 array of shape (360, frame)
            Following each other without a gap; joined they are what `salience` gives.
        """

    def __call__(self, audio: Mono) -> Salience:
        """Do the same as `salience`."""


class _Pieces(ABC):
    """A teacher by its `pieces`."""

    sample_rate = SAMPLE_RATE
    hop_samples = HOP_SAMPLES

    @abstractmethod
    def pieces(self, source: Source) -> Iterator[Salience]:
        """Tell the salience piece by piece; see `Teacher`."""

    def __call__(self, audio: Mono) -> Salience:
        """Do the same as `salience`."""
        return self.salience(audio)

    def salience(self, audio: Mono) -> Salience:
        """Tell the salience of a whole signal; see `Teacher`."""
        return np.concatenate(list(self.pieces(lambda: [audio])), axis=1)


class DeepSalienceTeacher(_Pieces):
    """The network of Deep Salience with published weights.

    Levels are relative to the largest one of the track, so a track is heard twice: for that, then for its pitch.

    Parameters
    ----------
    weights : Path
        A safetensors file with exactly the published keys.
    piece_frames : int
        Frames whose constant-Q transforms are computed at once.

    Raises
    ------
    WeightsError
        If the file cannot be read or does not fit.

    References
    ----------
    Bittner, McFee, Salamon, Li and Bello, "Deep salience representations for F0 estimation in polyphonic music", ISMIR
    2017.
    """

    def __init__(self, weights: Path, *, piece_frames: int = 1024) -> None:
        from mss_models.harmonic_cqt import HarmonicCqt
        from mss_models.networks.deep_salience import THRESHOLD

        self.threshold = THRESHOLD
        self._network, self.name = _published(weights)
        self._transform = HarmonicCqt()
        self._piece = piece_frames

    def pieces(self, source: Source) -> Iterator[Salience]:
        """Tell the salience stretch by stretch; zero everywhere in digital silence. See `Teacher`."""
        import torch

        from mss_models.harmonic_cqt import CONTEXT_FRAMES, SMALLEST, levels
        from mss_models.networks.deep_salience import CONTEXT_FRAMES as NETWORK_FRAMES

        def magnitudes(window: Window, margin: int) -> tuple[torch.Tensor, int]:
            """Magnitudes of the frames wanted with up to ``margin`` more on each side, and how many before."""
            stack = self._transform(torch.from_numpy(window.audio)[None])
            before = min(margin, window.before)
            first = window.before - before
            return stack[..., first : window.before + window.frames + margin], before

        peak = 0.0
        with torch.inference_mode():
            for window in self._windows(source, CONTEXT_FRAMES):
                peak = max(peak, float(magnitudes(window, 0)[0].amax()))
            for window in self._windows(source, CONTEXT_FRAMES + NETWORK_FRAMES):
                if peak < SMALLEST:
                    yield np.zeros((360, window.frames), np.float32)
                    continue
                heard, before = magnitudes(window, NETWORK_FRAMES)
                scaled = levels(heard, torch.tensor([peak]))
                for start in range(before, before + window.frames, _NETWORK_PIECE):
                    end = min(start + _NETWORK_PIECE, before + window.frames)
                    first = max(0, start - NETWORK_FRAMES)
                    salience = self._network(scaled[..., first : end + NETWORK_FRAMES])[0]  # (bin, frame)
                    yield salience[:, start - first : end - first].numpy()

    def _windows(self, source: Source, context: int) -> Iterator[Window]:
        return windows(source(), hop=self.hop_samples, piece=self._piece, context=context)


class PyinTeacher(_Pieces):
    """Probabilistic YIN, one voice, drawn on the grid: ridges of height 1 where it hears a voice.

    Parameters
    ----------
    lowest_hz, highest_hz : float
        Range of the voice.

    Raises
    ------
    UsageError
        If librosa is not installed.

    References
    ----------
    Mauch and Dixon, "pYIN: a fundamental frequency estimator using probabilistic threshold distributions", ICASSP 2014;
    computed by librosa.
    """

    threshold = 0.5

    def __init__(self, *, lowest_hz: float = 65.0, highest_hz: float = 1050.0) -> None:
        check_pyin()
        self.name = f"pyin-{lowest_hz:g}-{highest_hz:g}"
        self._range = lowest_hz, highest_hz
        self._piece, self._context = 1024, 86  # 12 s, and a second around it for the Viterbi path to settle

    def pieces(self, source: Source) -> Iterator[Salience]:
        """Tell the salience stretch by stretch; see `Teacher`."""
        import torch

        from mss_models.salience import render

        for window in windows(source(), hop=self.hop_samples, piece=self._piece, context=self._context):
            pitch = self._pitch(window.audio)[window.before : window.before + window.frames]
            yield render(torch.from_numpy(pitch)[None])[0].numpy()  # (bin, frame)

    def _pitch(self, audio: Mono) -> Mono:
        """Give the pitch of each frame in Hz, 0 where there is none."""
        if not audio.any():
            return np.zeros(1 + audio.size // self.hop_samples, np.float32)
        import librosa

        lowest, highest = self._range
        pitch, _, _ = librosa.pyin(audio, fmin=lowest, fmax=highest, sr=self.sample_rate, hop_length=self.hop_samples)
        heard: Mono = np.nan_to_num(pitch, nan=0.0).astype(np.float32)
        return heard


def find_teacher(weights: Path | None) -> Teacher:
    """Give Deep Salience where its weights are given, else pYIN.

    Parameters
    ----------
    weights : Path or None
        Published weights of Deep Salience as safetensors.

    Raises
    ------
    UsageError, WeightsError
        If pYIN is wanted and librosa is not installed; if the weights cannot be read or do not fit.
    """
    return PyinTeacher() if weights is None else DeepSalienceTeacher(weights)


def check_pyin() -> None:
    """Refuse pYIN where librosa is not installed.

    Raises
    ------
    UsageError
        Naming the extra to install, and the way around.
    """
    if find_spec("librosa") is None:
        hint = "install it with `pip install 'mss-cli[research]'`, or give weights with `--pitch-weights`"
        raise UsageError("pYIN, which reads the pitch, needs librosa", hint=hint)


def _published(path: Path) -> "tuple[DeepSalience, str]":
    """Read published weights; the network, and a name with their check sum."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    from mss_models.errors import StateMismatch
    from mss_models.networks.deep_salience import DeepSalience

    try:
        content = path.read_bytes()
        return DeepSalience.from_weights(load(content)), f"deep-salience-{sha256(content).hexdigest()[:8]}"
    except (SafetensorError, OSError, StateMismatch) as error:
        message = f"cannot read the weights of Deep Salience: {str(error).splitlines()[0][:200]}"
        raise WeightsError(message, path=str(path), hint="give one of its published tasks as safetensors") from error
