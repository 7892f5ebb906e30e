"""Networks as ONNX files, written and read (https://onnx.ai): what trains here can be served by ONNX Runtime, and the reverse.

Needs the extra ``onnx``. The library is imported when a file is written or read, not before.
"""

from xpnet.onnx.loading import load
from xpnet.onnx.saving import export

__all__ = ["export", "load"]
