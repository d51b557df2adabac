"""What a run will do, in order, with every output name decided before anything heavy is loaded."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath, PurePosixPath

from mss_cli.batch.inputs import STANDARD, Found
from mss_cli.batch.records import RECORD_SUFFIX
from mss_cli.batch.sharding import Shard
from mss_cli.errors import OutputError
from mss_cli.separation.names import Naming

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Job:
    """One track to do.

    Parameters
    ----------
    input : Path
        To open and to show.
    key : str
        Relative path that names the track in the plan, with `/`: folder below the output and the input's own name.
    folder : PurePath
        Folder that stands before `{track}` in every output's name; `.` for none.
    outputs : tuple of Path
        Final names, in the order in which they were asked for.
    record : Path
        Final name of the record.
    """

    input: Path
    key: str
    folder: PurePath
    outputs: tuple[Path, ...]
    record: Path


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the outputs of a run lie.

    Parameters
    ----------
    naming : Naming
        Output folder, template, name of the model.
    outputs : callable
        Gives every final name of an input as if the input stood alone, in a fixed order, all made by `naming`.
    """

    naming: Naming
    outputs: Callable[[Path], Sequence[Path]]

    def place(self, path: Path, folder: PurePath) -> Path:
        """Put a relative folder before that part of a name which holds `{track}`, or before all of it.

        So `{model}/{track}/{stem}.{ext}` of `a/x.wav` gives `MODEL/a/x/vocals.wav`. No folder leads out of the output.
        """
        inner = path.relative_to(self.naming.folder).parts
        parts = PurePosixPath(self.naming.template.replace("\\", "/")).parts
        place = next((place for place, part in enumerate(parts) if "{track}" in part), 0)
        middle = [part.replace("\\", "_") for part in folder.parts if part not in ("..", folder.anchor)]
        return Path(self.naming.folder, *inner[:place], *middle, *inner[place:])

    def job(self, found: Found, folder: PurePath) -> Job:
        """Decide every name of one track."""
        outputs = tuple(self.place(path, folder) for path in self.outputs(found.path))
        return Job(found.path, (folder / found.path.name).as_posix(), folder, outputs, _record(found.path, outputs))


@dataclass(frozen=True, slots=True)
class Plan:
    """All jobs of a run, in order.

    Parameters
    ----------
    jobs : tuple of Job
        No two share an output name, also where a file system tells no capitals or Unicode forms apart.
    """

    jobs: tuple[Job, ...]

    def shard(self, shard: Shard | None) -> "Plan":
        """Give the jobs of one shard; the names were decided over all."""
        return self if shard is None else replace(self, jobs=tuple(job for job in self.jobs if shard.holds(job.key)))


class NameCollision(OutputError):
    """Inputs whose outputs would have the same names.

    Parameters
    ----------
    pairs : sequence of (Path, Path, Path)
        Two inputs and the name that both want.
    """

    def __init__(self, pairs: Sequence[tuple[Path, Path, Path]]) -> None:
        first, second, name = pairs[0]
        super().__init__(
            f"also wanted by `{first}`: two inputs with one output name `{name}`",
            path=str(second),
            hint="leave one out with `--exclude`, or give them different folders",
        )
        self.pairs = tuple(pairs)

    @property
    def lines(self) -> tuple[str, ...]:
        """One line for each pair, the first twenty."""
        shown = [f"{second}: also wanted by `{first}`: output `{name}`" for first, second, name in self.pairs[1:_SHOWN]]
        more = len(self.pairs) - _SHOWN
        return (str(self), *shown, *([f"and {more} more"] if more > 0 else []))


def make_plan(files: Sequence[Found], layout: Layout) -> Plan:
    """Decide the names of all outputs.

    Files found below a folder keep their way below it. With several such folders, the way from the folder that holds
    all of them counts, so that a file's place depends on the arguments alone, not on what else was found. A file that
    was named itself has no folder, unless its names collide; then all named files of that collision take their way
    from the folder that holds them all.

    Raises
    ------
    NameCollision
        If two inputs want one name after that, or one wants a folder where another wants a file.
    OutputError
        If an output would replace an input.
    """
    base = _common({Path(os.path.realpath(found.root)) for found in files if found.root is not None})
    jobs = [layout.job(found, _mirrored(found, base)) for found in files]
    groups = _colliding(jobs)
    for group in groups:
        named = [place for place in group if files[place].root is None and str(files[place].path) != STANDARD]
        parents = {place: Path(os.path.abspath(files[place].path)).parent for place in named}  # noqa: PTH100 - links stay
        top = _common(set(parents.values()))
        for place in named:
            jobs[place] = layout.job(files[place], PurePath(os.path.relpath(parents[place], top or parents[place])))
    if groups:
        _refuse(jobs, _colliding(jobs))
    _refuse_nesting(jobs)
    _refuse_replacing(jobs, layout.naming.folder)
    return Plan(tuple(jobs))


def folded(path: PurePath) -> str:
    """Give what two names have in common that differ only by case or Unicode form (Unicode 16, D145)."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", str(path)).casefold())


def _mirrored(found: Found, base: Path | None) -> PurePath:
    if found.root is None:
        return PurePath()
    root = Path(os.path.realpath(found.root))
    above = PurePath() if base is None else PurePath(os.path.relpath(root, base))
    return above / found.relative.parent


def _common(folders: set[Path]) -> Path | None:
    """Give the deepest folder that holds all; None on different drives."""
    try:
        return Path(os.path.commonpath(folders)) if folders else None
    except ValueError:
        return None


def _record(source: Path, outputs: Sequence[Path]) -> Path:
    """Name the record after the track, in the deepest folder that holds all of the track's outputs."""
    parents = {output.parent for output in outputs}
    folder = parents.pop() if len(parents) == 1 else Path(os.path.commonpath(parents or {Path()}))
    # The template of the record is that of a file beside the stems: the track's own name, made harmless and short.
    return Naming(folder, "{track}{stem}", "").targets(source, [RECORD_SUFFIX], "")[0]


def _colliding(jobs: Sequence[Job]) -> list[list[int]]:
    """Give the groups of jobs that want a name in common, directly or through others of the group."""
    owners: dict[str, int] = {}
    leader = list(range(len(jobs)))

    def top(place: int) -> int:
        while leader[place] != place:
            leader[place] = leader[leader[place]]
            place = leader[place]
        return place

    for place, job in enumerate(jobs):
        for path in (*job.outputs, job.record):
            leader[top(place)] = top(owners.setdefault(folded(path), place))
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for place in range(len(jobs)):
        groups[top(place)].append(place)
    return [group for group in groups.values() if len(group) > 1]


def _refuse(jobs: Sequence[Job], groups: Iterable[Sequence[int]]) -> None:
    pairs: list[tuple[Path, Path, Path]] = []
    for group in groups:
        owners: dict[str, Job] = {}
        for job in (jobs[place] for place in group):
            rivals = [
                (owner, path)
                for path in (*job.outputs, job.record)
                if (owner := owners.setdefault(folded(path), job)) is not job
            ]
            if rivals:
                pairs.append((rivals[0][0].input, job.input, rivals[0][1]))
    if pairs:
        raise NameCollision(pairs)


def _refuse_nesting(jobs: Sequence[Job]) -> None:
    """Refuse a file where another track needs a folder, as `x/vocals.wav` and `x/vocals.wav/drums.wav`."""
    files = {folded(path): job for job in jobs for path in (*job.outputs, job.record)}
    needed: dict[Path, Job] = {}
    for job in jobs:
        for path in (*job.outputs, job.record):
            needed.setdefault(path.parent, job)
    pairs = []
    for folder, job in needed.items():
        for above in (folder, *folder.parents):
            owner = files.get(folded(above))
            if owner is not None:
                pairs.append((owner.input, job.input, above))
    if pairs:
        raise NameCollision(pairs)


def _refuse_replacing(jobs: Sequence[Job], output: Path) -> None:
    """Refuse outputs over inputs; links inside the output folder are the track's own check."""
    real = Path(os.path.realpath(output))
    parents = {parent: Path(os.path.realpath(parent)) for parent in {job.input.parent for job in jobs}}
    inputs = {folded(parents[job.input.parent] / job.input.name) for job in jobs if str(job.input) != STANDARD}
    inputs |= {folded(Path(os.path.realpath(job.input))) for job in jobs if job.input.is_symlink()}
    for job in jobs:
        for path in (*job.outputs, job.record):
            if folded(real / path.relative_to(output)) in inputs:
                hint = "choose another `--output`"
                raise OutputError("an output would replace this input", path=str(path), hint=hint)
