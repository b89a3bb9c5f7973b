"""Networks drawn as the paper draws them (Fig. 1 and 2): streams, crossings and both shortcuts.

A row is a stage, a shaded box a residual block, and a column a layer: from the states on its left,
along the convolutions, through the sum, batch norm (N) and ReLU (R), to the states on its right.
From there each stream runs back to the left of the next row.
"""

import dataclasses
from html import escape

from rir_jax.analysis.layers import Layer, layers_of, sizes
from rir_jax.models.network import Network

# Okabe and Ito's colours, told apart with any kind of colour vision; line styles differ too.
_RESIDUAL, _TRANSIENT, _CROSSING, _OUTER = "#0072B2", "#D55E00", "#999999", "#009E73"
_INK, _BLOCK = "#333333", "#f3f4f6"
_COLUMN, _LEFT, _ARCS, _LANES, _GAP = 138, 40, 74, 74, 66
_NARROWEST = 480  # room for stem and head; text stays readable on a phone
_ENDS = 52  # height of the row of the stem, and of that of the head
_SUM, _NORM, _NORM_SUM, _RELU, _RELU_SUM = 54, 75, 94, 113, 129  # within a column


def draw_network(
    model: Network, image_shape: tuple[int, int, int] = (32, 32, 3), title: str = "network"
) -> str:
    """A network of any family as an SVG picture.

    Args:
      model: what to draw.
      image_shape: ``(H, W, C)`` of its images.
      title: its name.

    Returns:
      The text of an SVG file. Layers have tooltips that say what they are and what they cost.

    Examples:
      >>> import rir_jax
      >>> draw_network(rir_jax.create_model("rir32"))[:4]
      '<svg'
    """
    return _Drawing(model, layers_of(model, image_shape), image_shape, title).svg()


@dataclasses.dataclass
class _Drawing:
    model: Network
    layers: list[Layer]
    image_shape: tuple[int, int, int]
    title: str

    def __post_init__(self) -> None:
        self.parts: list[str] = []
        self.by_name = {layer.name: layer for layer in self.layers}
        two = self.model.two_streams
        self.lanes = ("r", "t") if two else ("x",)
        self.colors = {"r": _RESIDUAL, "t": _TRANSIENT, "x": _INK}
        self.row_height = _ARCS + (_LANES if two else 0) + _GAP
        columns = max(self.model.blocks) * self.model.layers_per_block
        self.width = max(_NARROWEST, _LEFT * 2 + columns * _COLUMN)

    def svg(self) -> str:
        parameters = sum(layer.parameters for layer in self.layers)
        macs = sum(layer.macs for layer in self.layers)
        heading = f"{len(self.layers)} layers, {parameters:,} parameters, {macs:,} MACs an image"
        self._text(_LEFT, 34, self.title, size=20, weight="bold")
        self._text(_LEFT, 54, heading, size=12)
        image = (f"image {sizes(self.image_shape)}", None)
        x_end = self._boxes(92, [image, *map(_described, [self.by_name["stem_conv"]])])
        y, y_ends = 92 + _ENDS, dict.fromkeys(self.lanes, 106.0)
        for stage in range(1, len(self.model.blocks) + 1):
            self._join(x_end, y_ends, y, _LEFT + 4, self._lane_heights(y))
            y_ends = self._lane_heights(y)
            y = self._stage(stage, y)
            columns = self.model.blocks[stage - 1] * self.model.layers_per_block
            x_end = _LEFT + columns * _COLUMN + 4
        into_head = {lane: y + 26.0 + 8 * i for i, lane in enumerate(self.lanes)}
        self._join(x_end, y_ends, y + 10, _LEFT, into_head)
        head = [_described(layer) for layer in self.layers if layer.name.startswith("head_")]
        head.insert(0 if self.model.head == "dense" else len(head), ("mean over the image", None))
        self._boxes(y + 16, head)
        height = self._legend(y + 16 + _ENDS + 24)
        body = "\n".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {height}" '
            f'width="{self.width}" height="{height}" font-family="sans-serif" role="img" '
            f'aria-label="{escape(self.title)}: {heading}">\n'
            f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
        )

    def _boxes(self, y, texts):
        """The stem or the head: boxes of texts, with layers or None; returns where they end."""
        x = _LEFT
        for text, layer in texts:
            width = 7 * len(text) + 24
            if x > _LEFT:
                self._line(x - 22, y + 14, x - 3, y + 14, _INK, arrow=True)
            box = (
                f'<rect x="{x}" y="{y}" width="{width}" height="28" rx="5" fill="white" '
                f'stroke="{_INK}"/>'
            )
            self.parts.append(box if layer is None else f"<g>{_tooltip(layer)}{box}</g>")
            self._text(x + width / 2, y + 18, text, size=12, anchor="middle")
            x += width + 25
        return x - 25

    def _lane_heights(self, y):
        """The height of each stream in the row that starts at ``y``."""
        return {lane: y + _ARCS + i * _LANES for i, lane in enumerate(self.lanes)}

    def _join(self, x_from, y_from, y_row, x_to, y_to):
        """Leads each stream from the end of a row into the next row, which starts at ``y_row``.

        The outer stream on the right is the inner one on the left: they do not cross.
        """
        for i, lane in enumerate(self.lanes):
            inner = len(self.lanes) - 1 - i
            right, gap, left = x_from + 12 + 7 * inner, y_row - 4 - 6 * i, _LEFT - 12 - 7 * i
            self.parts.append(
                f'<path d="M{x_from:g} {y_from[lane]:g}H{right:g}V{gap:g}H{left:g}V{y_to[lane]:g}'
                f'H{x_to - 6:g}" fill="none" stroke="{self.colors[lane]}" stroke-width="1.6" '
                f'class="join"/>'
            )
            self._line(x_to - 8, y_to[lane], x_to, y_to[lane], self.colors[lane], True)

    def _stage(self, stage, y):
        for block in range(self.model.blocks[stage - 1]):
            x = _LEFT + block * self.model.layers_per_block * _COLUMN
            self._block(f"stage{stage}_block{block + 1}", x, y)
        return y + self.row_height

    def _block(self, name, x, y):
        model = self.model
        first, last = (self.by_name[f"{name}/conv{i}"] for i in (1, model.layers_per_block))
        width = model.layers_per_block * _COLUMN
        self.parts.append(
            f'<rect x="{x + 3}" y="{y}" width="{width - 6}" height="{self.row_height - 16}" '
            f'rx="8" fill="{_BLOCK}"/>'
        )
        self._text(x + 12, y + self.row_height - 26, f"{name}  {sizes(last.output_shape)}", 11)
        top = y + _ARCS
        if model.outer_shortcut != "none":
            self._outer_shortcut(name, first, last, x, top, width)
        for position in range(model.layers_per_block):
            layer = self.by_name[f"{name}/conv{position + 1}"]
            joins = position == model.layers_per_block - 1
            self.parts.append(f"<g>{_tooltip(layer)}")
            self._layer(layer, x + position * _COLUMN, top, joins)
            self.parts.append("</g>")

    def _layer(self, layer, x, top, joins):
        y_of = {lane: top + i * _LANES for i, lane in enumerate(self.lanes)}
        start, end = x + 4, x + _COLUMN + 4
        outer = self.model.outer_shortcut if joins else "none"
        sums = self.model.two_streams or outer == "pre_norm"
        reach = x + (_SUM if sums else _NORM) - 8
        for source in self.lanes:
            for target in self.lanes:
                color = self.colors[source] if source == target else _CROSSING
                self._line(start, y_of[source], reach, y_of[target], color, arrow=True)
        if self.model.two_streams:
            changes = layer.input_shape != layer.output_shape
            self._arc(start, x + _SUM, y_of["r"], 20, _RESIDUAL, "4 3")
            if changes:
                label = "1x1" if self.model.shortcut == "projection" else "0-pad"
                self._text(x + _SUM / 2 + 2, y_of["r"] - 24, label, size=9, anchor="middle")
        if "stride 2" in layer.kind:
            self._text(x + _SUM / 2, y_of[self.lanes[-1]] + 16, "/2", size=11, anchor="middle")
        for lane, y in y_of.items():
            color = self.colors[lane]
            self._line(reach, y, end, y, color)
            if sums:
                self._plus(x + _SUM, y, color)
            self._box(x + _NORM, y, "N", color)
            self._box(x + _RELU, y, "R", color)
            if lane == self.lanes[0] and outer in ("pre_relu", "post_relu"):
                self._plus(x + (_NORM_SUM if outer == "pre_relu" else _RELU_SUM), y, _OUTER)
            self.parts.append(f'<circle cx="{start}" cy="{y}" r="4" fill="{color}"/>')
            self.parts.append(f'<circle cx="{end}" cy="{y}" r="4" fill="{color}"/>')

    def _outer_shortcut(self, name, first, last, x, top, width):
        joint = {"pre_norm": _SUM, "pre_relu": _NORM_SUM, "post_relu": _RELU_SUM}
        end = x + width - _COLUMN + joint[self.model.outer_shortcut]
        self._arc(x + 4, end, top, 50, _OUTER, None)
        if first.input_shape != last.output_shape:
            label = "1x1 conv" if f"{name}/projection" in self.by_name else "zero channels"
            self._text((x + 4 + end) / 2, top - 54, label, size=10, anchor="middle")

    def _legend(self, y: int) -> int:
        entries: list[tuple[str, tuple[str, str | None] | None]] = [
            ("sum", None),
            ("N: batch norm", None),
            ("R: ReLU", None),
        ]
        if self.model.two_streams:
            entries = [
                ("residual stream r, W_rr", (_RESIDUAL, None)),
                ("transient stream t, W_tt", (_TRANSIENT, None)),
                ("crossings W_rt, W_tr", (_CROSSING, None)),
                ("shortcut of a layer", (_RESIDUAL, "4 3")),
                *entries,
            ]
        else:
            entries.insert(0, ("convolution", (_INK, None)))
        if self.model.outer_shortcut != "none":
            entries.insert(-3, (f"outer shortcut ({self.model.outer_shortcut})", (_OUTER, None)))
        x = _LEFT
        for text, style in entries:
            width = 7 * len(text) + 44
            if x + width > self.width - 10:
                x, y = _LEFT, y + 24
            if style:
                self._line(x, y, x + 24, y, style[0], dash=style[1])
            elif text == "sum":
                self._plus(x + 12, y, _INK)
            self._text(x + (30 if style or text == "sum" else 0), y + 4, text, size=12)
            x += width
        return y + 28

    def _text(self, x, y, text, size=11, anchor="start", weight="normal"):
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" '
            f'font-weight="{weight}" fill="{_INK}">{escape(text)}</text>'
        )

    def _line(self, x1, y1, x2, y2, color, arrow=False, dash=None):
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" stroke="{color}" stroke-width="1.6"{dashes}/>'
        )
        if arrow:
            length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
            u, v = (x2 - x1) / length, (y2 - y1) / length
            a, b = (
                (x2 - 6 * u + 3 * v, y2 - 6 * v - 3 * u),
                (x2 - 6 * u - 3 * v, y2 - 6 * v + 3 * u),
            )
            self.parts.append(
                f'<path d="M{x2:g} {y2:g}L{a[0]:.1f} {a[1]:.1f}L{b[0]:.1f} {b[1]:.1f}Z" '
                f'fill="{color}"/>'
            )

    def _arc(self, x1, x2, y, height, color, dash):
        """From a state over what it skips, down onto the sum that it joins."""
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        bend = min(22, (x2 - x1) / 2)
        self.parts.append(
            f'<path d="M{x1:g} {y:g}C{x1:g} {y - height:g} {x1:g} {y - height:g} {x1 + bend:g} '
            f"{y - height:g}L{x2 - bend:g} {y - height:g}C{x2:g} {y - height:g} {x2:g} "
            f'{y - height:g} {x2:g} {y - 7:g}" fill="none" stroke="{color}" '
            f'stroke-width="1.6"{dashes}/>'
        )

    def _plus(self, x, y, color):
        self.parts.append(
            f'<circle cx="{x:g}" cy="{y:g}" r="7" fill="white" stroke="{color}"/>'
            f'<path d="M{x - 4:g} {y:g}h8M{x:g} {y - 4:g}v8" stroke="{color}" stroke-width="1.4"/>'
        )

    def _box(self, x, y, letter, color):
        self.parts.append(
            f'<rect x="{x - 7:g}" y="{y - 9:g}" width="14" height="18" rx="2" fill="white" '
            f'stroke="{color}"/>'
        )
        self._text(x, y + 4, letter, size=10, anchor="middle")


def _described(layer):
    return f"{layer.kind.replace('convolution', 'conv')}: {sizes(layer.output_shape)}", layer


def _tooltip(layer):
    text = f"{layer.name}: {layer.kind}, {layer.parameters:,} parameters, {layer.macs:,} MACs"
    return f"<title>{escape(text)}</title>"
