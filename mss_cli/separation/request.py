"""A whole run of `separate`: words of the user checked, inputs opened, one track after another."""

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from mss_cli.audio.access import check_readable
from mss_cli.audio.formats import OutputFormat, output_format
from mss_cli.devices import PrecisionChoice
from mss_cli.errors import ExitCode, MssError, UsageError
from mss_cli.events import Listener, TrackFailed
from mss_cli.separation.names import Naming, check_template, refuse_collisions
from mss_cli.separation.stems import StemChoice, StemPlan, plan_stems
from mss_cli.weights.manifest import Entry, find

if TYPE_CHECKING:
    from mss_cli.pitch.step import PitchFiles, PitchStep
    from mss_cli.separation.engine import Engine
    from mss_cli.separation.settings import EngineSettings, ReadSettings, WriteSettings
    from mss_cli.separation.track import Source

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

    def targets(self, source: Path) -> tuple[Path, ...]:
        """Give the final names of one input's outputs; none if they go to stdout."""
        if self.request.to_stdout:
            return ()
        names = ("stems",) if self.format.name == "stem.mp4" else self.stems.names
        return self.naming.targets(source, names, self.format.extension)

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


def check(request: Request) -> Checked:
    """Check every flag against the others and against the model.

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
    found = find(request.model)
    if isinstance(found, Entry):
        name, available, architecture = found.name, found.stems, found.architecture
    else:
        from mss_cli.weights.store import read_card

        card = read_card(found)
        name, available, architecture = card.name, card.stems, card.architecture
    plan = plan_stems(available, StemChoice(request.stems, request.two_stems, request.residual))
    if request.to_stdout:
        _check_stdout(request, plan)
        form = OutputFormat("wav", "float32")
    else:
        form = output_format(request.format, request.depth, request.bitrate)
    if request.inputs.count(STANDARD) > 1:
        raise UsageError("stdin is named twice", hint="give `-` once")
    if request.plot:
        from mss_cli.separation.picture import check_drawable

        check_drawable()
    if request.pitch or request.pitch_weights is not None:
        from mss_cli.separation.pitch import check_pitch

        check_pitch(
            plan, wanted=request.pitch, weights=request.pitch_weights, architecture=architecture, output=request.output
        )
    return Checked(request, plan, form, Naming(Path(request.output), template, name))


def run(request: Request, listener: Listener) -> int:
    """Separate every input of a request.

    Parameters
    ----------
    request : Request
        As typed.
    listener : callable
        Takes all events between the first and the last of the run.

    Returns
    -------
    int
        0 if every track is done; the tracks' own exit code if all failed by the same; else 1.

    Raises
    ------
    MssError
        If the run as a whole cannot start.
    """
    checked = check(request)
    failures: list[ExitCode] = []
    with ExitStack() as stack:
        paths = {path: path for path in map(_input_path, dict.fromkeys(request.inputs))}
        if STANDARD in request.inputs:
            from mss_cli.separation.standard import spooled_stdin

            paths[Path(STANDARD)] = stack.enter_context(spooled_stdin(request.scratch))
        good = _readable(paths, listener, failures)
        refuse_collisions({name: checked.outputs(name) for name in good})
        sources = _opened(good, checked, listener, failures)
        if sources:
            _check_output(checked)
            _separate(sources, checked, listener, failures)
    if not failures:
        return ExitCode.OK
    alike = len(failures) == len(paths) and len(Counter(failures)) == 1
    return failures[0] if alike else ExitCode.PARTIAL


def _separate(sources: "Sequence[Source]", checked: Checked, listener: Listener, failures: list[ExitCode]) -> None:
    from mss_cli.separation.api import Model

    request = checked.request
    model = Model(
        request.model,
        device=request.device,
        precision=cast(PrecisionChoice, request.precision),
        threads=request.threads,
        listener=listener,
    )
    make_step = None
    if request.pitch:
        from mss_cli.separation.pitch import pitch_steps

        make_step = pitch_steps(model.engine, request.pitch_weights)
    for source in sources:
        try:
            files = checked.pitch(source.name)
            step = None if make_step is None or files is None else make_step(files)
            _one(model.engine, source, checked, step, listener)
        except MssError as error:
            _fail(source.name, error, listener, failures)
            if error.code == ExitCode.OUTPUT and request.to_stdout:
                raise


def _one(engine: "Engine", source: "Source", checked: Checked, pitch: "PitchStep | None", listener: Listener) -> None:
    from mss_cli.separation.standard import separate_to_stdout
    from mss_cli.separation.track import separate_track

    if checked.request.to_stdout:
        separate_to_stdout(engine, source, checked.stems, _engine_settings(checked), listener=listener)
        return
    separate_track(
        engine,
        source,
        checked.targets(source.name),
        engine_settings=_engine_settings(checked),
        write_settings=_write_settings(checked),
        picture=checked.picture(source.name),
        pitch=pitch,
        listener=listener,
    )


def _input_path(text: str) -> Path:
    """Keep `./-`, a file, apart from `-`, which is stdin."""
    path = Path(text)
    return path.absolute() if text != STANDARD and str(path) == STANDARD else path


def _readable(paths: dict[Path, Path], listener: Listener, failures: list[ExitCode]) -> dict[Path, Path]:
    """Keep the inputs that can be opened at all; costs no import."""
    good = {}
    for name, path in paths.items():
        try:
            check_readable(path)
        except MssError as error:
            _fail(name, error, listener, failures)
        else:
            good[name] = path
    return good


def _opened(paths: dict[Path, Path], checked: Checked, listener: Listener, failures: list[ExitCode]) -> "list[Source]":
    """Read the headers before the model is loaded."""
    if not paths:
        return []
    from mss_cli.separation.track import open_source

    sources = []
    for name, path in paths.items():
        try:
            sources.append(open_source(path, _read_settings(checked), name=name))
        except MssError as error:
            _fail(name, error, listener, failures)
    return sources


def _fail(name: Path, error: MssError, listener: Listener, failures: list[ExitCode]) -> None:
    failures.append(error.code)
    message = error.message if error.path in (None, str(name)) else f"{error.path}: {error.message}"
    if str(name) == STANDARD:
        message = error.message
    listener(TrackFailed(name, int(error.code), message, error.hint))


def _check_output(checked: Checked) -> None:
    """Refuse an output folder that cannot be written before the model is loaded; nothing new is left behind."""
    from mss_cli.files import make_folder, remove_empty

    if not checked.request.to_stdout:
        remove_empty(make_folder(checked.naming.folder))
    if checked.request.scratch is not None:
        remove_empty(make_folder(checked.request.scratch))


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


def _engine_settings(checked: Checked) -> "EngineSettings":
    from mss_cli.separation.settings import EngineSettings

    request = checked.request
    return EngineSettings(request.segment_seconds, request.overlap, request.shifts, request.seed)


def _read_settings(checked: Checked) -> "ReadSettings":
    from mss_cli.separation.settings import ReadSettings

    return ReadSettings(stream=checked.request.stream, downmix=checked.request.downmix is not None)


def _write_settings(checked: Checked) -> "WriteSettings":
    from mss_cli.separation.settings import WriteSettings

    request = checked.request
    return WriteSettings(
        choice=StemChoice(request.stems, request.two_stems, request.residual),
        format=checked.format,
        clip=cast(Literal["rescale", "clamp", "none"], request.clip),
        scratch=request.scratch,
        plot=request.plot,
    )
