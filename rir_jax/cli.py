"""What the command lines share: parsing that answers a mistake with one line, and exit codes."""

import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable

import absl.logging
from absl import flags

from rir_jax.config import FIELDS, parse_text
from rir_jax.errors import InputError, RunError
from rir_jax.files import cache_root


def start(main: Callable[[list[str]], None], values: flags.FlagValues) -> None:
    """Parses the command line and calls ``main`` with the arguments that are no flags.

    Each command has flag values of its own, so that importing several commands never clashes.
    Exit codes: 0; 2 for something the user gave that is not allowed; 1 for a run that failed.
    """
    if any(argument in ("--help", "-h") for argument in sys.argv[1:]):
        print(f"{sys.modules['__main__'].__doc__}\n{values.get_help()}")
        return
    arguments = _parse(sys.argv, values)[1:]
    _log_ours_only()
    try:
        main(arguments)
    except InputError as error:
        _fail(error, 2)
    except RunError as error:
        _fail(error, 1)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except BaseException:
        if _is_one_of_several():
            traceback.print_exc()
            os._exit(1)
        raise


def _log_ours_only():
    """Our own messages as plain lines; what fails in a library comes back as an error of ours."""
    absl.logging.set_verbosity(absl.logging.FATAL)
    ours = logging.getLogger("rir_jax")
    ours.setLevel(logging.INFO)
    ours.propagate = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    ours.handlers[:] = [handler]
    _hush_orbax()


def _hush_orbax():
    """Leaves a failed write to the one who waits for it: orbax's threads print it as well."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    of_threads, unraisable = threading.excepthook, sys.unraisablehook

    def is_orbax(trace):
        frames = traceback.extract_tb(trace)
        return any("orbax" in frame.filename or "asyncio" in frame.filename for frame in frames)

    threading.excepthook = lambda a: None if is_orbax(a.exc_traceback) else of_threads(a)
    sys.unraisablehook = lambda a: None if is_orbax(a.exc_traceback) else unraisable(a)


def _parse(argv, values):
    try:
        _check_config_fields(argv)
        return values(argv)
    except InputError as error:
        _fail(error, 2)
    except Exception as error:  # config_flags raises anything, from KeyError to a SyntaxError
        _fail(_one_line(error), 2)


def _check_config_fields(argv):
    """Refuses ``--config.FIELD=VALUE`` of no field, or with a value that is not allowed."""
    given = set()
    for argument, following in zip(argv[1:], [*argv[2:], ""], strict=False):
        if argument == "--":
            return
        match = re.match(r"--?(no)?config\.([^=]+)(?:=(.*))?", argument, re.DOTALL)
        if match is None:
            continue
        negated, path, value = match.groups()
        is_flag = path in FIELDS and FIELDS[path].type is bool
        if value is None:
            value = ("false" if negated else "true") if is_flag else following
        parse_text(path, value.lower() if is_flag else value)
        if path in given and FIELDS[path].type is tuple:  # config_flags would join the two
            raise InputError(f"{path} is given twice; allowed: once")
        given.add(path)


def loaded_config(flag: flags.FlagHolder):
    """The config that a config flag holds.

    Raises:
      InputError: none was given, or its file cannot be read or fails.
    """
    if not flag.present:
        raise InputError(f"--{flag.name} is missing; see --help")
    try:
        config = flag.value
        config.to_dict()  # config_flags reports a file that it could not load on first use
    except FileNotFoundError as error:
        raise InputError(f"--{flag.name}: {error}") from None
    except Exception as error:  # the file is Python: anything
        raise InputError(_one_line(error.__cause__ or error)) from None
    return config


def _fail(message, code):
    print(f"error: {' '.join(str(message).split())}", file=sys.stderr, flush=True)
    if _is_one_of_several():
        os._exit(code)  # an orderly exit waits for the others, who may wait for this one
    sys.exit(code)


def _is_one_of_several():
    return "jax" in sys.modules and sys.modules["jax"].distributed.is_initialized()


def _one_line(error):
    text = " ".join(str(error.args[0] if len(error.args) == 1 else error).split())
    known = isinstance(error, flags.Error | KeyError | AttributeError | TypeError | OSError)
    return text if known else f"{type(error).__name__}: {text}"


def no_arguments(arguments: list[str]) -> None:
    """Refuses arguments that are no flags.

    Raises:
      InputError: there are some.
    """
    if arguments:
        raise InputError(f"argument {arguments[0]!r} is not understood; allowed: flags, see --help")


def one_of(*holders: flags.FlagHolder) -> None:
    """Refuses all but exactly one of some flags, of which one says what a command works on.

    Raises:
      InputError: none was given, or several.
    """
    names = [f"--{holder.name}" for holder in holders]
    count = sum(bool(holder.value) for holder in holders)
    if count != 1:
        raise InputError(
            f"{count} of {', '.join(names[:-1])} and {names[-1]} given; allowed: one of them"
        )


def use_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache folder, unless JAX is told of another."""
    import jax

    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(cache_root() / "programs"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
