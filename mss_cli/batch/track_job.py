"""One track of a run: separated, and its record written last."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mss_cli.batch.decisions import Wanted
from mss_cli.batch.plan import Job
from mss_cli.batch.records import (
    Circumstances,
    MadeBy,
    Record,
    Settings,
    check_unchanged,
    read_content,
    retire_record,
    sha256_of,
    write_record,
    written_files,
)
from mss_cli.errors import WeightsError
from mss_cli.events import Listener, TrackFinished
from mss_cli.separation.request import Checked, Loaded
from mss_cli.version import version


@dataclass(frozen=True, slots=True)
class Making:
    """What all tracks of a run are made with, as records tell it.

    Parameters
    ----------
    model : MadeBy
    settings : Settings
    """

    model: MadeBy
    settings: Settings

    def wanted(self, job: Job) -> Wanted:
        """Give what the run would do with a track."""
        return Wanted(self.model, self.settings, job.outputs)


def making(checked: Checked) -> Making:
    """Describe what a run makes its stems with; reads the weights once.

    Raises
    ------
    WeightsError
        If they cannot be read.
    """
    request, form = checked.request, checked.format
    settings = Settings(
        stems=checked.stems.names,
        format=form.name,
        depth=form.depth if form.effective_bitrate is None else None,
        bitrate=form.effective_bitrate,
        clip=request.clip,
        precision=request.precision,
        segment_seconds=request.segment_seconds,
        overlap=request.overlap,
        shifts=request.shifts,
        seed=request.seed,
        downmix=request.downmix is not None,
        stream=request.stream,
        plot=request.plot,
        pitch=request.pitch,
        pitch_weights_sha256=None if request.pitch_weights is None else _hash(request.pitch_weights),
    )
    return Making(MadeBy(request.model, _joint_hash(checked.weights)), settings)


def separate_job(job: Job, path: Path, loaded: Loaded, checked: Checked, made_by: Making, listener: Listener) -> None:
    """Separate a track and write its record: all files whole under their names, then the record, or neither.

    Parameters
    ----------
    job : Job
        Of the plan.
    path : Path
        The file to read; the job's own input, or the copy of stdin.
    loaded : Loaded
        The model.
    checked : Checked
        The request.
    made_by : Making
        Goes into the record.
    listener : callable
        Takes the track's events.

    Raises
    ------
    InputError, OutputError, MemoryExhausted, UsageError
        Then the track has no record. No half file is under a final name.
    """
    from mss_cli.files import publish
    from mss_cli.pitch.step import PitchFiles
    from mss_cli.separation.track import open_source, separate_track

    source = open_source(path, checked.read_settings, name=job.input)
    content = read_content(path)
    stems = len(checked.targets(job.input))
    targets, extras = job.outputs[:stems], job.outputs[stems:]
    picture = extras[0] if checked.request.plot else None
    step = None if loaded.make_step is None else loaded.make_step(PitchFiles(*extras[-3:]))
    folder = job.record.parent

    def put(finished: TrackFinished, temporary: dict[Path, Path]) -> None:
        names = {output.path: output.stem for output in finished.outputs}
        names |= {extra.path: extra.kind for extra in finished.extras}
        files = written_files(folder, [(names[final], now, final) for now, final in temporary.items()])
        check_unchanged(path, content)
        retire_record(job.record)
        publish(temporary)
        record = Record(
            source=job.input,
            input=content,
            model=made_by.model,
            settings=made_by.settings,
            circumstances=Circumstances(
                version=version(),
                device=finished.device,
                precision=finished.precision,
                threads=loaded.engine.threads,
                segment_seconds=finished.segment_seconds,
                segments_per_batch=finished.segments_per_batch,
                gain=finished.gain,
            ),
            stems=files[:stems],
            extras=files[stems:],
        )
        write_record(job.record, record)

    separate_track(
        loaded.engine,
        source,
        targets,
        engine_settings=checked.engine_settings,
        write_settings=checked.write_settings,
        picture=picture,
        pitch=step,
        put=put,
        listener=listener,
    )


def _joint_hash(paths: Sequence[Path]) -> str | None:
    """Give the SHA-256 of the weights; of several, that of theirs; None without any."""
    hashes = [_hash(path) for path in paths]
    return sha256("\n".join(hashes).encode()).hexdigest() if len(hashes) > 1 else next(iter(hashes), None)


def _hash(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise WeightsError(f"cannot read: {reason}", path=str(path), hint="check the file") from error
