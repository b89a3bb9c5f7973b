"""The command lines as a person calls them: one line and exit code 2 for a mistake."""

import json
import os
import subprocess
import sys

import pytest

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
        "dataset 'cifar11' is not prepared in DIR; prepare it with: python -m rir_jax.prepare",
    ),
    "config key": (
        [QUICKSTART, "--config.train.epoch=3"],
        "config field 'train.epoch' is unknown; did you mean 'train.epochs'?",
    ),
    "missing data": (
        ["--config=configs/cifar10_rir32.py", "--config.dataset.data_dir=DIR/absent"],
        "dataset 'cifar10' is not prepared in DIR/absent",
    ),
    "config file": (["--config=configs/absent.py"], "absent.py"),
    "no config": ([], "--config is missing"),
    "type": ([QUICKSTART, "--config.train.epochs=few"], "train.epochs is 'few'; allowed: a whole"),
    "batch": ([QUICKSTART, "--config.train.batch_size=5000"], "train.batch_size is 5000; allowed"),
    "argument": ([QUICKSTART, "extra"], "argument 'extra' is not understood"),
}


def _start(module, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "XLA_FLAGS": ""},
    )


@pytest.fixture(scope="module")
def mistakes(tmp_path_factory):
    """All of them at once, three at a time: a process takes seconds to start."""
    folder = tmp_path_factory.mktemp("mistakes")
    results, waiting = {}, list(MISTAKES.items())
    while waiting:
        batch, waiting = waiting[:3], waiting[3:]
        running = {}
        for name, (arguments, _) in batch:
            arguments = [argument.replace("DIR", str(folder)) for argument in arguments]
            workdir = f"--workdir={folder / 'run'}"
            running[name] = _start("rir_jax.train", *arguments, workdir)
        for name, process in running.items():
            results[name] = (*process.communicate(timeout=120), process.returncode)
    return folder, results


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_line_and_exit_code_2(mistakes, name):
    folder, results = mistakes
    out, err, code = results[name]
    message = MISTAKES[name][1].replace("DIR", str(folder))
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert list(folder.iterdir()) == [], "nothing is written"


def test_train_evaluate_and_train_again(tmp_path):
    workdir = f"--workdir={tmp_path / 'run'}"
    outputs = []
    for module, arguments in [
        ("rir_jax.train", [*TINY, workdir]),
        ("rir_jax.evaluate", [workdir]),
        ("rir_jax.train", [*TINY, workdir]),
    ]:
        process = _start(module, *arguments)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        outputs.append((out, err))
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert f"{100 * summary['test_accuracy']:.2f} % test accuracy" in outputs[0][0]
    assert "epoch 1.0 of 1, step 11 of 11" in outputs[0][1]
    result = json.loads(outputs[1][0].splitlines()[-1])
    assert result["accuracy"] == summary["test_accuracy"]
    assert "is finished already" in outputs[2][1]


def test_evaluate_refuses_a_folder_without_a_run(tmp_path):
    process = _start("rir_jax.evaluate", f"--workdir={tmp_path}")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err == f"error: workdir {tmp_path} holds no run (no config.json)\n"


def test_prepare_names_what_it_needs_and_finds_what_is_there(tmp_path):
    folder = tmp_path / "cifar10" / "3.0.2"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(json.dumps({"fileFormat": "array_record"}))
    there = _start("rir_jax.prepare", "--dataset=cifar10", f"--data_dir={tmp_path}")
    digits = _start("rir_jax.prepare", "--dataset=digits")
    out, _ = there.communicate(timeout=120)
    assert (there.returncode, out) == (0, f"cifar10 is prepared in {folder}\n")
    _, err = digits.communicate(timeout=120)
    assert (digits.returncode, err.count("\n")) == (2, 1)
