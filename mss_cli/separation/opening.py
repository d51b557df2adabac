"""From the words of a user (model, device, precision, threads) to an engine that is ready."""

from torch import nn

from mss_cli.devices import PrecisionChoice, prepare_process, resolve_device, resolve_precision
from mss_cli.errors import UsageError
from mss_cli.events import Listener, Warned, WeightsReady, ignore
from mss_cli.heap import give_back
from mss_cli.separation.engine import Engine
from mss_cli.weights.choice import load_choice
from mss_cli.weights.installing import Terms
from mss_cli.weights.manifest import DEFAULT
from mss_models.networks.states import drop_weights
from mss_models.networks.vocal_pitch_separator import VocalPitchSeparator
from mss_models.networks.vocal_pitch_unet import WiringError
from mss_models.separator import Separator


def open_engine(
    model: str = DEFAULT,
    *,
    device: str = "auto",
    precision: PrecisionChoice = "auto",
    threads: int | None = None,
    terms: Terms | None = None,
    family: str | None = None,
    listener: Listener = ignore,
) -> Engine:
    """Load a separator once, ready for any number of tracks.

    Parameters
    ----------
    model : str
        A name that `mss-cli models` lists, the path of a checkpoint, or several joined by `+`.
    device : str
        "auto", "cpu", "cuda", "cuda:N" or "mps"; "auto" prefers a GPU.
    precision : {"auto", "fp32", "bf16", "fp16"}
        "auto" is fp32 unless the model's card allows bf16 and the device is fast at it.
    threads : int or None
        Threads of one operation; the cores this process may use if None.
    terms : Terms or None
        What may be done to get a published model that is not there; by default it is fetched if its licence is free
        or was accepted.
    family : str or None
        Of a checkpoint of others; found by its contents if None.
    listener : callable
        Takes the events `warning`, `weights_ready` and those of downloads.

    Raises
    ------
    UsageError, WeightsError, DeviceError
        If there is no such model, device or precision; if the weights are damaged or may not be fetched.
    DownloadError, OutputError
        If no server gives the weights now; if they cannot be kept.
    """
    count = prepare_process(threads)
    separator, card = load_choice(model, terms=terms or Terms(), family=family, listener=listener)
    chosen_device = resolve_device(device, listener)
    chosen = resolve_precision(precision, chosen_device, possible=separator.precisions, bf16_measured=card.allows_bf16)
    if card.is_random:
        listener(Warned(f"MODEL `{card.name}` HAS RANDOM WEIGHTS: its stems are noise, for tests and benchmarks only"))
    try:
        separator.prepare(chosen_device, chosen)
        _check_gives_stems(separator)
    except WiringError as error:
        hint = "train another wiring; this one is for comparisons"
        raise UsageError(f"cannot separate: {error}", path=model, hint=hint) from error
    if chosen_device.type == "cpu" and isinstance(separator, nn.Module):
        drop_weights(separator)  # only a GPU without room is left for another device
    give_back()
    listener(
        WeightsReady(
            model=card.name,
            architecture=card.architecture,
            stems=separator.stems,
            sample_rate_hz=separator.sample_rate,
            licence=card.licence,
            device=str(chosen_device),
            precision=chosen,
            threads=count,
        )
    )
    return Engine(separator=separator, card=card, device=chosen_device, precision=chosen, threads=count)


def _check_gives_stems(separator: Separator) -> None:
    """Refuse a network that hears pitch alone, with a `WiringError`."""
    if isinstance(separator, VocalPitchSeparator) and not separator.settings.gives_vocals:
        raise WiringError(f"wiring `{separator.settings.wiring}` gives no vocals, only their pitch")
