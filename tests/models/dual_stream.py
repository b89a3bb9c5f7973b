"""Eq. 1 and 2 as they are written: two states, four convolutions, an explicit shortcut.

A second implementation, for the tests alone. It shares no code with the package: its
convolutions are XLA's, its batch norm is spelt out, its streams are never concatenated before
the head. Networks in this form are also what the public implementations of RiR are made of.
"""

import jax
import jax.numpy as jnp
from jax import lax

MOMENTUM, EPSILON = 0.9, 1e-5


def convolve(x, kernel, stride=1):
    pads = [(size // 2, size // 2) for size in kernel.shape[:2]]
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def affine(x, filters, stride=1):
    """A convolution ``{"W", "b"}``, the bias optional; a matrix product for a matrix W."""
    y = x @ filters["W"] if filters["W"].ndim == 2 else convolve(x, filters["W"], stride)
    return y + by_channel(filters["b"], y) if "b" in filters else y


def by_channel(vector, x):
    return vector.reshape((1,) * (x.ndim - 1) + (-1,))


def zero_pad(x, stride, width):
    if x.ndim == 4:
        x = x[:, ::stride, ::stride]
    return jnp.concatenate([x, jnp.zeros((*x.shape[:-1], width - x.shape[-1]), x.dtype)], -1)


def batch_norm(x, norm, train):
    """Normalized x, and the running statistics after it; the batch's variance is biased."""
    mean, var = norm["mean"], norm["var"]
    running = {"mean": mean, "var": var}
    if train:
        axes = tuple(range(x.ndim - 1))
        mean = x.mean(axes)
        var = ((x - by_channel(mean, x)) ** 2).mean(axes)
        batch = {"mean": mean, "var": var}
        running = {k: MOMENTUM * running[k] + (1 - MOMENTUM) * batch[k] for k in batch}
    mean, deviation = by_channel(mean, x), by_channel(jnp.sqrt(var + EPSILON), x)
    scale, bias = by_channel(norm["scale"], x), by_channel(norm["bias"], x)
    return (x - mean) / deviation * scale + bias, running


def relu(x):
    return jnp.where(x > 0, x, 0)


def before_sigma(r, t, layer, stride=1):
    """The sums of Eq. 1 and 2, before sigma."""
    width = layer["rr"]["W"].shape[-1]
    if "projection" in layer:
        projection = layer["projection"]
        shortcut = r @ projection if r.ndim == 2 else convolve(r, projection[None, None], stride)
    else:
        shortcut = zero_pad(r, stride, width)
    return (
        affine(r, layer["rr"], stride) + affine(t, layer["tr"], stride) + shortcut,
        affine(r, layer["rt"], stride) + affine(t, layer["tt"], stride),
    )


def generalized_layer(r, t, layer, stride=1, train=False):
    """Eq. 1 and 2: r', t' and the running statistics of both streams."""
    r, t = before_sigma(r, t, layer, stride)
    r, stats_r = batch_norm(r, layer["norm_r"], train)
    t, stats_t = batch_norm(t, layer["norm_t"], train)
    return relu(r), relu(t), {"norm_r": stats_r, "norm_t": stats_t}


def block(r, t, layers, stride, outer, stride_layer, projection=None, train=False):
    """Generalized layers with an outer shortcut on the residual stream; see `generalized_layer`."""
    stats = []
    width = layers[0]["rr"]["W"].shape[-1]
    if projection is None:
        skip = zero_pad(r, stride, width) if outer != "none" else None
    else:
        skip = convolve(r, projection, stride)
    for number, layer in enumerate(layers, 1):
        last = number == len(layers)
        strided = number == (1 if stride_layer == "first" else len(layers))
        r, t = before_sigma(r, t, layer, stride if strided else 1)
        if last and outer == "pre_norm":
            r = r + skip
        r, stats_r = batch_norm(r, layer["norm_r"], train)
        t, stats_t = batch_norm(t, layer["norm_t"], train)
        if last and outer == "pre_relu":
            r = r + skip
        r, t = relu(r), relu(t)
        if last and outer == "post_relu":
            r = r + skip
        stats.append({"norm_r": stats_r, "norm_t": stats_t})
    return r, t, stats


def network(images, net, outer, stride_layer="first", head_relu=False, train=False):
    """Logits of a network with a convolutional head, and its running statistics.

    ``net`` is ``{"stem", "stages", "head"}``: ``stages[s][b]`` is ``{"layers", "projection"}``.
    """
    stem, head = net["stem"], net["head"]
    r, stats_r = batch_norm(affine(images, stem["r"]), stem["norm_r"], train)
    t, stats_t = batch_norm(affine(images, stem["t"]), stem["norm_t"], train)
    r, t = relu(r), relu(t)
    stats = {"stem": {"norm_r": stats_r, "norm_t": stats_t}, "stages": []}
    for number, stage in enumerate(net["stages"]):
        of_stage = []
        for index, piece in enumerate(stage):
            stride = 2 if number > 0 and index == 0 else 1
            r, t, of_block = block(
                r, t, piece["layers"], stride, outer, stride_layer, piece.get("projection"), train
            )
            of_stage.append(of_block)
        stats["stages"].append(of_stage)
    x = affine(jnp.concatenate([r, t], axis=-1), head)
    x, stats["head"] = batch_norm(x, head["norm"], train)
    if head_relu:
        x = relu(x)
    return x.mean((1, 2)), stats


def filters_of(kernel, bias=None):
    """A stored kernel over [r; t] as ``{"rr", "rt", "tr", "tt"}``; the bias shared among them."""
    rows, columns = kernel.shape[-2] // 2, kernel.shape[-1] // 2
    filters = {}
    for name, row, column in (("rr", 0, 0), ("rt", 0, 1), ("tr", 1, 0), ("tt", 1, 1)):
        part = kernel[..., row * rows : (row + 1) * rows, column * columns : (column + 1) * columns]
        filters[name] = {"W": part}
        if bias is not None:  # two convolutions add up to a stream, and so do their biases
            share = 0.25 if row == 0 else 0.75
            filters[name]["b"] = share * bias[column * columns : (column + 1) * columns]
    return filters


def norms_of(params, stats):
    """A batch norm over [r; t] as one for each stream."""
    norm = {**params, **stats}
    width = norm["scale"].shape[0] // 2
    return {
        "norm_r": {name: value[:width] for name, value in norm.items()},
        "norm_t": {name: value[width:] for name, value in norm.items()},
    }


def joined_norm(stats):
    """Running statistics of both streams, as those of the one batch norm over [r; t]."""
    return jax.tree.map(lambda r, t: jnp.concatenate([r, t]), stats["norm_r"], stats["norm_t"])


def joined_stats(stats):
    """Running statistics of `network` as our ``batch_stats``."""
    joined = {"stem_norm": joined_norm(stats["stem"]), "head_norm": stats["head"]}
    for s, stage in enumerate(stats["stages"], 1):
        for b, layers in enumerate(stage, 1):
            joined[f"stage{s}_block{b}"] = {
                f"norm{n}": joined_norm(layer) for n, layer in enumerate(layers, 1)
            }
    return joined


def layer_of(conv, norm, stats):
    """One of our layers, as `generalized_layer` takes it."""
    layer = {**filters_of(conv["kernel"], conv.get("bias")), **norms_of(norm, stats)}
    if "projection" in conv:
        layer["projection"] = conv["projection"]
    return layer


def network_of(variables, blocks, layers):
    """Our variables of a network, as `network` takes them."""
    params, stats = variables["params"], variables["batch_stats"]
    stem, head = params["stem_conv"], params["head_conv"]
    width = stem["kernel"].shape[-1] // 2

    def stem_of(half):
        filters = {"W": stem["kernel"][..., half]}
        return {**filters, "b": stem["bias"][half]} if "bias" in stem else filters

    net = {
        "stem": {
            "r": stem_of(slice(0, width)),
            "t": stem_of(slice(width, None)),
            **norms_of(params["stem_norm"], stats["stem_norm"]),
        },
        "stages": [],
        "head": {
            "W": head["kernel"],
            "norm": {**params["head_norm"], **stats["head_norm"]},
            **({"b": head["bias"]} if "bias" in head else {}),
        },
    }
    for stage, count in enumerate(blocks, 1):
        net["stages"].append([])
        for index in range(1, count + 1):
            name = f"stage{stage}_block{index}"
            ours, running = params[name], stats[name]
            piece = {
                "layers": [
                    layer_of(ours[f"conv{n}"], ours[f"norm{n}"], running[f"norm{n}"])
                    for n in range(1, layers + 1)
                ]
            }
            if "projection" in ours:
                piece["projection"] = ours["projection"]["kernel"]
            net["stages"][-1].append(piece)
    return net
