"""Measurements of speed and memory, each a command with --help and a JSON line last."""
