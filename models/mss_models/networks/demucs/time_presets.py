"""Configurations of Demucs in the time domain by name: the published versions, and those of a report.

The report is Goel, Huang, Owoputi and Poudyal, "Music source separation using deep learning", 2021.
"""

from mss_models.configuration import Values

_FOUR_STEMS = ("drums", "bass", "other", "vocals")


def _first(**changed: object) -> Values:
    """Défossez et al. 2019: ReLU, an LSTM of two layers, no norms; contexts without padding, as published."""
    return {
        "stems": list(_FOUR_STEMS),
        "context_padding": False,
        "activation": "relu",
        "lstm_layers": 2,
        "norm_from": 6,
        "residual": None,
        "normalize": False,
        "resample": False,
        **changed,
    }


def _light(**changed: object) -> Values:
    """The report, table 13: three levels, one LSTM layer in one direction."""
    return _first(depth=3, lstm_layers=1, lstm_bidirectional=False, segment_samples=441_000, **changed)


TIME_DEMUCS: dict[str, Values] = {
    # As published: 64 channels at twice the rate.
    "demucs-v1": _first(),
    "demucs-v2": _first(resample=True),
    "demucs-v3": {"stems": list(_FOUR_STEMS)},
    "demucs-light": _light(),
    # Its section 5: one encoder and one LSTM, a decoder for each stem.
    "demucs-four-decoders": _light(decoders="per-stem"),
}
"""Settings by name."""
