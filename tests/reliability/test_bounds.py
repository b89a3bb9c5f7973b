"""What a field allows works: each number at both ends of its range trains, or a line names it."""

import pytest

from rir_jax import config as configs
from rir_jax import config_fields
from rir_jax.errors import InputError, RunError
from rir_jax.loop import train_and_evaluate
from rir_jax.runs.metrics import read_metrics
from rir_jax.runs.workdir import Workdir
from tools.harness import TINY

pytestmark = pytest.mark.long

TWO_EPOCHS = {**TINY, "mesh.data": 1, "train.epochs": 2, "schedule.milestones": (1,)}
ALSO = {
    ("schedule.warmup_epochs", 1_000_000): {"schedule.kind": "cosine"},
    ("train.epochs", 1_000_000): {"train.time_limit": "30s"},
}
LONG = (("model.layers_per_block", 1000), ("num_seeds", 1000))  # take hours, but no other numbers
EXTREMES = [
    (path, value)
    for path, field in config_fields.FIELDS.items()
    for value in field.extremes or ()
    if (path, value) not in LONG
]


@pytest.mark.parametrize(("path", "value"), EXTREMES)
def test_a_number_at_its_bound_trains_or_is_named(path, value, tmp_path):
    config = configs.from_flat(TWO_EPOCHS | ALSO.get((path, value), {}) | {path: value})
    said = ""
    try:
        train_and_evaluate(config, tmp_path / "run")
    except (InputError, RunError) as error:
        said = str(error)
    if said:
        assert path in said
        assert "\n" not in said
    else:  # and no loss was other than finite, which would have been an error
        assert read_metrics(Workdir(tmp_path / "run"))
