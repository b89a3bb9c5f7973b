"""The lock of a run's folder, and folders that cannot be written to."""

import errno
import logging
import os

import pytest

from rir_jax.errors import InputError
from rir_jax.runs import workdir as workdirs
from rir_jax.runs.workdir import Workdir
from tests.training.tiny import tiny_config


def _refuse(monkeypatch, code):
    def flock(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(workdirs.fcntl, "flock", flock)


@pytest.mark.parametrize(
    "code", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EIO], ids=errno.errorcode.get
)
def test_a_file_system_without_locks_is_warned_of_and_used(tmp_path, monkeypatch, caplog, code):
    _refuse(monkeypatch, code)
    with caplog.at_level(logging.WARNING, "rir_jax"), Workdir(tmp_path).open(tiny_config()):
        pass
    assert f"without locks ({os.strerror(code)})" in caplog.text


@pytest.mark.parametrize("code", [errno.EWOULDBLOCK, errno.EACCES], ids=errno.errorcode.get)
def test_a_lock_that_is_held_is_another_process(tmp_path, monkeypatch, code):
    _refuse(monkeypatch, code)
    with (
        pytest.raises(InputError, match="in use by another process"),
        Workdir(tmp_path).open(tiny_config()),
    ):
        pass
