"""`mss-cli download-weights`: published models onto this machine, verified."""

import json as json_module
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mss_cli.console.console import Console
from mss_cli.console.words import printable
from mss_cli.errors import ExitCode, MssError, UsageError
from mss_cli.stdout import write_line

if TYPE_CHECKING:
    from mss_cli.weights.cache import Cache
    from mss_cli.weights.installing import Terms
    from mss_cli.weights.published import Published


def command(
    context: typer.Context,
    names: list[str] | None = typer.Argument(None, metavar="NAME...", help="Models that `--list` names."),
    everything: bool = typer.Option(False, "--all", help="All models."),
    show: bool = typer.Option(False, "--list", help="Print what there is and what is present; fetch nothing."),
    verify: bool = typer.Option(False, "--verify", help="Hash what is present again; fetch nothing."),
    remove: bool = typer.Option(False, "--remove", help="Remove the models from this machine."),
    folder: Path | None = typer.Option(
        None, "--dir", envvar="MSS_CLI_WEIGHTS_DIR", help="Where they lie; the user's cache folder by default."
    ),
    mirror: list[str] | None = typer.Option(
        None, "--mirror", metavar="URL", help="Try URL/FILE first; repeatable. MSS_CLI_MIRROR is the same."
    ),
    source: Path | None = typer.Option(
        None, "--from", metavar="FILE|DIR", help="Take the files from here instead of a server."
    ),
    offline: bool = typer.Option(False, "--offline", help="Use no network. MSS_CLI_OFFLINE=1 is the same."),
    accept_licence: bool = typer.Option(
        False, "--accept-licence", "--accept-license", help="Accept the licences of the named models; remembered."
    ),
    json: bool = typer.Option(
        False, "--json", help="With --list, --verify or --remove one JSON array on stdout; else events as JSON lines."
    ),
    quiet: bool = typer.Option(False, "-q", "--quiet", help="Say errors only."),
    no_color: bool = typer.Option(False, "--no-color", help="No colour."),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks."),
) -> int:
    """Fetch the weights of published models, verify them and make them ready for `--model NAME`.

    What is there already is not fetched again; a broken transfer goes on where it stopped. Licences that are not free,
    or not stated, must be accepted once with `--accept-licence`.
    """
    console = context.obj
    if not isinstance(console, Console):
        raise TypeError("the command needs a console")
    console.output.quiet, console.output.colour = quiet, not no_color
    from mss_cli.weights.cache import Cache, default_folder
    from mss_cli.weights.installing import Terms, checked_mirror

    _one_of_them({"--list": show, "--verify": verify, "--remove": remove})
    cache = Cache(default_folder() if folder is None else folder)
    chosen = _chosen(names or [], everything=everything, optional=show or verify)
    if show:
        return _show(chosen, cache, json=json)
    if verify:
        named = bool(names) or everything
        return _verify([one for one in chosen if named or cache.is_present(one)], cache, json=json)
    if remove:
        return _remove(chosen, cache, json=json)
    terms = Terms(
        download=not offline,
        accept_licence=accept_licence,
        mirrors=tuple(checked_mirror(one) for one in mirror or ()),
        local=source,
    )
    return _install(chosen, cache, terms, console)


def _one_of_them(flags: dict[str, bool]) -> None:
    given = [flag for flag, there in flags.items() if there]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} are given", hint="give one")


def _chosen(names: Sequence[str], *, everything: bool, optional: bool) -> "list[Published]":
    """Find the models that are named."""
    import difflib

    from mss_cli.weights.published import manifest

    known = manifest()
    if everything and names:
        raise UsageError("`--all` and names are given", hint="give one")
    if everything or (optional and not names):
        return list(known.models.values())
    if not names:
        raise UsageError("no model is named", hint="see `mss-cli download-weights --list`, or give `--all`")
    found = []
    for name in dict.fromkeys(names):
        model = known.published(name)
        if model is None:
            nearest = difflib.get_close_matches(name, list(known.models), n=1, cutoff=0.5)
            guess = f"did you mean `{nearest[0]}`? " if nearest else ""
            raise UsageError(f"no model is called `{name}`", hint=f"{guess}see `mss-cli download-weights --list`")
        found.append(model)
    return found


def _install(models: "Sequence[Published]", cache: "Cache", terms: "Terms", console: Console) -> int:
    """Fetch one after another; one that fails does not stop the others."""
    from mss_cli.events import ModelFailed, ModelReady
    from mss_cli.weights.installing import install

    failures: list[MssError] = []
    for model in models:
        try:
            path = install(model, cache, terms, console)
        except MssError as error:
            console(ModelFailed(model.name, int(error.code), error.message, error.hint))
            if len(models) == 1:
                raise
            failures.append(error)
            console.fail(error)
            continue
        console(ModelReady(model.name, path))
        if not console.output.json:
            write_line(printable(f"{model.name}: {path}"))
    if not failures:
        return ExitCode.OK
    codes = {error.code for error in failures}
    return codes.pop() if len(codes) == 1 and len(failures) == len(models) else ExitCode.PARTIAL


def _verify(models: "Sequence[Published]", cache: "Cache", *, json: bool) -> int:
    rows = [(model, list(cache.troubles(model))) for model in models]
    if json:
        listed = [{"name": model.name, "troubles": [printable(one) for one in troubles]} for model, troubles in rows]
        write_line(json_module.dumps(listed, indent=2))
    else:
        for model, troubles in rows:
            for line in troubles:
                write_line(printable(line))
            if troubles:
                write_line(f"to mend it: mss-cli download-weights --remove {model.name}, then fetch it again")
            write_line(f"{model.name}: {'NOT as published' if troubles else 'as published'}")
        if not rows:
            write_line("no model is present")
    return ExitCode.WEIGHTS if any(troubles for _, troubles in rows) else ExitCode.OK


def _remove(models: "Sequence[Published]", cache: "Cache", *, json: bool) -> int:
    removed = [(model, cache.remove(model)) for model in models]
    if json:
        rows = [{"name": model.name, "removed": bool(freed), "bytes": freed} for model, freed in removed]
        write_line(json_module.dumps(rows, indent=2))
        return ExitCode.OK
    for model, freed in removed:
        write_line(f"{model.name}: {f'removed, {freed / 1e6:.1f} MB are free again' if freed else 'was not there'}")
    return ExitCode.OK


def _show(models: "Sequence[Published]", cache: "Cache", *, json: bool) -> int:
    if json:
        write_line(json_module.dumps([published_row(model, cache) for model in models], indent=2))
        return ExitCode.OK
    for model in models:
        stems = ", ".join(model.stems) or "pitch"
        state = "present" if cache.is_present(model) else model.about_size
        write_line(f"{model.name} ({state}): {stems}; {model.sample_rate} Hz; {model.licence}")
        score = "" if model.score is None else f"; {score_words(model)}"
        write_line(f"    {model.description}; trained on {model.derived_from}{score}")
    return ExitCode.OK


def score_words(model: "Published") -> str:
    """Give the published scores of a model in one line; "" if there are none."""
    if model.score is None:
        return ""
    values = ", ".join(f"{stem} {value:.2f}" for stem, value in model.score.values.items())
    return f"SDR {values} dB (kind {model.score.kind}, {model.score.dataset})"


def published_row(model: "Published", cache: "Cache") -> dict[str, object]:
    """Give what `--json` says of a model; what is not known is null."""
    score = model.score
    return {
        "name": model.name,
        "architecture": model.architecture,
        "stems": list(model.stems),
        "sample_rate": model.sample_rate,
        "description": model.description,
        "files": [
            {
                "name": file.name,
                "addresses": list(file.addresses),
                "bytes": file.size_bytes,
                "approximate_bytes": file.approximate_bytes,
                "sha256": file.sha256,
                "sha256_prefix": file.sha256_prefix,
                "role": file.role,
            }
            for file in model.files
        ],
        "licence": model.licence,
        "licence_source": model.licence_source,
        "licence_must_be_accepted": model.ask,
        "licence_accepted": cache.accepts(model),
        "derived_from": model.derived_from,
        "score": None
        if score is None
        else {"kind": score.kind, "dataset": score.dataset, "source": score.source, "sdr_db": dict(score.values)},
        "speed_class": model.speed_class,
        "present": cache.is_present(model),
    }
