"""`mss-cli models`: what `--model` takes."""

import json as json_module
from dataclasses import asdict

import typer

from mss_cli.commands.download_weights import published_row, score_words
from mss_cli.stdout import write_line
from mss_cli.weights.manifest import DEFAULT, ENTRIES, Entry


def command(json: bool = typer.Option(False, "--json", help="One JSON array on stdout.")) -> None:
    """List the models: name, stems, rate, licence; of published ones size, score and whether they are present."""
    from mss_cli.weights.cache import Cache, default_folder
    from mss_cli.weights.published import manifest

    cache = Cache(default_folder())
    published = [model for model in manifest().models.values() if model.separates]
    if json:
        rows = [
            *(own_row(entry) for entry in ENTRIES),
            *({**published_row(model, cache), "default": False} for model in published),
        ]
        write_line(json_module.dumps(rows, indent=2))
        return
    for entry in ENTRIES:
        mark = " (default)" if entry.name == DEFAULT else ""
        write_line(f"{entry.name}{mark}: {', '.join(entry.stems)}; {entry.sample_rate} Hz; {entry.licence}")
        size = f"{entry.size_bytes / 1e6:.1f} MB; " if entry.weights else ""
        write_line(f"    {entry.description}; {size}{entry.speed_class}")
    for model in published:
        state = "present" if cache.is_present(model) else f"not present, {model.about_size}"
        write_line(f"{model.name} ({state}): {', '.join(model.stems)}; {model.sample_rate} Hz; {model.licence}")
        further = [model.description, score_words(model), "" if model.speed_class is None else model.speed_class]
        write_line(f"    {'; '.join(part for part in further if part)}")


def own_row(entry: Entry) -> dict[str, object]:
    """Give what `--json` says of a model of the package, under the names of the published ones."""
    said = asdict(entry)
    file = said.pop("file")
    return {
        **said,
        "files": [{"name": file, "bytes": entry.size_bytes}] if file else [],
        "score": None,  # nothing was published; docs/models has what was measured
        "speed_class": entry.speed_class,
        "default": entry.name == DEFAULT,
        "present": True,
    }
