"""`mss-cli evaluate`: scores of a model, of estimates, of an oracle or of the mixture on a data set."""

from pathlib import Path

import typer

from mss_cli.commands.model_flags import ACCEPT_LICENCE, ARCHITECTURE, DOWNLOAD
from mss_cli.commands.numbers import check_finite
from mss_cli.console.console import Console


def command(
    context: typer.Context,
    model: str | None = typer.Option(
        None, "-m", "--model", help="Separate with this model: name, checkpoint, or several with + between."
    ),
    estimates: Path | None = typer.Option(None, help="Folder of stems: <subset>/<track>/<stem>.wav."),
    oracle: str | None = typer.Option(None, help="Masks from the true stems: irm1, irm2, ibm1, ibm2, cirm or mwf."),
    baseline_mixture: bool = typer.Option(False, "--baseline-mixture", help="The mixture as estimate of every stem."),
    dataset: str = typer.Option(
        "musdb18", help="musdb18, musdb18hq, musdb18-7s, dsd100, medleydb, mir1k, ikala, ccmixter or folders."
    ),
    root: Path | None = typer.Option(None, help="Folder of the data set; MUSDB_PATH by default."),
    subset: str | None = typer.Option(None, help="test, train, valid or all; the data set's custom by default."),
    tracks: str | None = typer.Option(None, help="Names of tracks, separated by commas."),
    output: Path = typer.Option(
        Path("scores"), "-o", "--output", help="Receives results.json, scores.csv and a file per track."
    ),
    scores: str = typer.Option("full", help="full (SDR, ISR, SIR, SAR), sdr, which takes a moment, or all."),
    scenario: str = typer.Option("auto", help="auto (as museval), four-stems or vocals-accompaniment."),
    against: str | None = typer.Option(
        None, help="Fail if a score is lower than in this results.json, or of this published system: irm1 ..."
    ),
    tolerance: float = typer.Option(0.05, min=0.0, help="dB that `--against` allows."),
    fail_under: list[str] = typer.Option([], metavar="STEM[.METRIC[.RULE]]=DB", help="Fail below; may be repeated."),
    compare: list[Path] = typer.Option([], help="Test against other results.json, track by track; may be repeated."),
    report: Path | None = typer.Option(None, help="Write one HTML page with plots and listening into this folder."),
    save_estimates: Path | None = typer.Option(None, help="Keep the stems: <subset>/<track>/<stem>.wav, as floats."),
    published: str = typer.Option("some", help="Published systems in the table: some, all or none."),
    jobs: int = typer.Option(1, "-j", "--jobs", min=1, help="Tracks at a time, one thread each if more than one."),
    device: str = typer.Option("auto", "-d", "--device", help="Of the model: auto, cpu, cuda, cuda:N or mps."),
    precision: str = typer.Option("auto", help="auto, fp32, bf16 or fp16."),
    segment_seconds: float | None = typer.Option(None, min=0.1, help="Audio given to the model at once."),
    overlap: float = typer.Option(0.25, min=0.0, max=0.95, help="Share of a segment that the next one covers again."),
    shifts: int = typer.Option(0, min=0, help="Average this many passes with randomly moved segments."),
    seed: int = typer.Option(0, help="Seed of the shifts."),
    threads: int | None = typer.Option(None, min=1, help="Threads with one job; all cores by default."),
    architecture: str | None = ARCHITECTURE,
    download: bool = DOWNLOAD,
    accept_licence: bool = ACCEPT_LICENCE,
    json: bool = typer.Option(False, "--json", help="Events as JSON lines on stdout instead of tables."),
    quiet: bool = typer.Option(False, "-q", "--quiet", help="Say errors only."),
    verbose: bool = typer.Option(False, "-v", "--verbose", help="Say more."),
    no_color: bool = typer.Option(False, "--no-color", help="No colour."),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks."),
) -> int:
    """Score separated stems against true ones.

    One of `--model`, `--estimates`, `--oracle` and `--baseline-mixture` names what is evaluated. Tracks that were
    scored before in the same output folder are kept; a broken one does not stop the others.
    """
    console = context.obj
    if not isinstance(console, Console):
        raise TypeError("the command needs a console")
    console.output.quiet, console.output.verbose, console.output.colour = quiet, verbose, not no_color
    check_finite({"--tolerance": tolerance, "--segment-seconds": segment_seconds, "--overlap": overlap})
    from mss_cli.evaluation.request import Chosen, Request, choose_system, split_tracks

    if report is not None:
        from mss_cli.reports.page import check_reportable

        check_reportable()
        if save_estimates is None and estimates is None:
            save_estimates = output / "estimates"

    system = choose_system(
        Chosen(model, estimates, oracle, baseline_mixture),
        device=device,
        precision=precision,
        threads=threads,
        segment_seconds=segment_seconds,
        overlap=overlap,
        shifts=shifts,
        seed=seed,
        architecture=architecture,
        download=download,
        accept_licence=accept_licence,
    )
    request = Request(
        system=system,
        dataset=dataset,
        root=root,
        subset=subset,
        tracks=split_tracks(tracks),
        output=output,
        scores=scores,
        scenario=scenario,
        against=against,
        tolerance=tolerance,
        fail_under=tuple(fail_under),
        compare=tuple(compare),
        save_estimates=save_estimates,
        published=published,
        jobs=jobs,
        report=report,
    )
    from mss_cli.evaluation.evaluated_run import run

    outcome = run(request, console)
    if outcome.results is not None and not json:
        from mss_cli.commands.score_tables import show

        show(outcome.tables, colour=not no_color)
    if report is not None and outcome.results is not None and outcome.path is not None:
        from mss_cli.commands.score_report import write

        heard = estimates if estimates is not None else save_estimates
        runs = [(outcome.path, heard), *((path, path.parent / "estimates") for path in compare)]
        write(report, results=outcome.results, tracks=outcome.tracks, runs=runs)
    return outcome.code
