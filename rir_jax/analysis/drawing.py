"""Pictures of networks in the style of the paper's Fig. 1 and 2, with streams and shortcuts.

A row is a stage, a shaded box a residual block, and a column a layer. A layer leads from the states
on its left along the convolutions, and through the sum, batch norm (N) and ReLU (R), to the states
on its right. From the end of a row each stream runs back to the left of the next row.
"""

from html import escape

from rir_jax.analysis.layers import layers_of, sizes
from rir_jax.models.network import Network

# Okabe and Ito's colours, which differ for any kind of colour vision; line styles differ too.
_RESIDUAL, _TRANSIENT, _CROSSING, _OUTER = "#0072B2", "#D55E00", "#999999", "#009E73"
_INK, _BLOCK = "#333333", "#f3f4f6"
_COLUMN, _LEFT, _ARCS, _LANES, _GAP = 138, 40, 74, 74, 66
_NARROWEST = 480  # least width: stem and head fit, and text is readable on a phone
_ENDS = 52  # height of the rows of stem and head
_SUM, _NORM, _NORM_SUM, _RELU, _RELU_SUM = 54, 75, 94, 113, 129  # places within a column


def draw_network(
    model: Network, image_shape: tuple[int, int, int] = (32, 32, 3), title: str = "network"
) -> str:
    """An SVG picture of a network of any family.

    Args:
      model: network to draw.
      image_shape: shape ``(H, W, C)`` of the images.
      title: title of the picture.

    Returns:
      The text of an SVG file. Tooltips of layers tell their kind and cost.

    Examples:
      >>> import rir_jax
      >>> draw_network(rir_jax.create_model("rir32"))[:4]
      '<svg'
    """
    return _Drawing(model, image_shape, title).svg()


class _Drawing:
    def __init__(self, model: Network, image_shape: tuple[int, int, int], title: str):
        self.model, self.image_shape, self.title = model, image_shape, title
        self.layers = layers_of(model, image_shape)
        self.by_name = {layer.name: layer for layer in self.layers}
        self.parts: list[str] = []
        self.lanes = ("r", "t") if model.two_streams else ("x",)
        self.colors = {"r": _RESIDUAL, "t": _TRANSIENT, "x": _INK}
        self.row_height = _ARCS + (len(self.lanes) - 1) * _LANES + _GAP
        self.block_width = model.layers_per_block * _COLUMN
        self.width = max(_NARROWEST, _LEFT * 2 + max(model.blocks) * self.block_width)

    def svg(self) -> str:
        parameters = sum(layer.parameters for layer in self.layers)
        macs = sum(layer.macs for layer in self.layers)
        heading = f"{len(self.layers)} layers, {parameters:,} parameters, {macs:,} MACs an image"
        self._text(_LEFT, 34, self.title, size=20, weight="bold")
        self._text(_LEFT, 54, heading, size=12)
        image = (f"image {sizes(self.image_shape)}", None)
        x_end = self._boxes(92, [image, _described(self.by_name["stem_conv"])])
        y, y_ends = 92 + _ENDS, dict.fromkeys(self.lanes, 106.0)
        for stage, blocks in enumerate(self.model.blocks, 1):
            self._join(x_end, y_ends, y, _LEFT + 4, self._lane_heights(y))
            y_ends = self._lane_heights(y)
            for block in range(blocks):
                self._block(f"stage{stage}_block{block + 1}", _LEFT + block * self.block_width, y)
            y += self.row_height
            x_end = _LEFT + blocks * self.block_width + 4
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
        """Draws the stem or the head as boxes of texts, with layers or None; returns their end."""
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
        """The y of each stream in the row that starts at ``y``."""
        return {lane: y + _ARCS + i * _LANES for i, lane in enumerate(self.lanes)}

    def _join(self, x_from, y_from, y_row, x_to, y_to):
        """Draws each stream from the end of a row to the next row, which starts at ``y_row``.

        The outer stream on the right is the inner one on the left, so they do not cross.
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

    def _block(self, name, x, y):
        numbers = range(1, self.model.layers_per_block + 1)
        layers = [self.by_name[f"{name}/conv{number}"] for number in numbers]
        self.parts.append(
            f'<rect x="{x + 3}" y="{y}" width="{self.block_width - 6}" '
            f'height="{self.row_height - 16}" rx="8" fill="{_BLOCK}"/>'
        )
        text = f"{name}  {sizes(layers[-1].output_shape)}"
        self._text(x + 12, y + self.row_height - 26, text, 11)
        if self.model.outer_shortcut != "none":
            self._outer_shortcut(name, layers[0], layers[-1], x, y + _ARCS)
        for position, layer in enumerate(layers):
            self.parts.append(f"<g>{_tooltip(layer)}")
            self._layer(layer, x + position * _COLUMN, y, layer is layers[-1])
            self.parts.append("</g>")

    def _layer(self, layer, x, y, joins):
        y_of = self._lane_heights(y)
        start, end = x + 4, x + _COLUMN + 4
        outer = self.model.outer_shortcut if joins else "none"
        sums = self.model.two_streams or outer == "pre_norm"
        reach = x + (_SUM if sums else _NORM) - 8
        for source in self.lanes:
            for target in self.lanes:
                color = self.colors[source] if source == target else _CROSSING
                self._line(start, y_of[source], reach, y_of[target], color, arrow=True)
        if self.model.two_streams:
            self._arc(start, x + _SUM, y_of["r"], 20, _RESIDUAL, "4 3")
            if layer.input_shape != layer.output_shape:
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

    def _outer_shortcut(self, name, first, last, x, top):
        joint = {"pre_norm": _SUM, "pre_relu": _NORM_SUM, "post_relu": _RELU_SUM}
        end = x + self.block_width - _COLUMN + joint[self.model.outer_shortcut]
        self._arc(x + 4, end, top, 50, _OUTER, None)
        if first.input_shape != last.output_shape:
            label = "1x1 conv" if f"{name}/projection" in self.by_name else "zero channels"
            self._text((x + 4 + end) / 2, top - 54, label, size=10, anchor="middle")

    def _legend(self, y: int) -> int:
        entries: list[tuple[str, tuple[str, str | None] | None]]
        entries = [("convolution", (_INK, None))]
        if self.model.two_streams:
            entries = [
                ("residual stream r, W_rr", (_RESIDUAL, None)),
                ("transient stream t, W_tt", (_TRANSIENT, None)),
                ("crossings W_rt, W_tr", (_CROSSING, None)),
                ("shortcut of a layer", (_RESIDUAL, "4 3")),
            ]
        if self.model.outer_shortcut != "none":
            entries.append((f"outer shortcut ({self.model.outer_shortcut})", (_OUTER, None)))
        entries += [("sum", None), ("N: batch norm", None), ("R: ReLU", None)]
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
            u, v = 6 * (x2 - x1) / length, 6 * (y2 - y1) / length
            corners = [(x2 - u + side * v, y2 - v - side * u) for side in (0.5, -0.5)]
            lines = "".join(f"L{x:.1f} {y:.1f}" for x, y in corners)
            self.parts.append(f'<path d="M{x2:g} {y2:g}{lines}Z" fill="{color}"/>')

    def _arc(self, x1, x2, y, height, color, dash):
        """Draws a shortcut from a state at ``x1``, over the layers it skips, to a sum at ``x2``."""
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
