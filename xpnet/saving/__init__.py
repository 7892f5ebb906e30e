"""Networks in files: safetensors with PyTorch's names, written atomically, read on any device; no pickle."""

from xpnet.saving.files import Damaged
from xpnet.saving.networks import load, load_state_dict, save, state_dict

__all__ = ["Damaged", "load", "load_state_dict", "save", "state_dict"]
