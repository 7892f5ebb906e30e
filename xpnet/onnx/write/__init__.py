"""How each layer is written: a file per topic, each with a table from class to function."""

from xpnet.onnx.write import activations, affine, containers, images, normalization
from xpnet.onnx.write.graph import Emitter, Graph, Value

TABLE: dict[type, Emitter] = {
    cls: emitter for topic in (affine, activations, images, normalization, containers) for cls, emitter in topic.TABLE.items()
}

__all__ = ["TABLE", "Graph", "Value"]
