"""The paper's search of learning rate, L2, initialization and shortcut, on held-out images."""

import itertools

from experiments.table import SCALES, Row, Table

RATES, DECAYS = (0.03, 0.1, 0.3), (1e-5, 1e-4, 1e-3)
INITS, SHORTCUTS = ("msr", "glorot"), ("zero_pad", "projection")

TABLE = Table(
    name="grid",
    title="Grid search of the RiR, on a held-out tenth of the training set",
    fields={"model.name": "rir32", "dataset.validation_fraction": 0.1},
    rows=tuple(
        Row(
            f"rate {rate}, L2 {decay:g}, {init}, {shortcut}",
            {
                "optimizer.learning_rate": rate,
                "optimizer.weight_decay": decay,
                "model.kernel_init": init,
                "model.shortcut": shortcut,
            },
        )
        for rate, decay, init, shortcut in itertools.product(RATES, DECAYS, INITS, SHORTCUTS)
    ),
    rows_at={
        scale: tuple(f"rate {rate}, L2 0.0001, msr, zero_pad" for rate in RATES) for scale in SCALES
    },
    note="Never on the test set. The values searched are ours: the paper's are not known to us. "
    "In a row's name, rate is the learning rate, L2 the factor of the penalty, msr (He et al.) or "
    "glorot the initialization, zero_pad or projection the shortcut where shapes change.",
)
