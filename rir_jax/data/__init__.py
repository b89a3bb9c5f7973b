"""Data: from the name of a data set to training batches on the devices."""
