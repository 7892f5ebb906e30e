"""What the tests of recorded steps share."""

from __future__ import annotations

STEPS = 6


def replays(trainer):
    """How many steps each record of the trainer has replayed."""
    return [record._plan.replays if record._plan else None for record in trainer.records._of_kind.values()]


def same_steps(made, x, y, weights=None, steps=STEPS, between=lambda trainer, i: None):
    """Train one trainer by steps, its equal by the layers' code alone; both end in the same bytes. The first is returned."""
    trainer, eager = made(), made()
    for one in (trainer, eager):
        one.build(x.shape[1:])
    for i in range(steps):
        between(trainer, i)
        between(eager, i)
        losses = trainer.step(x, y, weights), eager.eager_step(x, y, weights)
        assert losses[0].tobytes() == losses[1].tobytes(), f"step {i}"
    for name in ("value", "grad", "state"):
        assert getattr(trainer.net.parameters, name).tobytes() == getattr(eager.net.parameters, name).tobytes()
    for name, vector in trainer.optimizer.vectors.items():
        assert vector.tobytes() == eager.optimizer.vectors[name].tobytes()
    return trainer
