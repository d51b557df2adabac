"""Data sets of mixtures and their true stems: where tracks lie and how their samples are read."""
