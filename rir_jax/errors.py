"""Errors that a person can act on: command lines print them as one line."""


class InputError(ValueError):
    """Something the user gave is not allowed: a field, a file, a folder. Exit code 2.

    The message names what was given, the value, and what is allowed.
    """


class RunError(RuntimeError):
    """A run that was well asked for could not go on: diverged, disk full, ... Exit code 1."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended a run at a checkpoint, which the log tells of. Exit code 130."""
