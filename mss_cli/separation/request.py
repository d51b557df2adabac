"""What a user asked of `separate`, checked before anything heavy is loaded; the run that writes to stdout."""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from mss_cli.audio.access import check_readable
from mss_cli.audio.formats import OutputFormat, output_format
from mss_cli.devices import PrecisionChoice
from mss_cli.errors import ExitCode, InputError, MemoryExhausted, MssError, UsageError
from mss_cli.events import Listener, TrackFailed, ignore
from mss_cli.separation.names import Naming, check_template
from mss_cli.separation.stems import StemChoice, StemPlan, plan_stems
from mss_cli.weights.choice import checkpoints_of, look_up
from mss_cli.weights.installing import Terms

if TYPE_CHECKING:
    from mss_cli.pitch.step import PitchFiles, PitchStep
    from mss_cli.separation.engine import Engine
    from mss_cli.separation.settings import EngineSettings, ReadSettings, WriteSettings

STANDARD = "-"


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asked of `separate`, as typed; the fields are those of the command's flags."""

    inputs: tuple[str, ...]
    model: str
    output: str
    template: str
    stems: tuple[str, ...] | None
    two_stems: str | None
    residual: bool
    format: str
    depth: str | None
    bitrate: int | None
    clip: str
    device: str
    precision: str
    segment_seconds: float | None
    overlap: float
    shifts: int
    seed: int
    threads: int | None
    downmix: str | None
    stream: int | None
    scratch: Path | None
    plot: bool
    json: bool
    pitch: bool = False
    pitch_weights: Path | None = None
    architecture: str | None = None
    download: bool = True
    accept_licence: bool = False

    @property
    def terms(self) -> Terms:
        """What may be done to get a published model."""
        return Terms(download=self.download, accept_licence=self.accept_licence)

    @property
    def to_stdout(self) -> bool:
        """Whether the one stem goes to stdout."""
        return self.output == STANDARD


@dataclass(frozen=True, slots=True)
class Checked:
    """A request that makes sense: nothing heavy was imported to find out, and nothing was written."""

    request: Request
    stems: StemPlan
    format: OutputFormat
    naming: Naming
    weights: tuple[Path, ...] = ()

    def targets(self, source: Path) -> tuple[Path, ...]:
        """Give the final names of one input's outputs; none if they go to stdout."""
        if self.request.to_stdout:
            return ()
        names = ("stems",) if self.format.name == "stem.mp4" else self.stems.names
        return self.naming.targets(source, names, self.format.extension)

    @property
    def engine_settings(self) -> "EngineSettings":
        """How audio goes through the separator."""
        from mss_cli.separation.settings import EngineSettings

        request = self.request
        return EngineSettings(request.segment_seconds, request.overlap, request.shifts, request.seed)

    @property
    def read_settings(self) -> "ReadSettings":
        """How inputs are read."""
        from mss_cli.separation.settings import ReadSettings

        return ReadSettings(stream=self.request.stream, downmix=self.request.downmix is not None)

    @property
    def write_settings(self) -> "WriteSettings":
        """How stems become files."""
        from mss_cli.separation.settings import WriteSettings

        request = self.request
        return WriteSettings(
            choice=StemChoice(request.stems, request.two_stems, request.residual),
            format=self.format,
            clip=cast(Literal["rescale", "clamp", "none"], request.clip),
            scratch=request.scratch,
            plot=request.plot,
        )

    def picture(self, source: Path) -> Path | None:
        """Give the final name of one input's picture, if one is wanted."""
        if not self.request.plot:
            return None
        return self.naming.targets(source, ("spectrogram",), "png")[0].with_suffix(".png")

    def outputs(self, source: Path) -> tuple[Path, ...]:
        """Give every final name of one input."""
        picture, pitch = self.picture(source), self.pitch(source)
        return (
            *self.targets(source),
            *([] if picture is None else [picture]),
            *(() if pitch is None else pitch.names),
        )

    def pitch(self, source: Path) -> "PitchFiles | None":
        """Give the final names of one input's pitch files, if they are wanted."""
        if not self.request.pitch:
            return None
        from mss_cli.pitch.step import STEM, PitchFiles

        extension = self.format.extension
        return PitchFiles.beside(self.naming.targets(source, (STEM,), extension)[0], extension)


def check(request: Request, listener: Listener = ignore) -> Checked:
    """Check every flag against the others and against the model; a published one need not be there yet.

    Parameters
    ----------
    request : Request
    listener : callable
        Takes warnings about checkpoints of others.

    Raises
    ------
    UsageError, WeightsError
        For the first thing that is wrong.
    """
    _one_of("--clip", request.clip, ("rescale", "clamp", "none"))
    _one_of("--precision", request.precision, get_args(PrecisionChoice))
    if request.downmix is not None:
        _one_of("--downmix", request.downmix, ("stereo",))
    template = check_template(_default_template(request))
    model = look_up(request.model, family=request.architecture, listener=listener)
    plan = plan_stems(model.stems, StemChoice(request.stems, request.two_stems, request.residual))
    if request.to_stdout:
        _check_stdout(request, plan)
        form = OutputFormat("wav", "float32")
    else:
        form = output_format(request.format, request.depth, request.bitrate)
    if request.inputs.count(STANDARD) > 1:
        raise UsageError("stdin is named twice", hint="give `-` once")
    if request.plot:
        from mss_cli.pitch.figure import check_matplotlib

        check_matplotlib("`--plot`")
    if request.pitch or request.pitch_weights is not None:
        from mss_cli.separation.pitch import check_pitch

        check_pitch(
            plan,
            wanted=request.pitch,
            weights=request.pitch_weights,
            architecture=model.architecture,
            output=request.output,
        )
    return Checked(request, plan, form, Naming(Path(request.output), template, model.name), model.weights)


def with_weights(checked: Checked, listener: Listener) -> Checked:
    """Fetch the model of a request if it is a published one that is not there, and allowed.

    Raises
    ------
    WeightsError, DownloadError, OutputError
        If it cannot be had.
    """
    request = checked.request
    paths = checkpoints_of(request.model, terms=request.terms, family=request.architecture, listener=listener)
    return replace(checked, weights=paths)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is ready, and what makes the pitch step of a track if pitch is wanted."""

    engine: "Engine"
    make_step: "Callable[[PitchFiles], PitchStep] | None"


def load(request: Request, listener: Listener) -> Loaded:
    """Load the model of a request, once for all its tracks.

    Raises
    ------
    UsageError, WeightsError, DeviceError
        If it cannot be loaded or does not run here.
    """
    from mss_cli.separation.opening import open_engine

    engine = open_engine(
        request.model,
        device=request.device,
        precision=cast(PrecisionChoice, request.precision),
        threads=request.threads,
        terms=request.terms,
        family=request.architecture,
        listener=listener,
    )
    if not request.pitch:
        return Loaded(engine, None)
    from mss_cli.separation.pitch import pitch_steps

    return Loaded(engine, pitch_steps(engine, request.pitch_weights))


def run_to_stdout(request: Request, listener: Listener) -> int:
    """Separate the one input of a request into one stem on stdout.

    Parameters
    ----------
    request : Request
        With `--output -`.
    listener : callable
        Takes all events between the first and the last of the run.

    Returns
    -------
    int
        0, or the exit code of what went wrong with the track.

    Raises
    ------
    MssError
        If the run cannot start, or stdout cannot be written.
    """
    checked = check(request, listener)
    text = request.inputs[0]
    name = Path(text).absolute() if text != STANDARD and str(Path(text)) == STANDARD else Path(text)
    with ExitStack() as stack:
        path = name
        if text == STANDARD:
            from mss_cli.separation.standard import spooled_stdin

            path = stack.enter_context(spooled_stdin(request.scratch))
        try:
            check_readable(path)
            from mss_cli.separation.standard import separate_to_stdout
            from mss_cli.separation.track import open_source

            source = open_source(path, checked.read_settings, name=name)
            engine = load(request, listener).engine
            settings, scratch = checked.engine_settings, request.scratch
            separate_to_stdout(engine, source, checked.stems, settings, scratch=scratch, listener=listener)
        except (InputError, MemoryExhausted) as error:
            listener(track_failed(name, error))
            return error.code
    return ExitCode.OK


def track_failed(name: Path, error: MssError) -> TrackFailed:
    """Tell that a track failed; the path of the error is said only where it is not the track's own."""
    own = error.path in (None, str(name)) or str(name) == STANDARD
    return TrackFailed(name, int(error.code), error.message if own else f"{error.path}: {error.message}", error.hint)


def _check_stdout(request: Request, plan: StemPlan) -> None:
    if request.json:
        raise UsageError("`--output -` and `--json` both want stdout", hint="leave one out")
    if len(plan.parts) != 1:
        raise UsageError(f"`--output -` writes one stem, not {len(plan.parts)}", hint="choose it with `--stems vocals`")
    if len(request.inputs) != 1:
        raise UsageError("`--output -` takes one input", hint="name a folder with `--output` for several")
    if request.format != "wav" or request.depth not in (None, "float32") or request.bitrate is not None:
        raise UsageError("`--output -` writes 32-bit float wav only", hint="leave out format, depth and bit rate")
    if sys.stdout is not None and sys.stdout.isatty():
        raise UsageError("`--output -` writes sound, and stdout is a terminal", hint="redirect it or pipe it")
    if request.plot:
        raise UsageError("`--plot` needs an output folder", hint="leave out `--output -`")


def _default_template(request: Request) -> str:
    """One file instead of a folder for stem files, unless a template was given."""
    from mss_cli.separation.names import DEFAULT_TEMPLATE

    if request.format == "stem.mp4" and request.template == DEFAULT_TEMPLATE:
        return "{track}.{ext}"
    return request.template


def _one_of(flag: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise UsageError(f"`{flag} {value}` is not known", hint=f"use one of {', '.join(allowed)}")
