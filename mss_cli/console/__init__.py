"""What is told of a run: to people on stderr, as JSON lines on stdout, in a log and in a summary."""
