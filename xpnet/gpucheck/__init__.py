"""One command that checks everything about the GPU path where there is a GPU: ``python -m xpnet.gpucheck --out DIR``.

It needs pytest and a checkout (for the tests), neither nox nor pip, and writes ``gpucheck.json`` and ``gpucheck.md``.
"""
