"""From a data set's name to training batches on the device."""
