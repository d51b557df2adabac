"""RoFormers: bands of a spectrogram as places, attention along time and along bands by turns, a mask for each stem."""
