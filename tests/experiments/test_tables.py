"""The tables as data: rows that can be run, and the paper's figures as they are known."""

import importlib

import pytest

from experiments.table import folder_name, get_table, list_tables
from rir_jax import config as configs
from rir_jax.errors import InputError

NAMES = [
    "ablation",
    "cifar10",
    "cifar100",
    "cifar100_32",
    "cifar10_32",
    "depth",
    "grid",
    "l2",
    "modern",
    "rates",
    "shortcut",
]


def test_there_is_a_file_for_each_table_and_figure():
    assert list_tables() == NAMES
    with pytest.raises(InputError, match="'cifar11' is unknown; allowed: ablation, cifar10"):
        get_table("cifar11")


@pytest.mark.parametrize("scale", ["full", "medium", "small"])
@pytest.mark.parametrize("name", NAMES)
def test_every_row_is_a_config_of_its_own(name, scale):
    table = get_table(name).at_scale(scale)
    rows = [table.config(row) for row in table.rows]
    for config in rows:
        configs.validate(config)
    assert len({folder_name(config) for config in rows}) == len(rows) > 0
    assert len({row.label for row in table.rows}) == len(rows)


def test_the_full_tables_are_by_the_papers_recipe():
    config = get_table("cifar10").config(get_table("cifar10").rows[0])
    assert (config.train.batch_size, config.train.epochs) == (500, 82)
    assert config.schedule.milestones == (42, 62)
    assert (config.optimizer.learning_rate, config.optimizer.weight_decay) == (0.1, 1e-4)


def test_the_papers_figures_and_how_sure_they_are():
    figures = {
        name: [
            (row.label, row.paper.accuracy, row.paper.sure)
            for row in get_table(name).rows
            if row.paper
        ]
        for name in ("cifar10", "cifar100")
    }
    assert figures == {
        "cifar10": [
            ("CNN", 93.64, "C"),
            ("ResNet", 93.95, "B"),
            ("ResNet Init", 94.28, "C"),
            ("RiR", 94.99, "A"),
        ],
        "cifar100": [
            ("CNN", 75.17, "C"),
            ("ResNet", 76.58, "B"),
            ("ResNet Init", 75.99, "C"),
            ("RiR", 77.10, "A"),
        ],
    }


def test_small_tables_claim_nothing_of_the_paper():
    for name in NAMES:
        table = get_table(name).at_scale("small")
        assert all(row.paper is None for row in table.rows)
        assert all("32" in table.config(row).model.name for row in table.rows)


def test_a_row_may_be_smaller_in_proportion():
    table = get_table("modern")
    small = table.at_scale("small")
    decays = [t.config(t.rows[4]).train.average_decay for t in (table, small)]
    assert decays == [0.999, 0.98]
    assert "about 1,000 training and 1,000 validation images, 50 epochs" in small.note
    assert (
        "5,000 training and 2,000 test images, 8 epochs" in get_table("l2").at_scale("small").note
    )


def test_a_table_with_other_fields_says_what_it_ran():
    small = get_table("cifar10").at_scale("full")
    other = small.with_fields({"dataset.name": "digits", "dataset.data_dir": "elsewhere"})
    assert "CIFAR-10" not in other.title
    assert other.note == "Not the table as it is defined: all rows have dataset.name=digits."
    assert all(row.paper is None for row in other.rows)
    elsewhere = small.with_fields({"dataset.data_dir": "elsewhere"})
    assert (elsewhere.title, elsewhere.rows[0].paper) == (small.title, small.rows[0].paper)
    assert elsewhere.config(elsewhere.rows[0]).dataset.data_dir == "elsewhere"


def test_the_search_never_looks_at_the_test_set():
    table = get_table("grid")
    assert {table.config(row).dataset.validation_fraction for row in table.rows} == {0.1}


def test_rows_of_the_same_config_share_their_runs():
    """The depth figure's two layers a block are the 32-layer table's ResNet and RiR."""
    depth, families = get_table("depth"), get_table("cifar10_32")
    of_depth = {row.label: folder_name(depth.config(row)) for row in depth.rows}
    of_families = {row.label: folder_name(families.config(row)) for row in families.rows}
    moved = families.with_fields({"dataset.data_dir": "elsewhere", "seed": 3})
    assert folder_name(moved.config(moved.rows[3])) == of_families["RiR"]
    assert of_depth["RiR, 2"] == of_families["RiR"]
    assert of_depth["ResNet, 2"] == of_families["ResNet"]
    assert of_depth["RiR, 4"] not in of_families.values()


@pytest.mark.parametrize("name", ["modern", "cifar10", "cifar100"])
def test_the_last_row_is_the_recipe_of_the_modern_config(name):
    config = importlib.import_module("configs.cifar10_rir18_wide_modern").get_config()
    table = get_table(name)
    recipe = configs.flatten(config) | table.fields  # the data set, the part held out
    assert configs.flatten(table.config(table.rows[-1])) == recipe


def test_what_another_table_measures_is_taken_from_there():
    """Without the outer shortcut a RiR is a ResNet Init."""
    folders = [
        {folder_name(table.config(row)) for row in table.rows}
        for table in (get_table(name).at_scale("small") for name in ("shortcut", "cifar10_32"))
    ]
    names = {name.partition("-")[0] for name in folders[0] & folders[1]}
    assert names == {"rir32", "resnet_init32"}
