"""The test matrix: ``nox`` runs what needs no GPU, ``nox -l`` lists the rest. Missing interpreters are skipped, not fetched."""

import os
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "virtualenv"  # uv would try to download missing interpreters
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"
nox.options.error_on_external_run = True

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
DEVICES = ["cpu", "sim", "cuda"]


def group(name):
    return nox.project.dependency_groups(PROJECT, name)


@nox.session(python=PYTHONS)
@nox.parametrize("device", DEVICES)
def tests(session, device):
    """The suite on one device; cuda is skipped, with the reason, where there is no usable GPU."""
    session.install(".", *group("test"))
    if device == "cuda":
        reason = session.run(
            "python",
            "-c",
            "from xpnet.backends import resolve; d, why = resolve('auto'); print(d.kind, why)",
            silent=True,
        ).splitlines()[-1]  # above it, perhaps, a warning that says what is broken
        if not reason.startswith("cuda "):
            session.skip(f"not run on a GPU: {reason}")
    session.run("pytest", f"--device={device}", *session.posargs)


@nox.session
def fast(session):
    """The suite on the device cpu-fast, with Numba."""
    session.install(".[fast]", *group("test"))
    session.run("pytest", "--device=cpu-fast", *session.posargs)


@nox.session(python=["3.11", "3.13"])
@nox.parametrize("numpy", ["lowest", "newest"])
def numpy(session, numpy):
    """Lowest and newest NumPy (2.0 has no wheel for Python 3.13: 2.1 is its lowest)."""
    lowest = "numpy==2.0.*" if session.python == "3.11" else "numpy==2.1.*"
    session.install(".", *group("test"))
    session.install("--upgrade", lowest if numpy == "lowest" else "numpy")
    session.run("python", "-c", "import numpy; print('numpy', numpy.__version__)")
    session.run("pytest", *session.posargs)


@nox.session
def lint(session):
    """Style, by ruff."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session):
    """Types, by mypy."""
    session.install(".", *group("types"))
    session.run("mypy")


@nox.session
def static(session):
    """What no run proves: only backends import CuPy, no value of an array reaches the host in a layer, loss or rule."""
    session.run("python", "tools/check_source.py")


@nox.session
def examples(session):
    """Every example as it stands, with its pictures (the test suite runs short forms of them on every device)."""
    session.install(".[plot,sklearn]")
    pictures = Path(session.create_tmp())
    for example in sorted(Path("examples").glob("*.py")):
        if example.name in ("book_table.py", "conv_nets.py", "cifar10.py", "score_on_spark.py"):
            continue  # minutes, and data: the session slow; Java: the session spark
        picture = ["--picture", str(pictures / f"{example.stem}.png")] if "--picture" in example.read_text() else []
        session.run("python", str(example), *picture)


@nox.session
def extras(session):
    """What needs the optional libraries; pages too, where Chromium is installed (none is downloaded)."""
    libraries = ".[plot,html,data,images,tensorboard,sklearn,onnx]"
    session.install(libraries, *group("test"), *group("browser"), *group("tensorboard"), *group("onnx"))
    session.run("pytest", "-m", "extras or browser", *session.posargs)


@nox.session
def build(session):
    """The wheel, installed in an empty environment, trains; it holds the pages, the data, the GPUs' figures and py.typed."""
    session.install("build")
    out = (Path(session.create_tmp()) / "dist").resolve()
    session.run("python", "-m", "build", "--outdir", str(out), silent=True)
    session.run("python", "-m", "venv", "--clear", str(out / "empty"))
    python = out / "empty" / ("Scripts" if os.name == "nt" else "bin") / "python"
    wheel = max(out.glob("*.whl"), key=os.path.getmtime)
    session.run(str(python), "-m", "pip", "install", "--quiet", str(wheel), external=True)
    with session.chdir(out):  # away from the checkout, whose xpnet would be imported instead
        for device in ("cpu", "sim"):
            session.run(str(python), "-m", "xpnet", "train", "digits", "--epochs", "2", "--device", device, external=True)
        session.run(
            str(python),
            "-c",
            "import xpnet, pathlib; here = pathlib.Path(xpnet.__file__).parent; "
            "pages = ('pages/common.css', 'explain/page.html', 'bench/base.html', 'bench/style.css'); "
            "pages += ('bench/page.html', 'advise/page.html'); "
            "data = ('py.typed', 'datasets/auto_mpg.csv', 'advise/gpus.json'); "
            "assert all((here / name).exists() for name in (*pages, *data))",
            external=True,
        )


@nox.session
def torch(session):
    """Live comparison with PyTorch (the default run uses committed values): layers, files, ONNX."""
    session.install(".[onnx]", *group("test"), *group("torch"), *group("onnx"))
    session.run("pytest", "-m", "torch", *session.posargs)


@nox.session(default=False)
def slow(session):
    """The book's figures on MNIST, California housing (needs XPNET_DATA, a folder with their files); kills, damaged files."""
    session.install(".[plot,images,sklearn,onnx]", *group("test"), *group("onnx"))
    session.run("pytest", "--slow", "-m", "slow", *session.posargs)
    session.run("pytest", "--slow", "tests/test_examples.py", "-k", "sim")  # the longest are skipped there by default
    for example in ("book_table.py", "conv_nets.py", "cifar10.py"):
        session.run("python", f"examples/{example}")


@nox.session(default=False)
def spark(session):
    """The recipe for scoring on Spark, with two workers; needs Java 17."""
    session.install(".[spark]", *group("test"))
    session.run("pytest", "--slow", "tests/examples/test_score_on_spark.py", "tests/test_examples.py", "-k", "spark")


@nox.session(default=False)
def gpu(session):
    """The suite on a real GPU; fails where there is none."""
    session.install(".[cuda13]", *group("test"))
    session.run("pytest", "--device=cuda", *session.posargs)


@nox.session(default=False)
def kernels(session):
    """CUDA kernels compiled for sm_75, sm_80 and sm_90 by NVRTC; needs no GPU."""
    session.install(".", "cupy-cuda13x", "cuda-toolkit[nvrtc,cudart]==13.*", *group("test"))
    session.run("pytest", "-m", "kernels", *session.posargs)


@nox.session(default=False)
def surface(session):
    """The simulator's table and the resolver against CuPy's newest wheel, or the version given after --; needs no GPU."""
    version = f"=={session.posargs[0]}" if session.posargs else ""
    session.install(".", *group("test"))
    session.install("--upgrade", f"cupy-cuda13x{version}")
    session.run("python", "tools/dump_cupy_surface.py", "--check")
    session.run("pytest", "-m", "cupy")


@nox.session(default=False)
def bench(session):
    """The suites of xpnet bench under pytest-benchmark; options for it after --."""
    session.install(".", *group("test"), *group("bench"))
    session.run("pytest", "-p", "no:cacheprovider", "benchmarks/suites.py", *session.posargs)


@nox.session(default=False)
def peers(session):
    """Step speed beside PyTorch, JAX and scikit-learn; each library in processes of its own."""
    session.install(".", *group("peers"))
    session.run("python", "benchmarks/peers.py", *session.posargs)
