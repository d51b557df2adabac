"""The commands: thin; parse, call one function, render."""
