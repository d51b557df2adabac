"""Audio files in and out, block by block."""
