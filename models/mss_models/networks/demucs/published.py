"""Reads what the published Demucs checkpoints say of themselves: a class name, positional and keyword arguments.

Only names are looked at: nothing is imported by them. What a checkpoint does not say has the default of the
package's constructor. Options that no published checkpoint of these architectures uses are refused by name.
"""

from collections.abc import Mapping, Sequence

from mss_models.configuration import ConfigurationError, unknown
from mss_models.networks.demucs.published_options import Known, PublishedOptions
from mss_models.networks.demucs.settings import HybridSettings, ResidualSettings, TransformerSettings

# Class names end so; packages have moved them about.
HYBRID_CLASSES = ("HDemucs", "HTDemucs")

# Only these values are known, and they are the defaults.
_FIXED: Mapping[str, object] = {
    "channels_time": None,
    "wiener_residual": False,
    "rewrite": True,
    "hybrid": True,
    "context_enc": 0,
    "emb_scale": 10,
    "t_emb": "sin",
    "t_norm_in": True,
    "t_norm_in_group": False,
    "t_group_norm": False,
    "t_norm_first": True,
    "t_norm_out": True,
    "t_max_period": 10_000.0,
    "t_layer_scale": True,
    "t_gelu": True,
    "t_weight_pos_embed": 1.0,
    "t_sparse_self_attn": False,
    "t_sparse_cross_attn": False,
    "t_cross_first": False,
    "use_train_segment": True,
}
# Of training, or of options that are off.
_WITHOUT_EFFECT = (
    *("end_iters", "emb_smooth", "rescale", "t_max_positions", "t_weight_decay"),
    *("t_lr", "t_sin_random_shift", "t_cape_mean_normalize", "t_cape_augment", "t_cape_glob_loc_scale", "t_mask_type"),
    *("t_mask_random_seed", "t_sparse_attn_window", "t_global_window", "t_sparsity", "t_auto_sparsity"),
)
_SIZES = (
    *("sources", "audio_channels", "channels", "growth", "nfft", "depth", "freq_emb", "kernel_size", "time_stride"),
    *("stride", "context", "norm_starts", "norm_groups", "samplerate", "segment"),
    *("cac", "wiener_iters", "multi_freqs", "multi_freqs_depth", "hybrid_old"),
    *("dconv_mode", "dconv_depth", "dconv_comp", "dconv_attn", "dconv_lstm", "dconv_init"),
    *("bottom_channels", "t_layers", "t_heads", "t_hidden_scale", "t_dropout"),
)


def published_hybrid(class_name: str, arguments: Sequence[object], options: Mapping[str, object]) -> HybridSettings:
    """Give the settings of a published Hybrid Demucs, with or without transformer.

    Parameters
    ----------
    class_name : str
        As stored in the checkpoint, with or without its modules.
    arguments : sequence of object
        Positional arguments; the first one is the list of stems.
    options : mapping of str to object
        Keyword arguments.

    Returns
    -------
    HybridSettings
        Sizes. The state dict of `HybridDemucs` then has the names and shapes of the checkpoint's.

    Raises
    ------
    ConfigurationError
        If the class or an option is not known, or has a value that is not.
    """
    short = class_name.rpartition(".")[2]
    if short not in HYBRID_CLASSES:
        raise ConfigurationError(unknown("class", class_name, list(HYBRID_CLASSES)))
    values = PublishedOptions(arguments, options, Known(_SIZES, _FIXED, _WITHOUT_EFFECT))
    transformed = short == "HTDemucs"
    default_segment = 10 if transformed else 40
    rate = values.integer("samplerate", 44_100)
    mode = values.integer("dconv_mode", 1)
    complex_planes, bands = values.flag("cac", True), values.numbers("multi_freqs")
    try:
        return HybridSettings(
            stems=values.names("sources"),
            sample_rate=rate,
            channels=values.integer("audio_channels", 2),
            segment_samples=int(values.fraction("segment", default_segment) * rate),
            width=values.integer("channels", 48),
            growth=values.integer("growth", 2),
            depth=values.count("depth", 4 if transformed else 6),
            n_fft=values.integer("nfft", 4096),
            kernel_size=values.integer("kernel_size", 8),
            stride=values.integer("stride", 4),
            time_stride=values.integer("time_stride", 2),
            context=values.integer("context", 1),
            norm_from=values.integer("norm_starts", 4),
            norm_groups=values.integer("norm_groups", 4),
            planes="complex" if complex_planes else "magnitude",
            wiener_iterations=-1 if complex_planes else values.integer("wiener_iters", 0),
            band_ends=bands,
            banded_levels=values.integer("multi_freqs_depth", 2) if bands else 2,
            mirrored_ends=not values.flag("hybrid_old", False),
            frequency_embedding=values.number("freq_emb", 0.2),
            residual=ResidualSettings(
                in_encoder=bool(mode & 1),
                in_decoder=bool(mode & 2),
                layers=values.count("dconv_depth", 2),
                compression=values.integer("dconv_comp", 8 if transformed else 4),
                lstm_from=None if transformed else values.integer("dconv_lstm", 4),
                attention_from=None if transformed else values.integer("dconv_attn", 4),
                scale=values.number("dconv_init", 1e-3 if transformed else 1e-4),
            ),
            transformer=_transformer(values) if transformed else None,
        )
    except ConfigurationError:
        raise
    except ValueError as fault:
        raise ConfigurationError(f"{class_name}: {fault}") from fault


def _transformer(values: PublishedOptions) -> TransformerSettings:
    return TransformerSettings(
        bottom_channels=values.integer("bottom_channels", 0),
        layers=values.count("t_layers", 5),
        heads=values.integer("t_heads", 8),
        hidden_scale=values.number("t_hidden_scale", 4.0),
        dropout=values.number("t_dropout", 0.0),
    )
