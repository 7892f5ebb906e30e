"""``xpnet export MODEL OUT.onnx``: a saved network as an ONNX file, for ONNX Runtime and whatever else reads those."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_to(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "export",
        help="write a saved network as an ONNX file",
        description="Write the network of a saved model as an ONNX file (needs onnx). It takes what the network takes: rows "
        "that are prepared as in training, images with the channels last.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("model", metavar="MODEL", type=Path, help="what xpnet train --save MODEL or net.save(MODEL) wrote")
    parser.add_argument("out", metavar="OUT.onnx", type=Path, help="the file to write")
    parser.add_argument("--channels-first", action="store_true", help="images are (N, C, H, W), as PyTorch has them")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")


def run(arguments: argparse.Namespace) -> None:
    """Write the file and say what it takes and gives."""
    from xpnet.checks import check_file_place
    from xpnet.onnx import export
    from xpnet.onnx.saving import at_ends
    from xpnet.saving.models import load_model
    from xpnet.saving.networks import load

    if arguments.out.suffix != ".onnx":
        raise ValueError(f"{arguments.out}: the name of an ONNX file ends in .onnx")
    check_file_place(arguments.out, "OUT")
    if not arguments.out.absolute().parent.is_dir():
        raise FileNotFoundError(f"{arguments.out}: there is no folder {arguments.out.absolute().parent}; make it first")
    net = load_model(arguments.model).net if arguments.model.is_dir() else load(arguments.model)
    export(net, arguments.out, channels_first=arguments.channels_first)
    given, found = (f"(N, {', '.join(map(str, end.dims))})" for end in at_ends(net, arguments.channels_first))
    print(f"wrote {arguments.out}: {given} -> {found}, {net.parameters.dtype}, rows prepared as in training")
