"""How many segments a track has, where tracks can share a loaded model at all."""

import math

from mss_cli.separation.request import Checked


def shared_segments(checked: Checked, seconds: float) -> int | None:
    """Count the segments of a track, where the tracks of a request may be done at once over one loaded model.

    The model is built without memory for its weights, which takes a fraction of a second; torch is imported.

    Parameters
    ----------
    checked : Checked
        The request, its weights there.
    seconds : float, >= 0
        Length of the track.

    Returns
    -------
    int or None
        At least 1. None if only one track at a time is possible: of ensembles, of models that hear whole tracks, and
        with pictures and pitch, whose libraries are not made for threads.

    Raises
    ------
    WeightsError
        If the weights cannot be read.
    """
    request = checked.request
    if len(checked.weights) != 1 or request.plot or request.pitch:
        return None
    import torch

    from mss_cli.separation.shared import can_be_shared
    from mss_cli.weights.store import read_card
    from mss_models.catalog import build
    from mss_models.configuration import ConfigurationError
    from mss_models.tracks import TrackSettings

    card = read_card(checked.weights[0])
    try:
        with torch.device("meta"):
            separator = build(card.architecture, card.configuration)
    except ConfigurationError:
        return None  # a worker will say so when it loads the model
    if not can_be_shared(separator):
        return None
    settings = TrackSettings(request.segment_seconds, request.overlap).segments_of(separator)
    behind_first = round(seconds * separator.sample_rate) - settings.segment_samples
    return 1 + max(0, math.ceil(behind_first / settings.hop_samples))
