"""Reads damaged files in a process with little memory: ``python onnx_damage_reader.py FOLDER FIRST COUNT``.

Each comes to a working network or to a ValueError that names the file, within seconds, and opens no other file; the last
line is a summary as JSON. Anything else ends the process with the file's number.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from onnx_cases import cases, filled, inputs
from onnx_mutations import mutated

from xpnet import architectures
from xpnet.onnx import load
from xpnet.onnx.saving import as_model

MEMORY, SECONDS = 3 << 30, 10
NAMES = (
    *("Inception", "Residual blocks", "Affine of sequences", "GELU of images", "SiLU", "Step", "Softmax", "Reshape"),
    *("RandomCrop, padded", "AvgPool2d, ceil, padded, (7, 10, 3)", "MaxPool2d, padded, (8, 9, 2)", "Conv2d, same, stride 2"),
    *("LayerNorm over 3 behind a convolution", "GroupNorm behind a convolution", "BatchNorm, 3 axes", "Add of two layouts"),
)
OPENING = ("open", "socket.connect", "subprocess.Popen", "os.system", "os.rename", "os.remove")


def originals() -> list[bytes]:
    """Good files, between them every operator that is written."""
    known = {name: (make, shape) for name, make, shape in cases()}
    nets = [filled(known[name][0](), known[name][1]) for name in NAMES]
    return [as_model(net).SerializeToString() for net in (*nets, filled(architectures.lenet(), (28, 28, 1)))]


def outcome(path: Path) -> str:
    """How reading a file ends; what it may not end in is raised."""
    try:
        net = load(path)
    except ValueError as error:
        if str(path) not in str(error):
            raise
        return "refused"
    if max(map(math.prod, [*net.shapes, net.input_shape])) < 10**6:
        with np.errstate(all="ignore"):  # flipped bits make huge weights
            found = net.predict(inputs(net, 2))
        assert found.shape == (2, *net.output_shape)
    return "read"


def main(folder: Path, first: int, count: int) -> None:
    path, files, ends, slowest = folder / "damaged.onnx", originals(), Counter(), 0.0
    for data in files:  # what is imported on the way is, before files are watched
        path.write_bytes(data)
        assert outcome(path) == "read"
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    opened: set[str] = set()
    sys.addaudithook(lambda event, about: opened.add(f"{event} {about[0]}") if event in OPENING else None)
    for number in range(first, first + count):
        path.write_bytes(mutated(files[number % len(files)], np.random.default_rng(number), onnx))
        start = time.perf_counter()
        try:
            ends[outcome(path)] += 1
        except BaseException:
            print(f"file {number} ended in:", file=sys.stderr)
            raise
        slowest = max(slowest, time.perf_counter() - start)
        assert slowest < SECONDS, f"file {number} took {slowest:.0f} s"
        assert opened <= {f"open {path}"}, (number, opened)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**ends, "slowest": round(slowest, 2), "peak MB": round(peak)}))


if __name__ == "__main__":
    warnings.simplefilter("ignore", UserWarning)  # samples that look like (channels, height, width)
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
