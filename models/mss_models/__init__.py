"""Music source separation on tensors: knows no files and no command line."""
