"""The short-time Fourier transform of Open-Unmix and its kin: frame ``k`` is centred on sample ``k * hop``.

Before its first and after its last sample the signal goes on mirrored, and the inverse divides by the sum of the
squared windows that are there. So the result on a track equals `torch.stft` and `torch.istft` with ``center=True``;
networks that were trained behind that transform need its very frames. Our own networks use `mss_models.stft`.

Both directions take a track as a whole or piece by piece (`CenteredAnalysis`, `CenteredSynthesis`), with equal results.

Where it differs from torch: a signal too short to be mirrored once is mirrored again and again, and where fewer
windows reach than 1 % of their usual sum (only with hops above a quarter of ``n_fft``, in the last samples) the inverse
fades out instead of dividing by nearly nothing.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from mss_models.errors import ShapeError
from mss_models.stft import StftSettings

# Share of the usual sum of squared windows below which the inverse no longer makes up for what is missing.
_LEAST_SHARE = 0.01


def centered_frames(samples: int, settings: StftSettings) -> int:
    """Frames of a signal of so many samples: ``samples // hop + 1``."""
    return samples // settings.hop_length + 1


def centered_stft(signal: Tensor, settings: StftSettings) -> Tensor:
    """Transform whole signals.

    Parameters
    ----------
    signal : float32 or float64 Tensor of shape (..., sample)
        At least 1 sample.
    settings : StftSettings
        Window length and hop, which must be at most half of it.

    Returns
    -------
    complex64 or complex128 Tensor of shape (..., frame, bin)
        `centered_frames` frames, the bins of a frame side by side.

    Raises
    ------
    ShapeError, ValueError
        If there is no sample; if the hop is too long.
    """
    analysis = CenteredAnalysis(settings)
    spectrum = analysis.push(signal)
    rest = analysis.finish()
    return rest if spectrum.shape[-2] == 0 else torch.cat([spectrum, rest], dim=-2)


def centered_istft(spectrum: Tensor, settings: StftSettings, samples: int) -> Tensor:
    """Turn whole spectrograms into signals; the inverse of `centered_stft`.

    Parameters
    ----------
    spectrum : complex64 or complex128 Tensor of shape (..., frame, bin)
        Not changed.
    settings : StftSettings
        The settings it was made with.
    samples : int, > 0
        Length of the signal; it must belong to this number of frames.

    Returns
    -------
    float32 or float64 Tensor of shape (..., sample)

    Raises
    ------
    ShapeError, ValueError
        If bins or frames do not fit; if the hop is too long.
    """
    expected = (centered_frames(samples, settings), settings.bins)
    if samples < 1 or spectrum.ndim < 2 or tuple(spectrum.shape[-2:]) != expected:
        raise ShapeError("spectrum", f"(..., {expected[0]} frames, {expected[1]} bins)", spectrum.shape)
    synthesis = CenteredSynthesis(settings)
    return torch.cat([synthesis.push(spectrum), synthesis.finish(samples)], dim=-1)


class CenteredAnalysis:
    """A track on its way through `centered_stft`, piece by piece.

    Parameters
    ----------
    settings : StftSettings
        The hop must be at most half of the window.

    Raises
    ------
    ValueError
        If the hop is too long.
    """

    def __init__(self, settings: StftSettings) -> None:
        _check(settings)
        self._settings = settings
        self._pending: Tensor | None = None  # mirrored signal from the next frame's first sample on
        self._recent: Tensor | None = None  # the last samples, of which the mirrored end is made
        self._started = False

    def push(self, signal: Tensor) -> Tensor:
        """Take the next samples and give the frames that are complete.

        Parameters
        ----------
        signal : float Tensor of shape (..., sample)
            Any number of samples; the other axes always the same.

        Returns
        -------
        complex Tensor of shape (..., frame, bin)
            Often of 0 frames.
        """
        half = self._settings.n_fft // 2
        if self._started and self._pending is not None and self._recent is not None:
            self._recent = torch.cat([self._recent, signal], dim=-1)[..., -half - 1 :]
            return self._transform(torch.cat([self._pending, signal], dim=-1))
        self._pending = signal if self._pending is None else torch.cat([self._pending, signal], dim=-1)
        if self._pending.shape[-1] <= half:
            return _no_frames(self._pending, self._settings)
        self._started = True
        self._recent = self._pending[..., -half - 1 :]
        return self._transform(torch.cat([self._pending[..., 1 : half + 1].flip(-1), self._pending], dim=-1))

    def finish(self) -> Tensor:
        """Give the last frames, (..., frame, bin).

        Raises
        ------
        ShapeError
            If there was not one sample.
        """
        half = self._settings.n_fft // 2
        if self._pending is None or (not self._started and self._pending.shape[-1] == 0):
            shape = () if self._pending is None else self._pending.shape
            raise ShapeError("signal", "(..., sample) with at least 1 sample", shape)
        if self._started and self._recent is not None:
            return self._transform(torch.cat([self._pending, self._recent[..., :-1].flip(-1)[..., :half]], dim=-1))
        samples = self._pending.shape[-1]
        place = torch.arange(-half, samples + half, device=self._pending.device)
        period = max(1, 2 * (samples - 1))
        place = place.remainder(period)
        return self._transform(self._pending[..., torch.minimum(place, period - place).clamp(max=samples - 1)])

    def _transform(self, padded: Tensor) -> Tensor:
        """Transform all whole frames and keep what the next one needs."""
        hop, n_fft = self._settings.hop_length, self._settings.n_fft
        frames = (padded.shape[-1] - n_fft) // hop + 1
        if frames < 1:
            self._pending = padded
            return _no_frames(padded, self._settings)
        self._pending = padded[..., frames * hop :]
        window, _, _ = _windows(self._settings, padded.dtype, padded.device)
        framed = padded.unfold(-1, n_fft, hop)[..., :frames, :] * window  # (..., frame, n_fft)
        spectrum: Tensor = torch.fft.rfft(framed, dim=-1)
        return spectrum


class CenteredSynthesis:
    """A spectrogram on its way through `centered_istft`, piece by piece.

    Parameters
    ----------
    settings : StftSettings
        The hop must be at most half of the window.

    Raises
    ------
    ValueError
        If the hop is too long.
    """

    def __init__(self, settings: StftSettings) -> None:
        _check(settings)
        self._settings = settings
        self._carried: Tensor | None = None  # rows of `hop` samples that later frames still reach
        self._frames = 0
        self._given = 0

    def push(self, spectrum: Tensor) -> Tensor:
        """Take the next frames and give the samples that are complete.

        Parameters
        ----------
        spectrum : complex Tensor of shape (..., frame, bin)
            At least 1 frame; the first axes always the same.

        Returns
        -------
        float Tensor of shape (..., sample)
            Sometimes of 0 samples.
        """
        settings = self._settings
        hop, overlap, frames = settings.hop_length, settings.overlap_frames, spectrum.shape[-2]
        framed: Tensor = torch.fft.irfft(spectrum, n=settings.n_fft, dim=-1)  # (..., frame, n_fft)
        _, window, _ = _windows(settings, framed.dtype, framed.device)
        rows = framed.new_zeros(*framed.shape[:-2], frames + overlap - 1, hop)
        if self._carried is not None:
            rows[..., : overlap - 1, :] = self._carried
        for i in range(overlap):
            piece = slice(i * hop, min((i + 1) * hop, settings.n_fft))
            part = framed[..., piece]
            rows[..., i : i + frames, : part.shape[-1]].addcmul_(part, window[piece])
        self._carried = rows[..., frames:, :].clone()
        first = self._frames
        self._frames += frames
        if first < overlap - 1:
            count = min(frames, overlap - 1 - first)
            rows[..., :count, :] *= self._edge(first, count, math.inf, framed)
        return self._trimmed(rows[..., :frames, :].flatten(-2), math.inf)

    def finish(self, samples: int) -> Tensor:
        """Give the last samples.

        Parameters
        ----------
        samples : int
            Length of the whole signal.

        Returns
        -------
        float Tensor of shape (..., sample)

        Raises
        ------
        ShapeError
            If the frames that came are not those of so many samples.
        """
        expected = centered_frames(samples, self._settings)
        if self._carried is None or self._frames != expected:
            raise ShapeError("spectrum", f"{expected} frames for {samples} samples", (self._frames,))
        rows = self._carried * self._edge(self._frames, self._carried.shape[-2], self._frames, self._carried)
        return self._trimmed(rows.flatten(-2), samples)

    def _edge(self, first: int, count: int, frames: float, like: Tensor) -> Tensor:
        """Factors of rows that fewer windows reach than of those in the middle, (row, hop)."""
        _, _, squares = _windows(self._settings, like.dtype, like.device)  # (piece, hop)
        total = squares.sum(dim=0)
        factors = torch.empty(count, squares.shape[-1], dtype=like.dtype, device=like.device)
        for place in range(count):
            row = first + place
            there = [i for i in range(squares.shape[0]) if 0 <= row - i < frames]
            share = squares[there].sum(dim=0) / total
            factors[place] = (1 / share.clamp(min=_LEAST_SHARE)).to(like.dtype)
        return factors

    def _trimmed(self, padded: Tensor, samples: float) -> Tensor:
        """Leave out what lies before the first sample and after the last one."""
        lead = min(padded.shape[-1], max(0, self._settings.n_fft // 2 - self._given))
        self._given += padded.shape[-1]
        excess = max(0.0, self._given - self._settings.n_fft // 2 - samples)
        return padded[..., lead : padded.shape[-1] - int(excess)]


def _check(settings: StftSettings) -> None:
    if settings.hop_length > settings.n_fft // 2:
        raise ValueError(f"hop_length must be in [1, {settings.n_fft // 2}], got {settings.hop_length}")


def _no_frames(signal: Tensor, settings: StftSettings) -> Tensor:
    dtype = torch.complex128 if signal.dtype == torch.float64 else torch.complex64
    return signal.new_zeros(*signal.shape[:-1], 0, settings.bins, dtype=dtype)


@lru_cache(maxsize=32)
def _windows(settings: StftSettings, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Analysis window; synthesis window over the sum of squares; squares in pieces of a hop, (piece, hop), double."""
    # Kept between calls, so never inference tensors: training could not save such ones for backward.
    with torch.inference_mode(False), torch.no_grad():
        n_fft, hop = settings.n_fft, settings.hop_length
        position = torch.arange(n_fft, dtype=torch.float64) * (2 * math.pi / n_fft)
        window = 0.5 - 0.5 * torch.cos(position)
        padded = torch.zeros(settings.overlap_frames * hop, dtype=torch.float64)
        padded[:n_fft] = window.square()
        squares = padded.view(-1, hop)
        total = squares.sum(dim=0).repeat(settings.overlap_frames)[:n_fft]
        squares = squares.to(device, torch.float32 if device.type == "mps" else torch.float64)
        return window.to(device, dtype), (window / total).to(device, dtype), squares
