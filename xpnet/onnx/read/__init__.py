"""How each operator is read: a file per topic, each with a table from its name to a function that appends layers."""

from xpnet.onnx.read import activations, affine, images, joins, normalization
from xpnet.onnx.read.graph import Operator

TABLE: dict[str, Operator] = {
    op: operator for topic in (affine, activations, images, normalization, joins) for op, operator in topic.TABLE.items()
}

__all__ = ["TABLE"]
