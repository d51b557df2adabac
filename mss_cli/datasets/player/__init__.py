"""The song player: endless new songs, with their stems, from a folder of sampled notes, hits and sung phrases."""
