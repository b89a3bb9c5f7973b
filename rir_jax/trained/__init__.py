"""A trained network and its use: loading, classifying, exporting, sharing weights."""
