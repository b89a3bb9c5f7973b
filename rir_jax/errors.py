"""Errors that a person can act on: command lines print them as one line."""


class InputError(ValueError):
    """A field, file or folder that the user gave is not allowed. Exit code 2.

    The message names what was given, the value, and what is allowed.
    """


class RunError(RuntimeError):
    """A run with allowed inputs could not go on: it diverged, a disk is full, ... Exit code 1."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended a run at a checkpoint. Exit code 130."""
