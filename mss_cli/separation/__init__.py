"""One track: file to stems."""
