"""Networks in files: safetensors with PyTorch's names, written atomically, read on any device; no pickle.

:mod:`xpnet.saving.networks` has networks alone, :mod:`xpnet.saving.models` those with their data's preprocessing.
"""
