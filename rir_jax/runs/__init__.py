"""Keeping a run: its folder, checkpoints, metrics and progress, from start to summary."""
