"""What training steps of the built-in models ask of a device, seen through the ledger; prints one JSON object.

    python -m xpnet.gpucheck.budgets --device cuda

On a GPU the figures come from CuPy's own hooks (copies, synchronisations, requests to the memory pool);
launches are known on the simulated GPU only.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

from xpnet.backends.device import Device
from xpnet.backends.ledger import HiddenCrossing, forbid_sync, forbid_transfer, ledger
from xpnet.backends.resolve import device
from xpnet.models import MODELS

WARM_UP, STEPS = 3, 5  # buffers settle in two steps


def budget(name: str, target: Device) -> dict[str, Any]:
    """The typical step of one model: ``ok`` where it neither waited nor copied."""
    trainer, x, y = MODELS[name]()
    trainer.device = target
    trainer.build(x.shape[1:])
    rows, targets = target.put(x, trainer.net.parameters.dtype), target.put(y)
    for _ in range(WARM_UP):
        trainer.step(rows, targets)
    target.synchronize()
    try:
        with ledger() as seen, forbid_sync(), forbid_transfer():
            for _ in range(STEPS):
                trainer.step(rows, targets)
    except HiddenCrossing as error:
        return {"ok": False, "error": str(error)}
    step = seen.typical_step
    assert step is not None
    found = dataclasses.asdict(step)
    if seen.on_cuda:
        found |= dict.fromkeys(("launches", "moved_bytes", "flops", "float64"))
    return {"ok": step.syncs == step.copies == 0, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    target = device(parser.parse_args().device)
    print(json.dumps({name: budget(name, target) for name in MODELS}))


if __name__ == "__main__":
    main()
