"""Whether a GPU pays off for a model: ``advise(model, gpus=[gpu_profile("H200")])``, measured and predicted."""

from xpnet.advise.advice import Advice, GPUAdvice
from xpnet.advise.advising import advise
from xpnet.advise.profiles import GPUProfile, gpu_names, gpu_profile, load_profile

__all__ = ["Advice", "GPUAdvice", "GPUProfile", "advise", "gpu_names", "gpu_profile", "load_profile"]
