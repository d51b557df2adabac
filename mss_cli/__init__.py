"""Music source separation from the command line."""
