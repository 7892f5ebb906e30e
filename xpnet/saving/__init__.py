"""Networks in files: safetensors with PyTorch's names, written atomically, read on any device; no pickle."""

from xpnet.saving.files import Damaged
from xpnet.saving.models import Model, load_model, save_model
from xpnet.saving.networks import load, load_state_dict, save, state_dict

__all__ = ["Damaged", "Model", "load", "load_model", "load_state_dict", "save", "save_model", "state_dict"]
