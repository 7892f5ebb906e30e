"""The training loop and what goes with it."""

from xpnet.training.callbacks import Callback, EarlyStopping, print_epoch
from xpnet.training.checkpoints import Checkpoints, Interrupted
from xpnet.training.feed import minibatches
from xpnet.training.logs import BestModel, JSONLog, TensorBoardLog
from xpnet.training.trainer import Trainer

__all__ = [
    "BestModel",
    "Callback",
    "Checkpoints",
    "EarlyStopping",
    "Interrupted",
    "JSONLog",
    "TensorBoardLog",
    "Trainer",
    "minibatches",
    "print_epoch",
]
