"""The machine of a run: its mesh of devices and its processes."""
