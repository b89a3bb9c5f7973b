"""The named networks: four families at the paper's two sizes."""

import dataclasses
import difflib
from typing import Any

from rir_jax.models.network import Network

FAMILIES = {
    "cnn": {"two_streams": False, "outer_shortcut": "none"},
    "resnet": {"two_streams": False, "outer_shortcut": "pre_relu"},
    "resnet_init": {"two_streams": True, "outer_shortcut": "none"},
    "rir": {"two_streams": True, "outer_shortcut": "pre_relu"},
}
SIZES = {
    "32": {"stem_width": 16, "widths": (16, 32, 64), "blocks": (5, 5, 5), "head": "dense"},
    "18_wide": {"stem_width": 96, "widths": (96, 192, 384), "blocks": (2, 3, 3), "head": "conv"},
}
_MODELS = {
    family + size: {**FAMILIES[family], **SIZES[size]} for family in FAMILIES for size in SIZES
}
FIELDS = tuple(
    field.name
    for field in dataclasses.fields(Network)
    if field.name not in ("num_classes", "parent", "name")
)
"""The fields of a network that `create_model` takes as overrides."""


def list_models() -> list[str]:
    """The names that `create_model` knows, sorted.

    Examples:
      >>> "rir18_wide" in list_models()
      True
    """
    return sorted(_MODELS)


def create_model(name: str, num_classes: int = 10, **overrides: Any) -> Network:
    """Makes a network by its name.

    Args:
      name: name of the network, one of `list_models`.
      num_classes: number of outputs.
      **overrides: fields of `Network` (``layers_per_block=4``, ``shortcut="projection"``, ...).

    Returns:
      A linen module from float images ``[N, H, W, C]`` to logits ``[N, num_classes]``.

    Raises:
      ValueError: the name is unknown, or the value of a field is not allowed.
      TypeError: a field is unknown.

    Examples:
      >>> model = create_model("rir32", num_classes=100, layers_per_block=4)
    """
    if name not in _MODELS:
        raise ValueError(f"model {name!r} is unknown; {suggest(name, list_models())}")
    for field in overrides:
        if field not in FIELDS:
            raise TypeError(f"model field {field!r} is unknown; {suggest(field, FIELDS)}")
    return Network(num_classes=num_classes, **{**_MODELS[name], **overrides})


def suggest(word: str, known) -> str:
    """The words that are allowed in place of ``word``, with a guess at the one that was meant."""
    near = difflib.get_close_matches(str(word), known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}allowed: {', '.join(sorted(known))}"
