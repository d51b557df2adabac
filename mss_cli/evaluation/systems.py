"""What can be evaluated: a model, a folder of estimates, an oracle, or the mixture itself."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from mss_cli.datasets.folders import audio_files, find_f0
from mss_cli.datasets.track import ACCOMPANIMENT, MIXTURE, Part, Signal, Track, aligned, files_fingerprint
from mss_cli.errors import DatasetError, InputError, MemoryExhausted
from mss_cli.evaluation.pitch_scores import F0
from mss_cli.evaluation.request import SystemRequest
from mss_cli.events import Json, Listener, TrackProgress, Warned
from mss_cli.separation.scratch import Scratch

if TYPE_CHECKING:
    from mss_cli.evaluation.oracles import Oracle
    from mss_cli.separation.engine import Engine
    from mss_cli.separation.settings import EngineSettings

Block = NDArray[np.float32]

_PROGRESS_SECONDS = 1.0
# Words of other tools for "everything but vocals".
_ALIASES = {"instrumental": ACCOMPANIMENT, "karaoke": ACCOMPANIMENT, "no_vocals": ACCOMPANIMENT}


@dataclass(frozen=True, slots=True)
class Estimates:
    """Estimated stems of one track, at its rate and channels.

    Attributes
    ----------
    signals : mapping of str to callable
        Each gives the blocks of a stem, (channel, sample) float32, from the start, any number of times.
    files : mapping of str to Path
        Where a stem was read from; none if it was computed.
    pitch : callable or None
        Gives the pitch of the vocals; None if the system tells none, or nobody has labels to score it by.
    """

    signals: Mapping[str, Callable[[], Iterator[Block]]]
    files: Mapping[str, Path] = field(default_factory=dict)
    pitch: Callable[[], F0] | None = None


class System(Protocol):
    """Something that gives estimates."""

    @property
    def kind(self) -> str:
        """One of "model", "estimates", "oracle", "baseline"."""

    @property
    def name(self) -> str:
        """For tables."""

    @property
    def settings(self) -> Mapping[str, Json]:
        """Everything that changes the estimates."""

    def fingerprint(self, track: Track) -> str:
        """Give a text that changes with the estimates of a track beyond name and settings."""

    def estimates(self, track: Track, scratch: Path, listener: Listener) -> AbstractContextManager[Estimates]:
        """Make or find the estimates of a track; temporary files go to `scratch`.

        Raises
        ------
        MssError
            If there are none.
        """


@dataclass(frozen=True, slots=True)
class MixtureBaseline:
    """The mixture, untouched, as estimate of every stem."""

    kind: str = "baseline"
    name: str = "mixture"

    @property
    def settings(self) -> Mapping[str, Json]:
        """Nothing to set."""
        return {}

    def fingerprint(self, track: Track) -> str:
        """Nothing beyond the track."""
        return ""

    @contextmanager
    def estimates(self, track: Track, scratch: Path, listener: Listener) -> Iterator[Estimates]:
        """Give the mixture for every stem, and for the accompaniment."""
        track.check_mixture()
        yield Estimates(dict.fromkeys((*track.stems, ACCOMPANIMENT), track.mixture.blocks))


@dataclass(frozen=True, slots=True)
class OracleSystem:
    """Estimates made from the true stems."""

    name: "Oracle"
    kind: str = "oracle"

    @property
    def settings(self) -> Mapping[str, Json]:
        """The transform."""
        return {"n_fft": 2048, "hop_length": 1024}

    def fingerprint(self, track: Track) -> str:
        """Nothing beyond the track."""
        return ""

    @contextmanager
    def estimates(self, track: Track, scratch: Path, listener: Listener) -> Iterator[Estimates]:
        """Filter the true stems from the mixture."""
        track.check_mixture()
        from mss_cli.evaluation.oracles import oracle_estimates

        channels = _form(track)[1]

        def source() -> Iterator[Block]:
            return aligned([track.mixture.blocks(), *(signal.blocks() for _, signal in track.references)])

        with Scratch(scratch, outputs=len(track.stems), channels=channels) as made:
            for block in oracle_estimates(self.name, source, channels=channels):
                made.append(block)
            yield _from_scratch(made, track.stems)


@dataclass(frozen=True, slots=True)
class EstimatesFolder:
    """Stems that some system wrote: `folder/<subset>/<track>/<stem>.*`, museval's layout."""

    folder: Path
    kind: str = "estimates"

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def settings(self) -> Mapping[str, Json]:
        """Nothing is known of how they were made."""
        return {}

    def fingerprint(self, track: Track) -> str:
        """Size and time of every file."""
        pitch = self._pitch(track)
        return files_fingerprint((*self._files(track).values(), *([] if pitch is None else [pitch])))

    @contextmanager
    def estimates(self, track: Track, scratch: Path, listener: Listener) -> Iterator[Estimates]:
        """Find the files; resample those at another rate than the track's."""
        files = self._files(track)
        if not files:
            folder = self.folder / track.subset / track.name
            raise DatasetError("no estimates there", path=str(folder), hint="expected <subset>/<track>/<stem>.wav")
        rate, channels = _form(track)
        signals: dict[str, Callable[[], Iterator[Block]]] = {}
        for stem, path in files.items():
            signal = Signal((Part(path),))
            own_rate, own_channels = signal.form()
            if own_channels != channels:
                hint = "write estimates with the channels of the references"
                raise InputError(f"{own_channels} channels, the references have {channels}", path=str(path), hint=hint)
            signals[stem] = signal.blocks
            if own_rate != rate:
                listener(Warned(f"at {own_rate} Hz: resampled to the {rate} Hz of the references", path))
                signals[stem] = _resampled(signal, own_rate, rate, channels)
        pitch = self._pitch(track)
        yield Estimates(signals, files, pitch=None if pitch is None else partial(F0.read, pitch))

    def _folders(self, track: Track) -> tuple[Path, Path]:
        return self.folder / track.subset / track.name, self.folder / track.name

    def _pitch(self, track: Track) -> Path | None:
        if track.pitch is None:
            return None
        return next(filter(None, map(find_f0, self._folders(track))), None)

    def _files(self, track: Track) -> dict[str, Path]:
        found = next((files for files in map(audio_files, self._folders(track)) if files), {})
        named = {_ALIASES.get(stem, stem): path for stem, path in found.items() if stem != MIXTURE}
        return dict(sorted(named.items()))


@dataclass(slots=True)
class ModelSystem:
    """A separator, loaded once."""

    engine: "Engine"
    engine_settings: "EngineSettings"
    weights: str
    kind: str = "model"

    @property
    def name(self) -> str:
        """As its card says."""
        return self.engine.card.name

    @property
    def settings(self) -> Mapping[str, Json]:
        """What changes the sound."""
        chosen = self.engine_settings
        seconds = self.engine.segment_seconds(chosen)  # None where the whole track is heard
        return {
            "architecture": self.engine.card.architecture,
            "device": self.engine.device.type,
            "overlap": chosen.overlap,
            "precision": self.engine.precision,
            "seed": chosen.seed if chosen.shifts else None,
            "segment_seconds": None if seconds is None else round(seconds, 6),
            "shifts": chosen.shifts,
        }

    def fingerprint(self, track: Track) -> str:
        """The weights."""
        return self.weights

    @contextmanager
    def estimates(self, track: Track, scratch: Path, listener: Listener) -> Iterator[Estimates]:
        """Separate the mixture into a temporary file of floats."""
        track.check_mixture()
        from mss_cli.separation.stems import StemChoice, plan_stems

        rate, channels = track.mixture.form()
        plan = plan_stems(self.engine.separator.stems, StemChoice())
        pairs = self.engine.estimate(
            track.mixture.blocks, self.engine_settings, sample_rate=rate, channels=channels, scratch=scratch
        )
        seconds, samples, told = track.mixture.seconds(), 0, time.monotonic()
        with Scratch(scratch, outputs=len(plan.parts), channels=channels) as made:
            with _enough_memory(track), closing(pairs):
                for mixture, estimates in pairs:
                    made.append(plan.apply(mixture, estimates))
                    samples += mixture.shape[-1]
                    if time.monotonic() - told >= _PROGRESS_SECONDS:
                        told = time.monotonic()
                        listener(TrackProgress(track.path, samples / rate, seconds))
            yield replace(_from_scratch(made, plan.names), pitch=self._pitch(track))

    def _pitch(self, track: Track) -> Callable[[], F0] | None:
        """Give the pitch that the separator itself hears in the mixture, if it tells any."""
        if track.pitch is None:
            return None
        from mss_cli.pitch.hearing import hear
        from mss_cli.pitch.separator_teacher import own_pitch

        teacher = own_pitch(self.engine.separator, self.engine.device)
        if teacher is None:
            return None

        def told() -> F0:
            with _enough_memory(track):
                heard = hear(teacher, track.mixture.blocks, sample_rate=track.mixture.form()[0])
            frequencies = heard.frequencies[0].astype(np.float64)
            return F0(heard.hop_seconds * np.arange(frequencies.size), frequencies)

        return told


@contextmanager
def _enough_memory(track: Track) -> Iterator[None]:
    """Say what to do where the memory of the device is too small."""
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        hint = "use `--segment-seconds` with less, or `--device cpu`"
        raise MemoryExhausted("out of memory", path=str(track.path), hint=hint) from error


def open_system(request: SystemRequest, listener: Listener) -> System:
    """Make a system ready for any number of tracks.

    Raises
    ------
    MssError
        If there is no such model, folder or oracle.
    """
    if request.kind == "model":
        return _open_model(request, listener)
    if request.kind == "oracle":
        return OracleSystem(cast("Oracle", request.name))
    if request.kind == "estimates":
        folder = Path(request.name)
        if not folder.is_dir():
            raise InputError("no such folder", path=str(folder), hint="check `--estimates`")
        return EstimatesFolder(folder)
    return MixtureBaseline()


def _open_model(request: SystemRequest, listener: Listener) -> ModelSystem:
    from mss_cli.devices import PrecisionChoice
    from mss_cli.separation.opening import open_engine
    from mss_cli.separation.settings import EngineSettings
    from mss_cli.version import version
    from mss_cli.weights.choice import checkpoints_of
    from mss_cli.weights.installing import Terms

    engine = open_engine(
        request.name,
        device=request.device,
        precision=cast("PrecisionChoice", request.precision),
        threads=request.threads,
        terms=Terms(download=request.download, accept_licence=request.accept_licence),
        family=request.architecture,
        listener=listener,
    )
    settings = EngineSettings(request.segment_seconds, request.overlap, request.shifts, request.seed)
    paths = checkpoints_of(request.name, family=request.architecture)
    weights = files_fingerprint(paths) if paths else f"{request.name} {version()}"
    return ModelSystem(engine, settings, weights)


def _form(track: Track) -> tuple[int, int]:
    """Rate and channels of the references."""
    return track.references[0][1].form()


def _from_scratch(made: Scratch, stems: tuple[str, ...]) -> Estimates:
    def reader(place: int) -> Callable[[], Iterator[Block]]:
        return lambda: made.blocks(place)

    return Estimates({stem: reader(place) for place, stem in enumerate(stems)})


def _resampled(signal: Signal, own_rate: int, rate: int, channels: int) -> Callable[[], Iterator[Block]]:
    from mss_cli.audio.resample import resample

    return lambda: resample(signal.blocks(), own_rate, rate, channels)
