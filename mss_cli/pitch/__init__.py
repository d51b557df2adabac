"""Pitch of the vocals: what estimates its salience, and the files it is written to."""
