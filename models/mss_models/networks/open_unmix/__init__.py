"""Open-Unmix, its crossed kin, and what makes them separators."""
