"""Throws values at the config's fields: each is refused in one line, or trains.

Hypothesis draws overrides as a person or a script might mistype them. The parser and the validator
of the command line get them all, and some of those that they accept take real training steps.
"""

import collections
import tempfile
import traceback

from absl import flags
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rir_jax import cli, config_fields
from rir_jax import config as configs
from rir_jax.errors import InputError, RunError
from tools.harness import ROOT, TINY

_EMPTY = ("", " ", "None", "()", "(,", "{}", "[1]", "=", "--", "%s")
_NUMBERS = ("nan", "inf", "-inf", "-0", "1e400", "1e39", "1_000", "0x10", " 7 ", "7.0", "9" * 5000)
_TUPLES = ("(1,)", "(1,2,3)", "(0,)", "(-1,2)", "(3,2)", "(1,True)", "('a',)", "(" * 500)
_TEXTS = ("True", "no", "9m", "-9m", "\u0663", "\U0001d7d5", "\x00", "\n", "a\nb", "\xfc", "\udcff")
_PATHS = ("../..", "~x/y", "gs://x", "rir32", "a" * 5000, "lambda: 0", "__import__('os')")
WORDS = (*_EMPTY, *_NUMBERS, *_TUPLES, *_TEXTS, *_PATHS)
NO_FIELDS = ("train", "train.", ".", "", "model.nam", "seed.x", "train.epochs.x", "__class__")

numbers = st.one_of(
    st.integers().map(str),
    st.integers(-3, 40).map(str),
    st.floats().map(str),
    st.floats(0, 2).map(str),
)
tuples = st.lists(st.integers(-2, 70), max_size=4).map(lambda values: str(tuple(values)))
choices = st.sampled_from(
    ["cnn32", "resnet32", "projection", "zero_pad", "pre_norm", "first", "last", "conv", "dense"]
)
values = st.one_of(numbers, tuples, choices, st.sampled_from(WORDS), st.text(max_size=20))
paths = st.one_of(
    st.sampled_from(sorted(config_fields.FIELDS)),
    st.sampled_from(NO_FIELDS),
    st.text(max_size=12),
)
PLAUSIBLE = {
    int: st.integers(0, 64).map(str),
    float: st.floats(0, 1).map(str),
    bool: st.sampled_from(["true", "False", "1"]),
    tuple: st.lists(st.integers(1, 16), min_size=1, max_size=4).map(
        lambda values: str(tuple(2 * value for value in sorted(set(values))))
    ),
    str: choices,
}
plausible = st.sampled_from(sorted(config_fields.FIELDS)).flatmap(
    lambda path: st.tuples(st.just(path), PLAUSIBLE[config_fields.FIELDS[path].type])
)
overrides = st.one_of(
    st.lists(st.tuples(paths, values), min_size=1, max_size=2),
    st.lists(plausible, min_size=1, max_size=4),
)


def parse(pairs):
    """The config that a command line with these overrides has, validated.

    Raises:
      InputError: it has none, with the one line that the command prints.
    """
    argv = ["train", f"--config={ROOT / 'configs/quickstart.py'}"]
    argv += [f"--config.{path}={value}" for path, value in pairs]
    own = flags.FlagValues()
    flag = cli.define_config(own)
    cli.no_arguments(cli.parse(argv, own)[1:])
    config = flag.load()
    configs.validate(config)
    return config


def check(pairs) -> str:
    """What becomes of overrides: "accepted", or "refused" in a line that is one.

    Raises:
      AssertionError: the line is too long, or does not name a field that was given.
      Exception: whatever a hole in the checks lets through.
    """
    try:
        parse(pairs)
    except InputError as error:
        line = " ".join(str(error).split())
        if len(line) > 2000:
            raise AssertionError(f"a line of {len(line)} characters") from None
        # The last part of its path is enough, where it does not fit to another field.
        names = [path.split("=")[0].split(".")[-1] for path, _ in pairs]
        if not any(name in line or repr(name)[1:-1] in str(error) for name in names):
            raise AssertionError(f"no field of {pairs} is named in: {line}") from None
        return "refused"
    return "accepted"


def bounded(pairs):
    """The overrides that keep a run small enough to take here."""
    large = ("train.epochs", "seed", "num_seeds", "checkpoint.keep", "dataset.name")
    kept = [(path, value) for path, value in pairs if path not in large]
    return [*({**{name: str(value) for name, value in TINY.items()}, **dict(kept)}).items()]


def train(pairs) -> str:
    """What becomes of a small run with these overrides: "trained", or it "misfits" the data.

    Raises:
      Exception: whatever comes neither from its input nor from its course.
    """
    from rir_jax.loop import train_and_evaluate

    with tempfile.TemporaryDirectory() as folder:
        try:
            config = parse([*bounded(pairs), ("train.epochs", "1"), ("train.time_limit", "1s")])
            layers = sum(config.model.blocks) * config.model.layers_per_block
            if layers > 6 or max(config.model.widths) > 64:
                return "too large to compile for this"
            train_and_evaluate(config, f"{folder}/run")
        except InputError:
            return "misfits"
        except RunError as error:
            if "finite" not in str(error) and "the loss became" not in str(error):
                raise
    return "trained"


def attack(cases: int, steps: int, seed: int = 0, say=lambda line: None) -> dict:
    """Draws cases, checks them all, and trains some of those accepted."""
    outcomes, accepted, failures = collections.Counter(), [], []

    @settings(
        max_examples=cases,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(overrides)
    def draw(pairs):
        try:
            outcome = check(pairs)
        except (Exception, SystemExit):
            failures.append(f"{pairs}: {traceback.format_exc()}")
            return
        outcomes[outcome] += 1
        fields = {path for path, _ in pairs}
        if outcome == "accepted" and any(path.startswith(("model", "augm")) for path in fields):
            accepted.append(pairs)

    draw()
    while accepted and outcomes["trained"] < steps:
        pairs = accepted.pop(len(accepted) // 2)
        try:
            outcomes[train(pairs)] += 1
        except (Exception, SystemExit):
            failures.append(f"training {pairs}: {traceback.format_exc()}")
            break
    for failure in failures[:5]:
        say(failure)
    return {"cases": cases, **outcomes, "failures": len(failures)}
