"""The training loop and what goes with it."""

from xpnet.training.callbacks import Callback, EarlyStopping, print_epoch
from xpnet.training.checkpoints import Checkpoints, Interrupted
from xpnet.training.feed import minibatches
from xpnet.training.trainer import Trainer

__all__ = ["Callback", "Checkpoints", "EarlyStopping", "Interrupted", "Trainer", "minibatches", "print_epoch"]
