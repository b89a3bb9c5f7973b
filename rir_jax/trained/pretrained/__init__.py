"""The networks that come with the package: a folder each, as `rir_jax.save_pretrained` writes it.

They are the networks of seed 0 from the tables in experiments/results/medium, named by model and
data set. The card in a folder's config.json tells the network's training and accuracy.
"""

import logging
import os
import pathlib

from etils import epath

from rir_jax import files
from rir_jax.errors import InputError
from rir_jax.models.zoo import suggest

_log = logging.getLogger(__name__)
FOLDER = pathlib.Path(__file__).parent


def list_pretrained() -> dict[str, float]:
    """The names of the published networks, with their test accuracies (0 to 1).

    Examples:
      >>> all(0 < accuracy < 1 for accuracy in list_pretrained().values())
      True
    """
    cards = {path.parent.name: files.read_json(path)["card"] for path in _descriptions()}
    return {name: card["test_accuracy"] for name, card in cards.items()}


def find(name: epath.PathLike) -> epath.Path:
    """The folder that a name stands for: the user's own, or that of a published network.

    A name with a separator in it is a folder, and so is the name of a folder that exists. If a
    published network has the same name, the folder is read, with a warning.

    Raises:
      InputError: there is no such folder or network.
    """
    text = os.fspath(name)
    folder = files.path(text)
    if files.is_remote(folder):
        return folder
    names = [path.parent.name for path in _descriptions()]
    if folder.is_dir() and text in names:
        _log.warning("%s is read from the folder of that name, not from the package", text)
    if folder.is_dir() or "/" in text or os.sep in text:
        return folder
    if text not in names:
        raise InputError(
            f"pretrained network {text!r} is unknown and no folder; {suggest(text, names)}"
        )
    return epath.Path(FOLDER / text)


def _descriptions():
    return sorted(FOLDER.glob("*/config.json"))
