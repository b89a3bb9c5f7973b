"""Trains a network: python -m rir_jax.train --config=FILE --workdir=DIR [--config.FIELD=VALUE ...]

Running the same command again resumes the run where it stopped. Several processes that train one
network (see docs/multi_process.md) each run the same command; --process_id or the cluster tells
them apart.
"""

from absl import flags

from rir_jax import cli
from rir_jax.devices import processes
from rir_jax.errors import InputError

FLAGS = flags.FlagValues()
_CONFIG = cli.define_config(FLAGS)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", FLAGS)
_ADDRESS = flags.DEFINE_string("coordinator_address", None, "HOST:PORT of process 0.", FLAGS)
_PROCESSES = flags.DEFINE_integer("num_processes", None, "Number of processes.", flag_values=FLAGS)
_PROCESS = flags.DEFINE_integer(
    "process_id", None, "Number of this process, from 0.", flag_values=FLAGS
)
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Ask the cluster (Cloud TPU, Slurm, Open MPI) for the others.", FLAGS
)


def main(arguments: list[str]) -> None:
    cli.no_arguments(arguments)
    config = _CONFIG.load()
    if not _WORKDIR.value:
        raise InputError("--workdir is missing; see --help")
    processes.start(_ADDRESS.value, _PROCESSES.value, _PROCESS.value, _DISTRIBUTED.value)
    from rir_jax.loop import train_and_evaluate

    summary = train_and_evaluate(config, _WORKDIR.value)
    if summary is not None and processes.is_main_process():
        print(describe(summary, _WORKDIR.value))


def describe(summary: dict, workdir: str) -> str:
    """A line about a finished run: its network, accuracy, loss and time."""
    split = "test" if "test_accuracy" in summary else "validation"
    return (
        f"{summary['model']} on {summary['dataset']}: {100 * summary[f'{split}_accuracy']:.2f} % "
        f"{split} accuracy, loss {summary[f'{split}_loss']:.4f}, after {summary['epochs']} epochs "
        f"({summary['seconds']:.0f} s on {summary['device']}); summary.json and curves.png are in "
        f"{workdir}"
    )


if __name__ == "__main__":
    cli.start(main, FLAGS)
