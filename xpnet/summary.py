"""The table that ``net.summary()`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xpnet.layers.base import Layer
    from xpnet.network import Sequential

HEADINGS = ("layer", "output shape", "parameters", "FLOPs/sample", "bytes")


def summarize(net: Sequential) -> str:
    """One line a layer; ``bytes`` are those of its parameters. FLOPs count the forward pass (backward: about twice that)."""
    size = net.parameters.dtype.itemsize
    lines: list[tuple[str, ...]] = [("input", _shape(net.input_shape), "", "", "")]
    for i, layer in enumerate(net.layers):
        count = sum(p.size for name, p in net.parameters.items() if name.startswith(f"{i}.") and p.trainable)
        flops = layer.flops(net.shapes[i], net.shapes[i + 1])
        lines.append((f"{i} {_name(layer)}", _shape(net.shapes[i + 1]), f"{count:,}", f"{flops:,}", f"{count * size:,}"))
    total = sum(p.size for p in net.parameters.trainable)
    flops = net.flops(net.input_shape, net.output_shape)
    lines.append(("total", "", f"{total:,}", f"{flops:,}", f"{total * size:,}"))
    state = net.parameters.state.size
    notes = [f"{net.parameters.dtype.name} on {net.device.name}"]
    if state:
        notes.append(f"{state:,} running statistics")
    frozen = sum(p.size for p in net.parameters.trainable if p.frozen)
    if frozen:
        notes.append(f"{frozen:,} parameters frozen")
    return "\n".join([*_table(lines), "; ".join(notes)])


def _table(lines: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in (HEADINGS, *lines)) for i in range(len(HEADINGS))]
    left = 2  # the first two columns are text
    rows = [
        "  ".join(c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in (HEADINGS, *lines)
    ]
    rule = "-" * max(map(len, rows))
    return [rows[0], rule, *rows[1:-1], rule, rows[-1]]


def _name(layer: Layer) -> str:
    text = repr(layer)
    return text if len(text) <= 48 else text[:45] + "..."


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(['N', *map(str, shape)])})"
