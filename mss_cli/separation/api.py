"""The Python entry point: load a model once, separate arrays or files (docs/python.md)."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mss_cli.audio.formats import output_format
from mss_cli.devices import PrecisionChoice
from mss_cli.errors import InputError
from mss_cli.events import Event, Listener, TrackFinished, TrackProgress, ignore
from mss_cli.separation.memory import memory_errors
from mss_cli.separation.names import DEFAULT_TEMPLATE, Naming, check_template
from mss_cli.separation.opening import open_engine
from mss_cli.separation.settings import EngineSettings, ReadSettings, WriteSettings
from mss_cli.separation.stems import StemChoice, plan_stems
from mss_cli.separation.track import open_source, separate_track
from mss_cli.weights.manifest import DEFAULT

Block = NDArray[np.float32]
Progress = Callable[[float, float | None], None]

_BLOCK_SAMPLES = 1 << 16


class Model:
    """A model that is loaded once and separates any number of songs.

    Parameters
    ----------
    name : str
        A name that `mss-cli models` lists, the path of a checkpoint, or several of these joined by `+`.
    device : str
        "auto", "cpu", "cuda", "cuda:N" or "mps".
    precision : {"auto", "fp32", "bf16", "fp16"}
        As `--precision`.
    threads : int or None
        Threads of one operation; all cores if None.
    listener : callable
        Takes the events `warning` and `weights_ready`.

    Attributes
    ----------
    engine : Engine
        What `mss-cli separate` gives each of its tracks to.

    Raises
    ------
    UsageError, WeightsError, DeviceError
        If there is no such model, device or precision.
    """

    def __init__(
        self,
        name: str = DEFAULT,
        *,
        device: str = "auto",
        precision: PrecisionChoice = "auto",
        threads: int | None = None,
        listener: Listener = ignore,
    ) -> None:
        self.engine = open_engine(name, device=device, precision=precision, threads=threads, listener=listener)

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the stems it estimates."""
        return self.engine.separator.stems

    @property
    def sample_rate(self) -> int:
        """Rate it works at, Hz; inputs of other rates are resampled and restored."""
        return self.engine.separator.sample_rate

    def separate_array(
        self,
        mixture: Block,
        sample_rate: int,
        *,
        settings: EngineSettings | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Block]:
        """Separate an array.

        Parameters
        ----------
        mixture : float array of shape (channel, sample)
            1 or 2 channels, at least 1 sample, finite; not changed.
        sample_rate : int, Hz
            Of the mixture.
        settings : EngineSettings, optional
            Segment length, overlap, shifts.
        progress : callable, optional
            Called with the seconds done and the seconds in all.

        Returns
        -------
        dict of str to float32 array of shape (channel, sample)
            Each stem, as long as the mixture. `other` takes what the others leave, so that they sum to the mixture.

        Raises
        ------
        InputError
            If the array has another shape, no samples, or samples that are not finite.
        """
        if mixture.ndim != 2 or mixture.shape[0] not in (1, 2) or mixture.shape[1] == 0:
            hint = "give (channel, sample) with 1 or 2 channels and at least 1 sample"
            raise InputError(f"a mixture of shape {mixture.shape} cannot be separated", hint=hint)
        samples = np.asarray(mixture, np.float32)
        if not np.isfinite(samples).all():
            raise InputError("the mixture holds NaN or infinite samples", hint="repair it first")
        plan = plan_stems(self.stems, StemChoice())
        stems = np.empty((len(plan.parts), *samples.shape), np.float32)
        starts = range(0, samples.shape[1], _BLOCK_SAMPLES)
        pairs = self.engine.estimate(
            lambda: (samples[:, start : start + _BLOCK_SAMPLES] for start in starts),
            settings or EngineSettings(),
            sample_rate=sample_rate,
            channels=samples.shape[0],
        )
        done = 0
        with closing(pairs), memory_errors("the mixture"):
            for stretch, estimates in pairs:
                end = done + stretch.shape[-1]
                stems[..., done:end] = plan.apply(stretch, estimates)
                done = end
                if progress is not None:
                    progress(done / sample_rate, samples.shape[1] / sample_rate)
        return dict(zip(plan.names, stems, strict=True))

    def separate_file(
        self,
        path: str | Path,
        output: str | Path = "separated",
        *,
        stems: Sequence[str] | None = None,
        two_stems: str | None = None,
        residual: bool = False,
        format: str = "wav",
        depth: str | None = None,
        bitrate: int | None = None,
        filename: str = DEFAULT_TEMPLATE,
        settings: EngineSettings | None = None,
        progress: Progress | None = None,
    ) -> TrackFinished:
        """Separate a file, as `mss-cli separate` does.

        Parameters
        ----------
        path, output : str or Path
            The input, and the folder of the stems.
        stems, two_stems, residual, format, depth, bitrate, filename
            As the flags of these names; `bitrate` in bit/s.
        settings : EngineSettings, optional
            Segment length, overlap, shifts.
        progress : callable, optional
            Called about once a second with the seconds done and the seconds in all (None if unknown).

        Returns
        -------
        TrackFinished
            What was written.

        Raises
        ------
        MssError
            Of the class and with the exit code that the command would have; nothing is left half-written.
        """
        choice = StemChoice(None if stems is None else tuple(stems), two_stems, residual)
        write_settings = WriteSettings(choice=choice, format=output_format(format, depth, bitrate))
        source = open_source(Path(path), ReadSettings())
        names: Iterable[str] = plan_stems(self.stems, choice).names
        template = check_template(filename)
        if format == "stem.mp4":
            names, template = ("stems",), template if template != DEFAULT_TEMPLATE else "{track}.{ext}"
        naming = Naming(Path(output), template, self.engine.card.name)

        def listen(event: Event) -> None:
            if progress is not None and isinstance(event, TrackProgress):
                progress(event.done_seconds, event.duration_seconds)

        return separate_track(
            self.engine,
            source,
            naming.targets(Path(path), tuple(names), write_settings.format.extension),
            engine_settings=settings or EngineSettings(),
            write_settings=write_settings,
            listener=listen,
        )
