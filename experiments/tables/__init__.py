"""One file a table or figure: ``TABLE``, an `experiments.table.Table`."""
