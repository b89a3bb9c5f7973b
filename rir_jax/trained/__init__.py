"""Trained networks and their use: loading, classifying, exporting, sharing weights."""
