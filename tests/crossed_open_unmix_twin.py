"""A slow float64 twin of crossed Open-Unmix networks.

Written from the papers' equations, with numpy and plain loops, by someone who has not read the project's module.
"""

import numpy as np

Weights = dict[str, np.ndarray]

BATCH_NORM_EPSILON = 1e-5
CROSSINGS = ("none", "average", "concatenate")


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return the logistic function of x, in the form that cannot overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def batch_norm(network: Weights, name: str, x: np.ndarray) -> np.ndarray:
    """Apply the named batch norm in evaluation mode to x of shape (frames, features)."""
    deviation = np.sqrt(network[f"{name}.running_var"] + BATCH_NORM_EPSILON)
    return (x - network[f"{name}.running_mean"]) / deviation * network[f"{name}.weight"] + network[f"{name}.bias"]


def lstm_direction(network: Weights, suffix: str, x: np.ndarray) -> np.ndarray:
    """Run one direction of one LSTM layer, frame by frame, over x of shape (frames, features)."""
    weight_ih, weight_hh = network[f"lstm.weight_ih_{suffix}"], network[f"lstm.weight_hh_{suffix}"]
    bias_ih, bias_hh = network[f"lstm.bias_ih_{suffix}"], network[f"lstm.bias_hh_{suffix}"]
    size = weight_hh.shape[1]
    frames = x.shape[0]
    order = range(frames - 1, -1, -1) if suffix.endswith("_reverse") else range(frames)
    hidden, cell = np.zeros(size), np.zeros(size)
    outputs = np.zeros((frames, size))
    for t in order:
        gates = weight_ih @ x[t] + bias_ih + weight_hh @ hidden + bias_hh
        input_gate = sigmoid(gates[0 * size : 1 * size])
        forget_gate = sigmoid(gates[1 * size : 2 * size])
        candidate = np.tanh(gates[2 * size : 3 * size])
        output_gate = sigmoid(gates[3 * size : 4 * size])
        cell = forget_gate * cell + input_gate * candidate
        hidden = output_gate * np.tanh(cell)
        outputs[t] = hidden
    return outputs


def lstm(network: Weights, x: np.ndarray) -> np.ndarray:
    """Run the stacked LSTM of a network over x of shape (frames, hidden)."""
    layer = 0
    while f"lstm.weight_ih_l{layer}" in network:
        outputs = [lstm_direction(network, f"l{layer}", x)]
        if f"lstm.weight_ih_l{layer}_reverse" in network:
            outputs.append(lstm_direction(network, f"l{layer}_reverse", x))
        x = np.concatenate(outputs, axis=1)
        layer += 1
    return x


def encode(network: Weights, magnitudes: np.ndarray) -> np.ndarray:
    """Return the signal s of a network, of shape (frames, hidden), from magnitudes (channels, frames, bins)."""
    channels, frames, _ = magnitudes.shape
    heard_bins = network["input_mean"].shape[0]
    signal = np.zeros((frames, network["fc1.weight"].shape[0]))
    for t in range(frames):
        parts = []
        for channel in range(channels):
            heard = magnitudes[channel, t, :heard_bins]
            parts.append((heard + network["input_mean"]) * network["input_scale"])
        signal[t] = network["fc1.weight"] @ np.concatenate(parts)
    return np.tanh(batch_norm(network, "bn1", signal))


def decode(network: Weights, joined: np.ndarray, channels: int) -> np.ndarray:
    """Return the factors of a network, of shape (channels, frames, bins), from its joined skip and recurrent output."""
    frames = joined.shape[0]
    bins = network["output_mean"].shape[0]
    hidden = np.stack([network["fc2.weight"] @ joined[t] for t in range(frames)])
    hidden = np.maximum(batch_norm(network, "bn2", hidden), 0.0)
    flat = np.stack([network["fc3.weight"] @ hidden[t] for t in range(frames)])
    flat = batch_norm(network, "bn3", flat)
    factors = np.zeros((channels, frames, bins))
    for t in range(frames):
        for channel in range(channels):
            values = flat[t, channel * bins : (channel + 1) * bins]
            factors[channel, t] = np.maximum(values * network["output_scale"] + network["output_mean"], 0.0)
    return factors


def average(arrays: list[np.ndarray]) -> np.ndarray:
    """Return the plain mean of arrays of one shape."""
    total = np.zeros_like(arrays[0])
    for array in arrays:
        total = total + array
    return total / len(arrays)


def crossed_factors(networks: list[Weights], magnitudes: np.ndarray, crossing: str) -> np.ndarray:
    """Return the factors (stem, channel, frame, bin) of all networks for magnitudes (channel, frame, bin)."""
    if crossing not in CROSSINGS:
        raise ValueError(f"crossing must be one of {CROSSINGS}, not {crossing!r}")
    networks = [{name: np.asarray(w, dtype=np.float64) for name, w in network.items()} for network in networks]
    magnitudes = np.asarray(magnitudes, dtype=np.float64)
    channels = magnitudes.shape[0]
    signals = [encode(network, magnitudes) for network in networks]

    joined = []
    if crossing == "none":
        for network, signal in zip(networks, signals, strict=True):
            joined.append(np.concatenate([signal, lstm(network, signal)], axis=1))
    elif crossing == "average":
        shared = average(signals)
        own = [np.concatenate([shared, lstm(network, shared)], axis=1) for network in networks]
        joined = [average(own) for _ in networks]
    else:
        for network, signal in zip(networks, signals, strict=True):
            joined.append(np.concatenate([*signals, lstm(network, signal)], axis=1))

    return np.stack([decode(network, own, channels) for network, own in zip(networks, joined, strict=True)])
