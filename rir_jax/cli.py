"""The part that all commands share: flags, one line for each mistake, and exit codes."""

import codecs
import io
import logging
import os
import pathlib
import re
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Callable

import absl.logging
import jax
import ml_collections
from absl import flags

from rir_jax import config as configs
from rir_jax import config_fields
from rir_jax.errors import InputError, Interrupted, RunError
from rir_jax.files import cache_root
from rir_jax.models.zoo import suggest


def start(main: Callable[[list[str]], None], values: flags.FlagValues) -> None:
    """Parses the command line and calls ``main`` with the arguments that are not flags.

    Each command has flag values of its own, so that importing several commands never clashes.
    Exit codes: 0 for success; 2 for input that is not allowed; 1 for a run that failed; 130 after
    Ctrl-C.
    """
    try:
        _start(main, values)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has closed the pipe, as in `--help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


def _start(main, values):
    if any(argument in ("--help", "-h") for argument in sys.argv[1:]):
        flags_of_ours = values.get_help(include_special_flags=False)
        print(f"{sys.modules[main.__module__].__doc__}\n{flags_of_ours}")
        if "config" in values:
            print(f"\n\nFields of the config:\n{config_fields.describe_fields()}")
        return
    _log_ours_only()
    _print_every_name()
    _use_compilation_cache()
    try:
        main(parse(sys.argv, values)[1:])
    except InputError as error:
        _fail(error, 2)
    except RunError as error:
        _fail(error, 1)
    except Interrupted:
        sys.exit(130)  # at a checkpoint in all processes, so an orderly end
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except BaseException:
        if jax.distributed.is_initialized():
            traceback.print_exc()
            os._exit(1)
        raise


def _print_every_name():
    """Prints characters that the terminal lacks as escapes: names may contain any character."""
    codecs.register_error("rir_jax", _byte_or_escape)
    instead = {"strict": "backslashreplace", "surrogateescape": "rir_jax"}
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors in instead:
        sys.stdout.reconfigure(errors=instead[sys.stdout.errors])


def _byte_or_escape(error):
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.backslashreplace_errors(error)


def _log_ours_only():
    """Prints our own messages as plain lines. Libraries stay silent: our errors name failures."""
    absl.logging.set_verbosity(absl.logging.FATAL)
    ours = logging.getLogger("rir_jax")
    ours.setLevel(logging.INFO)
    ours.propagate = False
    ours.handlers[:] = [logging.StreamHandler(sys.stderr)]
    _hush_orbax()


def _hush_orbax():
    """Keeps orbax's threads from printing failed writes, which are also raised."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    in_thread, unraisable = threading.excepthook, sys.unraisablehook

    def is_orbax(trace):
        frames = traceback.extract_tb(trace)
        return any("orbax" in frame.filename or "asyncio" in frame.filename for frame in frames)

    threading.excepthook = lambda a: None if is_orbax(a.exc_traceback) else in_thread(a)
    sys.unraisablehook = lambda a: None if is_orbax(a.exc_traceback) else unraisable(a)


def _use_compilation_cache():
    """Keeps compiled programs in the user's cache folder, unless JAX is set to use another one."""
    root = cache_root()
    if root is not None and not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(root / "programs"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


class ConfigFlag(flags.Flag):
    """``--config=NAME_OR_FILE``, with the fields that ``--config.FIELD=VALUE`` sets in it.

    Attributes:
      fields: the name of each given field and the text of its value, in the order given.
    """

    fields: list[tuple[str, str]]

    def __init__(self):
        what = (
            f"One of {', '.join(list_configs())}; or a Python file with a get_config(). "
            "--config.FIELD=VALUE sets a field."
        )
        super().__init__(flags.ArgumentParser(), None, "config", None, what)
        self.fields = []

    def load(self) -> ml_collections.ConfigDict:
        """Reads the config and sets the given fields in it.

        Raises:
          InputError: no config was given, its file cannot be read or fails, or a field or value
            is not allowed.
        """
        if not self.value:
            raise InputError("--config is missing; see --help")
        try:
            config = runpy.run_path(_find(self.value)).get("get_config", lambda: None)()
        except InputError:
            raise
        except Exception as error:  # the file is Python, which raises anything
            raise InputError(f"--config={self.value}: {_one_line(error)}") from None
        if not isinstance(config, ml_collections.ConfigDict):
            raise InputError(
                f"--config={self.value} gives no config; allowed: a Python file with a "
                "get_config() that returns a ConfigDict"
            )
        texts = dict(self.fields)  # the last value counts for a field that is given twice
        given = {path: config_fields.parse_text(path, text) for path, text in texts.items()}
        return configs.with_fields(config, given)


_CONFIGS = pathlib.Path(__file__).parent / "configs"


def list_configs() -> list[str]:
    """The names of the configs that come with the package.

    Examples:
      >>> "quickstart" in list_configs()
      True
    """
    return sorted(path.stem for path in _CONFIGS.glob("[a-z]*.py"))


def _find(name):
    """The path of a config: of a file of the user's, or of one that comes with the package."""
    if re.fullmatch(r"\w+", name) is None:
        return os.path.expanduser(name)
    if name not in list_configs():
        raise InputError(f"--config={name} is unknown; {suggest(name, list_configs())}, or a file")
    return str(_CONFIGS / f"{name}.py")


def define_config(values: flags.FlagValues) -> ConfigFlag:
    """Adds ``--config`` to the flags of a command; `parse` then accepts ``--config.FIELD``."""
    flag = ConfigFlag()
    flags.DEFINE_flag(flag, values)
    return flag


def parse(argv: list[str], values: flags.FlagValues) -> list[str]:
    """Sets flags from a command line.

    Returns:
      The command and the arguments that are not flags.

    Raises:
      InputError: a flag is unknown, or does not take the given value.
    """
    if "config" in values:
        argv, values["config"].fields = _without_fields(argv)  # type: ignore[attr-defined]
    try:
        return values(argv)
    except flags.Error as error:
        raise InputError(_one_line(error)) from None


def _without_fields(argv):
    """Takes ``--config.FIELD=VALUE`` out of a command line; returns the rest and the pairs."""
    rest, fields = [], []
    arguments = iter(argv)
    for argument in arguments:
        if argument == "--":
            return [*rest, argument, *arguments], fields
        match = re.fullmatch(r"--?(no)?config\.([^=]*)(?:=(.*))?", argument, re.DOTALL)
        negated, path, text = match.groups() if match else (None, None, None)
        is_flag = path in config_fields.FIELDS and config_fields.FIELDS[path].type is bool
        if match is None or (negated and not is_flag):
            rest.append(argument)
            continue
        if text is None:
            text = str(not negated) if is_flag else next(arguments, "")
        fields.append((path, text))
    return rest, fields


def _fail(message, code):
    print(f"error: {' '.join(str(message).split())}", file=sys.stderr, flush=True)
    if jax.distributed.is_initialized():
        os._exit(code)  # an orderly exit would wait for processes that wait for this one
    sys.exit(code)


def _one_line(error):
    text = " ".join(str(error.args[0] if len(error.args) == 1 else error).split())
    known = isinstance(error, flags.Error | KeyError | AttributeError | TypeError | OSError)
    return text if known else f"{type(error).__name__}: {text}"


def no_arguments(arguments: list[str]) -> None:
    """Refuses arguments that are not flags.

    Raises:
      InputError: there is such an argument.
    """
    if arguments:
        raise InputError(f"argument {arguments[0]!r} is not understood; allowed: flags, see --help")


def one_of(*holders: flags.FlagHolder | flags.Flag) -> None:
    """Checks that exactly one of several flags was given.

    Raises:
      InputError: none was given, or several.
    """
    names = [f"--{holder.name}" for holder in holders]
    count = sum(bool(holder.value) for holder in holders)
    if count != 1:
        raise InputError(
            f"{count} of {', '.join(names[:-1])} and {names[-1]} given; allowed: one of them"
        )
