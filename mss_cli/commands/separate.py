"""`mss-cli separate`: songs in, stems out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mss_cli.commands.model_flags import ACCEPT_LICENCE, ARCHITECTURE, DOWNLOAD
from mss_cli.console.console import Console
from mss_cli.console.log_file import LogFile
from mss_cli.console.summary import Summary
from mss_cli.errors import UsageError
from mss_cli.weights.manifest import DEFAULT

if TYPE_CHECKING:
    from mss_cli.batch.decisions import Policy
    from mss_cli.batch.options import EngineName


def command(
    context: typer.Context,
    inputs: list[str] | None = typer.Argument(
        None, metavar="INPUT...", help="Audio or video files, folders, patterns; `-` reads stdin."
    ),
    model: str = typer.Option(
        DEFAULT,
        "-m",
        "--model",
        "-n",
        "--name",
        envvar="MSS_CLI_MODEL",
        help="Name from `mss-cli models`, or a checkpoint's path; `A+B` averages several.",
    ),
    output: str = typer.Option(
        "separated",
        "-o",
        "--output",
        "--out",
        envvar="MSS_CLI_OUTPUT",
        help="Output folder; `-` writes one stem to stdout.",
    ),
    filename: str = typer.Option(
        "{track}/{stem}.{ext}", help="Names inside the output folder; also {model}, {dir}, {stem_index}."
    ),
    stems: str | None = typer.Option(None, help="Stems to write, separated by commas."),
    two_stems: str | None = typer.Option(None, help="Write this stem X and no_X, everything else."),
    residual: bool = typer.Option(False, "--residual/--no-residual", help="Also write what the stems leave over."),
    format: str | None = typer.Option(
        None, envvar="MSS_CLI_FORMAT", help="wav (the default), flac, mp3, ogg, opus, m4a or stem.mp4."
    ),
    depth: str | None = typer.Option(None, help="int16, int24 or float32 (wav), int16 or int24 (flac)."),
    mp3: bool = typer.Option(False, "--mp3", help="Same as --format mp3."),
    flac: bool = typer.Option(False, "--flac", help="Same as --format flac."),
    float32: bool = typer.Option(False, "--float32", help="Same as --depth float32."),
    int24: bool = typer.Option(False, "--int24", help="Same as --depth int24."),
    bitrate: str | None = typer.Option(
        None, "--bitrate", "--mp3-bitrate", help="kbit/s of a lossy format: 192 or 192k."
    ),
    clip: str = typer.Option(
        "rescale", "--clip", "--clip-mode", help="Stems over full scale: rescale (one gain for all), clamp or none."
    ),
    device: str = typer.Option(
        "auto", "-d", "--device", envvar="MSS_CLI_DEVICE", help="auto, cpu, cuda, cuda:N or mps."
    ),
    precision: str = typer.Option("auto", envvar="MSS_CLI_PRECISION", help="auto, fp32, bf16 or fp16."),
    segment_seconds: float | None = typer.Option(
        None,
        "--segment-seconds",
        "--segment",
        min=0.1,
        max=60,
        help="Audio given to the model at once; the model's own by default.",
    ),
    overlap: float = typer.Option(0.25, min=0.0, max=0.95, help="Share of a segment that the next one covers again."),
    shifts: int = typer.Option(0, min=0, help="Average this many passes with randomly moved segments."),
    seed: int = typer.Option(0, min=0, max=2**31 - 1, help="Seed of the shifts."),
    threads: str = typer.Option(
        "auto", envvar="MSS_CLI_THREADS", metavar="N|auto", help="Threads of each job; the cores, shared by all jobs."
    ),
    jobs: str = typer.Option(
        "auto",
        "-j",
        "--jobs",
        envvar="MSS_CLI_JOBS",
        metavar="N|auto",
        help="Tracks at once, each in a process of its own; as many as cores and memory carry, one per GPU.",
    ),
    timeout_per_track: float | None = typer.Option(
        None, "--timeout-per-track", min=0.1, help="Seconds after which a track has failed."
    ),
    nice: int = typer.Option(0, "--nice", min=0, max=19, help="Give way to other processes (POSIX)."),
    engine: str = typer.Option(
        "local", "--engine", envvar="MSS_CLI_ENGINE", metavar="local|ray", help="This machine, or a Ray cluster."
    ),
    ray_address: str | None = typer.Option(
        None, "--ray-address", metavar="auto|HOST[:PORT]", help="Head of the Ray cluster; by default this machine's."
    ),
    downmix: str | None = typer.Option(None, help="`stereo` folds more than two channels."),
    stream: int | None = typer.Option(None, min=0, help="Number of the audio stream, in files with several."),
    scratch: Path | None = typer.Option(
        None, envvar="MSS_CLI_SCRATCH", help="Folder for temporary audio; the stems' own by default."
    ),
    plot: bool = typer.Option(False, "--plot", help="Write a picture of spectrograms and masks beside the stems."),
    pitch: bool = typer.Option(
        False, "--pitch", help="Write the pitch of the vocals beside them: f0.csv, MIDI, a picture of the salience."
    ),
    pitch_weights: Path | None = typer.Option(
        None,
        "--pitch-weights",
        help="Weights of Deep Salience (safetensors); without them the model's own pitch, or pYIN.",
    ),
    inputs_from: str | None = typer.Option(
        None, "--inputs-from", help="File with one input per line, or ended by NUL; `-` is stdin."
    ),
    null: bool = typer.Option(False, "--null", help="Names in `--inputs-from` end with NUL."),
    exclude: list[str] | None = typer.Option(None, "--exclude", help="Leave out names of this pattern; repeatable."),
    if_changed: bool = typer.Option(
        False, "--if-changed", help="Skip tracks whose input, model and settings are as recorded (the default)."
    ),
    if_missing: bool = typer.Option(False, "--if-missing", help="Skip tracks whose files are there, however made."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Separate every track again."),
    checksum: bool = typer.Option(False, "--checksum", help="Compare inputs by content, not by size and time."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Print what would be done; write nothing."),
    shard: str | None = typer.Option(None, "--shard", help="Do only share i of n: 1/8 to 8/8."),
    wait_lock: float = typer.Option(
        0.0, "--wait-lock", min=0, help="Seconds to wait for another run on the output folder."
    ),
    max_failures: int | None = typer.Option(None, "--max-failures", min=1, help="Stop after this many failed tracks."),
    fail_fast: bool = typer.Option(False, "--fail-fast", help="Same as --max-failures 1."),
    retry_failed: bool = typer.Option(
        False, "--retry-failed", help="Do only what failed last time in the output folder; INPUT may be left out."
    ),
    summary: Path | None = typer.Option(
        None, "--summary", envvar="MSS_CLI_SUMMARY", help="Write how it went, with a row for each track, as JSON."
    ),
    log_file: Path | None = typer.Option(
        None, "--log-file", envvar="MSS_CLI_LOG_FILE", help="Append every message, with its time."
    ),
    architecture: str | None = ARCHITECTURE,
    download: bool = DOWNLOAD,
    accept_licence: bool = ACCEPT_LICENCE,
    json: bool = typer.Option(False, "--json", help="Events as JSON lines on stdout."),
    quiet: bool = typer.Option(False, "-q", "--quiet", help="Say errors only."),
    verbose: bool = typer.Option(False, "-v", "--verbose", help="Say more."),
    no_color: bool = typer.Option(False, "--no-color", help="No colour."),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks."),
) -> int:
    """Separate songs into stems.

    Each track becomes a folder of stems, as long as the input, at its rate and channels, aligned to the sample; the
    stems sum to the mixture. A folder as INPUT means all audio files below it. A broken track does not stop the others,
    and a second run does only what is not done yet.
    """
    console = context.obj
    if not isinstance(console, Console):
        raise TypeError("the command needs a console")
    console.output.quiet, console.output.verbose, console.output.colour = quiet, verbose, not no_color
    console.keep(
        log=None if log_file is None else LogFile(log_file), summary=None if summary is None else Summary(summary)
    )
    from mss_cli.batch.decisions import Policy
    from mss_cli.batch.options import BatchOptions
    from mss_cli.batch.run import run
    from mss_cli.batch.sharding import parse_shard
    from mss_cli.separation.request import Request

    request = Request(
        inputs=tuple(inputs or ()),
        model=model,
        output=output,
        template=filename,
        stems=None if stems is None else tuple(stem.strip() for stem in stems.split(",")),
        two_stems=two_stems,
        residual=residual,
        format=_chosen("--format", format, {"mp3": mp3, "flac": flac}) or "wav",
        depth=_chosen("--depth", depth, {"float32": float32, "int24": int24}),
        bitrate=_bits(bitrate),
        clip=clip,
        device=device,
        precision=precision,
        segment_seconds=segment_seconds,
        overlap=overlap,
        shifts=shifts,
        seed=seed,
        threads=_count("--threads", threads),
        downmix=downmix,
        stream=stream,
        scratch=scratch,
        plot=plot,
        json=json,
        pitch=pitch,
        pitch_weights=pitch_weights,
        architecture=architecture,
        download=download,
        accept_licence=accept_licence,
    )
    policies = {Policy.IF_CHANGED: if_changed, Policy.IF_MISSING: if_missing, Policy.OVERWRITE: overwrite}
    options = BatchOptions(
        inputs_from=inputs_from,
        null=null,
        exclude=tuple(exclude or ()),
        policy=_only([policy for policy, given in policies.items() if given]),
        checksum=checksum,
        dry_run=dry_run,
        shard=None if shard is None else parse_shard(shard),
        wait_lock_seconds=wait_lock,
        max_failures=1 if fail_fast else max_failures,
        jobs=_count("--jobs", jobs),
        timeout_seconds=timeout_per_track,
        nice=nice,
        retry_failed=retry_failed,
        engine=_engine(engine),
        ray_address=ray_address,
    )
    return run(request, options, console)


def _only(policies: "Sequence[Policy]") -> "Policy":
    """Give the one policy that was chosen."""
    from mss_cli.batch.decisions import Policy

    if len(policies) > 1:
        raise UsageError(f"`--{policies[0]}` and `--{policies[1]}` are both given", hint="give one")
    return policies[0] if policies else Policy.IF_CHANGED


def _engine(text: str) -> "EngineName":
    """Read the name of an engine."""
    from mss_cli.batch.options import EngineName

    try:
        return EngineName(text)
    except ValueError:
        raise UsageError(f"`--engine {text}` is neither `local` nor `ray`", hint="leave it out for `local`") from None


def _count(flag: str, text: str) -> int | None:
    """Read a number of jobs or threads; None is `auto`."""
    if text == "auto":
        return None
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 1024:
        hint = "leave it out for `auto`"
        raise UsageError(f"`{flag} {text}` is neither `auto` nor a number from 1 to 1024", hint=hint)
    return int(text)


def _chosen(flag: str, value: str | None, shorthands: dict[str, bool]) -> str | None:
    """Join a flag and its shorthands, refusing two that differ."""
    wanted = [name for name, given in shorthands.items() if given]
    if value is not None and value not in wanted:
        wanted.append(value)
    if len(wanted) > 1:
        raise UsageError(f"`{flag}` is given as {' and '.join(wanted)}", hint="give one")
    return wanted[0] if wanted else None


def _bits(bitrate: str | None) -> int | None:
    """Read 192, 192k or 192kbps as 192,000 bit/s."""
    if bitrate is None:
        return None
    digits = bitrate.lower().removesuffix("bps").removesuffix("/s").removesuffix("kbit").removesuffix("k").strip()
    if not digits.isdecimal() or not 0 < int(digits) < 10_000:
        raise UsageError(f"`--bitrate {bitrate}` is no number of kbit/s", hint="write 192 or 192k")
    return int(digits) * 1000
