"""The tables and figures, a file each, whose ``TABLE`` is an `experiments.table.Table`."""
