"""What goes through the tracks of a run: this process, or several of its own."""
