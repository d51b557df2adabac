"""Demucs: hybrid (spectrogram and waveform), with and without transformer, and in the time domain."""
