"""The table that ``net.summary()`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpnet.forecast import forecast, megabytes
from xpnet.layers.convolution import Conv2d

if TYPE_CHECKING:
    from xpnet.layers.base import Layer
    from xpnet.network import Sequential

HEADINGS = ("layer", "output shape", "parameters", "FLOPs/sample", "bytes")


def summarize(net: Sequential, batch_size: int) -> str:
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
    return "\n".join([*_table(lines), _notes(net), *_convolutions(net, batch_size), _forecast(net, batch_size)])


def _forecast(net: Sequential, batch_size: int) -> str:
    try:
        return str(forecast(net, batch_size))
    except Exception as error:  # a layer of the user's that computes with something else than NumPy, say
        return f"no forecast of memory: {type(error).__name__}: {error}"


def _notes(net: Sequential) -> str:
    notes = [f"{net.parameters.dtype.name} on {net.device.name}"]
    if state := net.parameters.state.size:
        notes.append(f"{state:,} running statistics")
    if frozen := sum(p.size for p in net.parameters.trainable if p.frozen):
        notes.append(f"{frozen:,} parameters frozen")
    return "; ".join(notes)


def _convolutions(net: Sequential, batch_size: int) -> list[str]:
    """How each is computed here, and in how much memory beside its input and output."""
    size = net.parameters.dtype.itemsize
    rows = []
    for path, layer in net.layer_paths.items():
        if isinstance(layer, Conv2d):
            method = layer.plan(net.device)
            rows.append((path, method.name, megabytes(method.workspace(batch_size) * size), _name(layer)))
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    table = [f"  {a:{widths[0]}}  {b:{widths[1]}}  {c:>{widths[2]}}  {d}" for a, b, c, d in rows]
    return ["convolutions: path, method, workspace of a worker", *table]


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
