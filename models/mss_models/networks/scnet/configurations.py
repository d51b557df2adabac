"""Settings of an SCNet from values that JSON can hold, and back."""

from mss_models.configuration import Reader, Values
from mss_models.networks.scnet.settings import Bands, ScnetSettings
from mss_models.separator import Normalization

_NORMALIZATIONS: tuple[Normalization, ...] = ("none", "deviation")
_KEYS = ("stems", "sample_rate", "channels", "segment_samples", "n_fft", "hop_length", "unitary", "normalization",
         "masked", "widths", "band_shares", "band_strides", "band_kernels", "band_depths", "compression", "kernel",
         "dual_paths", "expansion")  # fmt: skip


def read_scnet(values: Values) -> ScnetSettings:
    """Read the settings of "scnet".

    Keys are those of `ScnetSettings`, with ``band_shares``, ``band_strides``, ``band_kernels`` and ``band_depths`` for
    its bands; what is left out is as in the smallest published network.

    Raises
    ------
    ConfigurationError, ValueError
        If a key is unknown or missing; if a value is not allowed.
    """
    reader, bands = Reader(values, allowed=_KEYS), Bands()
    return ScnetSettings(
        stems=reader.names("stems"),
        sample_rate=reader.integer("sample_rate"),
        channels=reader.integer("channels"),
        segment_samples=reader.integer("segment_samples"),
        n_fft=reader.integer("n_fft", 4096),
        hop_length=reader.integer("hop_length", 1024),
        unitary=reader.flag("unitary", True),
        normalization=reader.choice("normalization", _NORMALIZATIONS, "none"),
        masked=reader.flag("masked", False),
        widths=reader.integers("widths", (4, 32, 64, 128)),
        bands=Bands(
            shares=reader.numbers("band_shares", bands.shares),
            strides=reader.integers("band_strides", bands.strides),
            kernels=reader.integers("band_kernels", bands.kernels),
            depths=reader.integers("band_depths", bands.depths),
        ),
        compression=reader.integer("compression", 4),
        kernel=reader.integer("kernel", 3),
        dual_paths=reader.integer("dual_paths", 6),
        expansion=reader.integer("expansion", 1),
    )


def scnet_values(settings: ScnetSettings) -> Values:
    """The inverse of `read_scnet`."""
    return {  # the keys are those of _KEYS
        "stems": list(settings.stems),
        "sample_rate": settings.sample_rate,
        "channels": settings.channels,
        "segment_samples": settings.segment_samples,
        "n_fft": settings.n_fft,
        "hop_length": settings.hop_length,
        "unitary": settings.unitary,
        "normalization": settings.normalization,
        "masked": settings.masked,
        "widths": list(settings.widths),
        "band_shares": list(settings.bands.shares),
        "band_strides": list(settings.bands.strides),
        "band_kernels": list(settings.bands.kernels),
        "band_depths": list(settings.bands.depths),
        "compression": settings.compression,
        "kernel": settings.kernel,
        "dual_paths": settings.dual_paths,
        "expansion": settings.expansion,
    }
