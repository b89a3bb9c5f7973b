"""Model cards: the README.md of a network, for people and for model hubs."""

import json
from typing import Any

_TAGS = ["jax", "flax", "resnet-in-resnet"]


def model_card(described: dict[str, Any]) -> str:
    """The card of a network, Markdown with YAML in front.

    Args:
      described: description of the network, as in its ``config.json``; see
        `rir_jax.trained.weights`.
    """
    card = described["card"] or {}
    dataset = described["dataset"]
    title = " on ".join(filter(None, [card.get("model", "RiR"), dataset]))
    names = ", ".join(described["class_names"])
    size = ", ".join(map(str, described["image_shape"]))
    metadata = _metadata(title, dataset, card)
    parts = [
        "---",
        # JSON is YAML.
        *(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in metadata.items()),
        "---",
        f"# {title}",
        "",
        "A network of the family of [Resnet in Resnet](https://arxiv.org/abs/1603.08029), trained "
        "with `rir_jax`. It takes images",
        f"`uint8 [N, {size}]` and tells {len(described['class_names'])} classes: {names}.",
        "",
        "```python",
        "import rir_jax",
        "from huggingface_hub import snapshot_download",
        "",
        'model, variables, info = rir_jax.from_pretrained(snapshot_download("OWNER/NAME"))',
        "logits = model.apply(variables, info.preprocess(images))",
        "```",
        "",
    ]
    if card:
        parts += ["How it was trained and how good it is:", "", "```json"]
        parts += [json.dumps(card, indent=2, ensure_ascii=False), "```", ""]
    return "\n".join(parts)


def _metadata(title, dataset, card):
    metadata = {"library_name": "rir_jax", "pipeline_tag": "image-classification", "tags": _TAGS}
    if "license" in card:
        metadata["license"] = card["license"].lower()
    if "test_accuracy" in card:
        result = {
            "task": {"type": "image-classification"},
            "dataset": {"name": dataset, "type": dataset, "split": "test"},
            "metrics": [{"type": "accuracy", "value": card["test_accuracy"]}],
        }
        metadata["model-index"] = [{"name": title, "results": [result]}]
    return metadata
