"""The configurations that have a name: the thesis's networks and our own."""

from collections.abc import Mapping
from typing import get_args

from mss_models.configuration import Configuration, ConfigurationError, Values, unknown
from mss_models.networks.demucs.time_presets import TIME_DEMUCS
from mss_models.networks.mask_separator import Head
from mss_models.networks.open_unmix.configurations import OPEN_UNMIX
from mss_models.networks.vocal_pitch_unet import Wiring


def shipped(name: str) -> Configuration:
    """Give a configuration by its name.

    Parameters
    ----------
    name : str
        One of `SHIPPED`.

    Returns
    -------
    Configuration
        Architecture and settings.

    Raises
    ------
    ConfigurationError
        If there is none of this name; names the nearest and lists all.
    """
    if name not in SHIPPED:
        raise ConfigurationError(unknown("configuration", name, list(SHIPPED)))
    return SHIPPED[name]


def _thesis_vocals(stem: str, *, skips: bool) -> Values:
    """Chapter 4: 8192 Hz mono, magnitudes in [0, 1], patches of 128 frames, 512 of 513 bins."""
    return {
        "stems": [stem],
        "sample_rate": 8192,
        "channels": 1,
        "n_fft": 1024,
        "hop_length": 768,
        "bins": 512,
        "normalization": "peak",
        "feature_scale": "window-sum",
        "head": "sigmoid",
        "segment_frames": 128,
        "skips": skips,
        "dropout_layers": 3,
    }


def _thesis_multi(head: Head) -> Configuration:
    """Chapter 6: 22050 Hz mono, one network per stem, the fifth stem is what they leave.

    The thesis's two complex configurations differ in the loss only.
    """
    networks = [
        {
            "stems": [stem],
            "sample_rate": 22_050,
            "channels": 1,
            "n_fft": 1024,
            "hop_length": 256,
            "bins": 512,
            "head": head,
            "segment_frames": 512,
            "normalize_first": False,
            "dropout_layers": 5,
        }
        for stem in ("vocals", "drums", "guitar", "bass")
    ]
    return Configuration("unet-per-stem", {"networks": networks, "residual": "other"})


def _joint(wiring: Wiring) -> Configuration:
    """Chapter 5: 22050 Hz mono and the U-Nets of chapter 4; the scale balances the two losses."""
    return Configuration(
        "vocal-pitch-unet",
        {
            "wiring": wiring,
            "sample_rate": 22_050,
            "channels": 1,
            "n_fft": 1024,
            "hop_length": 256,
            "bins": 512,
            "normalization": "peak",
            "feature_scale": "window-energy",
            "segment_frames": 512,
            "dropout_layers": 3,
        },
    )


def _transformed_demucs(stems: tuple[str, ...], *, bottom_channels: int) -> Configuration:
    """Rouard, Massa and Défossez 2023: four levels, a transformer of five layers, segments of 7.8 s."""
    residual = {"in_decoder": True, "compression": 8, "lstm_from": None, "attention_from": None, "scale": 1e-3}
    settings = {
        "stems": list(stems),
        "segment_samples": 343_980,
        "depth": 4,
        "residual": residual,
        "transformer": {"bottom_channels": bottom_channels, "layers": 5},
    }
    return Configuration("hybrid-demucs", settings)


SHIPPED: Mapping[str, Configuration] = {
    "thesis-vocals": Configuration("unet", _thesis_vocals("vocals", skips=True)),
    "thesis-baseline": Configuration("unet", _thesis_vocals("vocals", skips=False)),
    # The thesis's two networks; neither is the complement of the other.
    "thesis-vocals-pair": Configuration(
        "unet-per-stem",
        {
            "networks": [_thesis_vocals(stem, skips=True) for stem in ("vocals", "accompaniment")],
            "residual": None,
        },
    ),
    "thesis-noncomplex": _thesis_multi("sigmoid"),
    "thesis-complex": _thesis_multi("polar"),
    # Ours: chapter 6's network for all four stems at once, at full rate, with the head that learns faster.
    "unet44": Configuration(
        "unet",
        {
            "stems": ["vocals", "drums", "bass", "other"],
            "sample_rate": 44_100,
            "channels": 2,
            "n_fft": 4096,
            "hop_length": 1024,
            "bins": 2048,
            "head": "cartesian",
            "segment_frames": 256,
            "normalize_first": False,
            "dropout_layers": 3,
        },
    ),
    # Ours: a shape that learned well in little time, and that separates 20 times faster than real time on one core.
    "subband44": Configuration(
        "subband-unet",
        {
            "stems": ["vocals", "drums", "bass", "other"],
            "sample_rate": 44_100,
            "channels": 2,
            "n_fft": 4096,
            "hop_length": 2048,
            "bins": 1536,  # 16.5 kHz
            "head": "shares",
            "level": "segment",
            "consistency": "equal",
            "channels_by_scale": [72, 128, 184],
            "segment_frames": 256,
        },
    ),
    # As published: a published file says itself which sizes it has.
    "htdemucs": _transformed_demucs(("drums", "bass", "other", "vocals"), bottom_channels=512),
    "htdemucs_6s": _transformed_demucs(("drums", "bass", "other", "vocals", "guitar", "piano"), bottom_channels=0),
    "hdemucs": Configuration("hybrid-demucs", {"stems": ["drums", "bass", "other", "vocals"]}),
    **{name: Configuration("time-demucs", settings) for name, settings in TIME_DEMUCS.items()},
    **{name: Configuration("open-unmix", settings) for name, settings in OPEN_UNMIX.items()},
    **{f"joint-{wiring}": _joint(wiring) for wiring in get_args(Wiring)},
}
