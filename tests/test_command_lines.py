"""The command lines as a person calls them: one line and exit code 2 for a mistake."""

import json
import os
import subprocess
import sys

import pytest

from tests.commands import assert_one_line

QUICKSTART = "--config=configs/quickstart.py"
TINY = [
    QUICKSTART,
    "--config.model.stem_width=4",
    "--config.model.widths=(4,8)",
    "--config.model.blocks=(1,1)",
    "--config.train.epochs=1",
    "--config.train.batch_size=128",
    "--config.mesh.data=1",
]
MISTAKES = {
    "model": ([QUICKSTART, "--config.model.name=rir33"], "model.name is 'rir33'; allowed: cnn"),
    "dataset": (
        [QUICKSTART, "--config.dataset.name=cifar11", "--config.dataset.data_dir=DIR"],
        "prepare pictures of your own with: python -m rir_jax.prepare "
        "--dataset=cifar11 --data_dir=DIR --images=FOLDER",
    ),
    "config key": (
        [QUICKSTART, "--config.train.epoch=3"],
        "config field 'train.epoch' is unknown; did you mean 'train.epochs'?",
    ),
    "missing data": (
        ["--config=configs/cifar10_rir32.py", "--config.dataset.data_dir=DIR/absent"],
        "dataset 'cifar10' is not prepared in DIR/absent; prepare it with: python -m "
        "rir_jax.prepare --dataset=cifar10 --data_dir=DIR/absent\n",
    ),
    "config file": (["--config=configs/absent.py"], "absent.py"),
    "no config": ([], "--config is missing"),
    "type": ([QUICKSTART, "--config.train.epochs=few"], "train.epochs is 'few'; allowed: a whole"),
    "batch": ([QUICKSTART, "--config.train.batch_size=5000"], "train.batch_size is 5000; allowed"),
    "argument": ([QUICKSTART, "extra"], "argument 'extra' is not understood"),
}


def _process(module, *arguments):
    """As `command`, in a real process."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "XLA_FLAGS": ""},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_line_and_exit_code_2(name, command, tmp_path):
    arguments, message = MISTAKES[name]
    arguments = [argument.replace("DIR", str(tmp_path)) for argument in arguments]
    result = command("rir_jax.train", *arguments, f"--workdir={tmp_path / 'run'}")
    assert_one_line(result, message.replace("DIR", str(tmp_path)))
    assert list(tmp_path.iterdir()) == [], "nothing is written"


def test_a_mistake_in_a_real_process(tmp_path):
    arguments, message = MISTAKES["config key"]
    assert_one_line(_process("rir_jax.train", *arguments, f"--workdir={tmp_path / 'run'}"), message)


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    command = f"{sys.executable} -m rir_jax.train --help | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stderr == ""
    first, code = done.stdout.splitlines()
    assert first.startswith("Trains a network")
    assert code in ("141", "0"), "0 where head was slower than we"


def test_train_evaluate_and_train_again(command, tmp_path):
    workdir = f"--workdir={tmp_path / 'run'}"
    code, out, err = _process("rir_jax.train", *TINY, workdir)
    assert code == 0, err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert f"{100 * summary['test_accuracy']:.2f} % test accuracy" in out
    assert err.startswith("rir32 on digits: compiling the training program")
    assert "epoch 1.0 of 1, step 11 of 11" in err
    code, out, _ = command("rir_jax.evaluate", workdir)
    assert code == 0
    assert json.loads(out.splitlines()[-1])["accuracy"] == summary["test_accuracy"]
    code, _, err = command("rir_jax.train", *TINY, workdir)
    assert code == 0
    assert "is finished already" in err


def test_evaluate_refuses_a_folder_without_a_run(command, tmp_path):
    code, _, err = command("rir_jax.evaluate", f"--workdir={tmp_path}")
    assert (code, err) == (2, f"error: workdir {tmp_path} holds no run (no config.json)\n")


def test_prepare_names_what_it_needs_and_finds_what_is_there(command, tmp_path):
    folder = tmp_path / "cifar10" / "3.0.2"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(json.dumps({"fileFormat": "array_record"}))
    there = command("rir_jax.prepare", "--dataset=cifar10", f"--data_dir={tmp_path}")
    assert there[:2] == (0, f"cifar10 is prepared in {folder}\n")
    assert_one_line(command("rir_jax.prepare", "--dataset=digits"), "digits")
