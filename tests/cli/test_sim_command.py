"""``xpnet sim``: what it reports of scripts, with which exit status, and that it gives them the surroundings of ``python``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from xpnet.cli import main
from xpnet.simulate import simulate

ROOT = Path(__file__).parents[2]

THREE_LINES = """\
import sys

import numpy as np

import xpnet as xn

device = xn.device(sys.argv[1])
data = xn.datasets.digits()
net = xn.Sequential(xn.Affine(16), xn.ReLU(), xn.Affine(10))
net.build((64,), device=device, seed=0)
loss, optimizer = xn.SoftmaxCrossEntropy(), xn.Adam(1e-3)
x, y = device.put(data.x_train), device.put(data.y_train)
scale, rng, losses = np.linspace(0.5, 1.5, 64, dtype=np.float32), np.random.default_rng(0), []
for start in range(0, 320, 32):
    rows = rng.permutation(1000)[:32]
    batch = x[rows]  # host index array
    batch = batch * scale  # NumPy constant
    step = net.step(training=True)
    logits, cache = net.forward(batch, step)
    value, dlogits = loss(logits, y[start : start + 32], step)
    net.backward(dlogits, cache, step)
    optimizer.update(net.parameters)
    losses.append(float(value))  # read in every step
print(f"mean loss {np.mean(losses):.3f}")
"""

PLAIN_CUPY = """\
import cupy as cp
from cupy.cuda import Device

def relu(z):
    return cp.maximum(z, 0)

with Device(0):
    rng = cp.random.default_rng(0)
    x = rng.standard_normal((128, 8), dtype=cp.float32)
    y = (x[:, :1] * x[:, 1:2] > 0).astype(cp.float32)
    w1, b1 = 0.3 * rng.standard_normal((8, 32), dtype=cp.float32), cp.zeros(32, dtype=cp.float32)
    w2, b2 = 0.3 * rng.standard_normal((32, 1), dtype=cp.float32), cp.zeros(1, dtype=cp.float32)
    first = None
    for _ in range(60):
        h = relu(x @ w1 + b1)
        error = h @ w2 + b2 - y
        dz = 2 / len(x) * error
        dh = dz @ w2.T * (h > 0)
        for parameter, gradient in ((w2, h.T @ dz), (b2, dz.sum(0)), (w1, x.T @ dh), (b1, dh.sum(0))):
            parameter -= 0.1 * gradient
        last = (error * error).mean()
        first = last if first is None else first
    assert isinstance(x, cp.ndarray) and last.get() < 0.8 * first.get()
print("learnt")
"""


def written(folder: Path, text: str, name: str = "script.py") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def line_with(text: str, script: str) -> int:
    (number,) = (n for n, line in enumerate(Path(script).read_text().splitlines(), 1) if text in line)
    return number


def command(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "xpnet", "sim", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )


def test_the_command_names_all_three_lines(tmp_path: Path) -> None:
    script = written(tmp_path, THREE_LINES)
    done = command(script, "cuda")
    report = done.stderr
    assert report.startswith("\n--- xpnet sim ---\n")
    assert "mean loss" in done.stdout
    assert "xpnet sim" not in done.stdout
    assert done.returncode == 1
    for remark, cause in {
        "# host index array": "host index array: copies to the device",
        "# NumPy constant": "Unsupported type <class 'numpy.ndarray'> in cupy.multiply",
        "# read in every step": "float(): waits",
    }.items():
        place = f"{script}:{line_with(remark, script)} "
        (row,) = (row for row in report.splitlines() if place in row)
        assert cause in row
        assert "every step" in row or "(10x)" in row
    assert "script.py ran to its end" in report
    assert "A typical step of 10" in report


def test_places_are_relative_to_the_folder_of_the_caller(tmp_path: Path) -> None:
    written(tmp_path, THREE_LINES)
    report = command("script.py", "auto", cwd=tmp_path).stderr
    assert f"\n  script.py:{line_with('# read in', str(tmp_path / 'script.py'))} " in report


SIM = "import xpnet as xn\ndevice = xn.device('cuda')\nxp, np = device.xp, __import__('numpy')\na = xp.arange(3)\n"
STATUSES = {
    "nothing wrong": (SIM, 0, "ran to its end"),
    "a mistake": (SIM + "a * np.arange(3)", 1, "Mistakes"),
    "a hidden synchronisation alone": (SIM + "float(a[0])", 0, "float(): waits"),
    "its own exit status": (SIM + "raise SystemExit(3)", 3, "ended by itself with exit status 3"),
    "sys.exit()": (SIM + "import sys; sys.exit()", 0, "ran to its end"),
    "its own words": (SIM + "raise SystemExit('no data')", 1, "ended by itself with exit status 1: no data."),
    "an error": (SIM + "a.resize(2)", 1, "script.py:5: AttributeError: 'cupy.ndarray' object has no attribute 'resize'"),
    "an error of its own": (SIM + "1 / 0", 1, "script.py:5: ZeroDivisionError"),
    "no such module": ("import no_such_module_at_all", 1, "script.py:1: ModuleNotFoundError"),
    "a syntax error": ("x = 1\ndef f(:\n", 1, 'script.py", line 2\n    def f(:\n'),
    "no Python at all": ("\0\1", 1, "cannot be run:\nSyntaxError: source code"),
    "np.asarray that is caught": (SIM + "try: np.asarray(a)\nexcept TypeError: a.get()", 0, ".get(): waits"),
    "a module that is not simulated": ("import cupy.fft\ncupy.fft.fft(1)", 1, "AttributeError: cupy.fft.fft is not"),
    "a part of cupyx": (
        "from cupyx.scipy import special\nspecial.expit(1)",
        1,
        "script.py:2: AttributeError: cupyx.scipy.special.expit is not simulated",
    ),
    "a member of a device": ("import cupy\ncupy.cuda.Device(0).mem_info", 1, "cupy.cuda.Device.mem_info is not simulated"),
    "a backend chosen by find_spec": (
        "import importlib.util\nassert importlib.util.find_spec('cupy')\nimport cupy\ncupy.ones(2)",
        0,
        "ran to its end",
    ),
    "a thread": (
        SIM + "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.2), float(a[0]))).start()",
        0,
        "script.py:6  ",
    ),
    "a pool of threads left open": (
        SIM
        + "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(2)\npool.submit(lambda: float(a[0]))",
        0,
        "script.py:7  ",
    ),
    "a thread, and then sys.exit()": (
        SIM + "import sys, threading, time\n"
        "threading.Thread(target=lambda: (time.sleep(0.2), float(xn.device('cuda').put([1.0])[0]))).start()\nsys.exit(0)",
        0,
        "script.py:6  ",
    ),
    "os.chdir": (SIM + "import os\nos.chdir(os.path.dirname(__file__))", 0, "ran to its end"),
    "a name that CuPy has not": ("from cupy import vecdot", 1, "script.py:1: ImportError"),
    "a function of cupyx": ("from cupyx import scatter_add\nscatter_add(1)", 1, "cupyx.scatter_add is not simulated"),
    "a syntax error of its own making": (SIM + "import ast\nast.literal_eval('lr = 1')", 1, "ended with an error"),
    "nothing on a GPU": ("print(1 + 1)", 0, "Nothing was computed on the simulated GPU"),
    "the CPU": ("import xpnet as xn\nxn.device('cpu').xp.ones(3)", 0, "Nothing was computed on the simulated GPU"),
}


@pytest.mark.parametrize("name", STATUSES)
def test_exit_status_and_ending(name: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    text, status, says = STATUSES[name]
    assert main(["sim", written(tmp_path, text)]) == status
    assert says in capsys.readouterr().err.partition("--- xpnet sim ---")[2]


def test_an_error_shows_the_users_lines_and_no_others(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    text = SIM + "def inner():\n    return np.sqrt(a) + [1]\n\n\ndef outer():\n    return inner()\n\n\nouter()\n"
    assert main(["sim", written(tmp_path, text)]) == 1
    report = capsys.readouterr().err
    assert [f", line {n}, in " in report for n in (6, 10, 13)] == [True] * 3
    assert "xpnet/backends" not in report.replace(str(ROOT), "")


def test_no_such_script(capsys: pytest.CaptureFixture) -> None:
    assert main(["sim", "no_such_script.py"]) == 1
    assert "there is no file 'no_such_script.py'" in capsys.readouterr().err


def test_a_script_of_plain_cupy_works_and_is_reported(tmp_path: Path) -> None:
    found = simulate(written(tmp_path, PLAIN_CUPY))
    assert found.error is None, str(found)
    assert "no optimizer.update was called" in str(found)
    assert {event.cause for event in found.book.events.values()} == {".get()"}
    assert found.book.syncs == 2
    assert found.book.launches > 60 * 20
    assert found.book.float64 == 0


def test_cupy_is_simulated_inside_only(tmp_path: Path) -> None:
    before = {name for name in sys.modules if name.partition(".")[0] in ("cupy", "cupyx")}
    simulate(written(tmp_path, "import cupy.linalg, cupyx\nassert cupy.__version__"))
    assert {name for name in sys.modules if name.partition(".")[0] in ("cupy", "cupyx")} == before


def test_arguments_and_the_modules_beside_the_script(tmp_path: Path) -> None:
    written(tmp_path, "def double(a):\n    return a + a", "beside.py")
    script = written(
        tmp_path,
        "import sys\nfrom beside import double\nimport cupy\n"
        "assert __name__ == '__main__' and sys.argv == [__file__, '--epochs', '3', '-x']\n"
        "print(double(cupy.ones(2)))",
    )
    before = sys.argv, sys.path[:]
    try:
        found = simulate(script, ["--epochs", "3", "-x"])
    finally:
        sys.modules.pop("beside", None)
    assert found.error is None, str(found)
    assert (sys.argv, sys.path) == before
    places = {(Path(event.place.file).name, event.kind) for event in found.book.events.values()}
    assert ("beside.py", "float64") in places
    assert ("script.py", "sync") in places


def test_arguments_that_look_like_the_commands_own(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    script = written(tmp_path, "import sys\nprint(sys.argv[1:])")
    assert main(["sim", script, "--traceback", "--help"]) == 0
    assert "['--traceback', '--help']" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["train.py", "--epochs", "1"],
        ["train.py", "--epochs", "1", "--by-hand"],
        pytest.param(["learning_slowly.py", "--quick"], marks=pytest.mark.slow),
        pytest.param(["own_pieces.py"], marks=pytest.mark.slow),
        ["regression.py", "--quick"],
        pytest.param(["which_color.py", "--quick"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_the_steps_of_the_examples_hide_nothing(arguments: list[str]) -> None:
    """Those that train in steps; partial_fit, for one, gives a number back each time."""
    example, *options = arguments
    found = simulate(str(ROOT / "examples" / example), [*options, "--device", "cuda"])
    assert found.status == 0, str(found)
    step = found.book.typical_step
    assert (step.syncs, step.copies, step.float64) == (0, 0, 0)


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """Two scripts with a module of the same name beside each."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        written(tmp_path / name, f"import cupy.fft\nword = {name!r}\n", "helper.py")
        script = written(tmp_path / name, f"import helper, cupy\nassert helper.word == {name!r}\ncupy.ones(3)")
        found = simulate(script)
        assert found.error is None, str(found)
        assert "helper" not in sys.modules
    xp = simulate(written(tmp_path, "import cupy\nxp = cupy")).book
    assert xp.launches == 0
    import xpnet as xn

    assert not hasattr(xn.device("sim").xp, "fft")


def test_the_ledger_as_json(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    script, target = written(tmp_path, THREE_LINES), tmp_path / "ledger.json"
    assert main(["sim", "--json", str(target), script, "cuda"]) == 1
    found = json.loads(target.read_text())
    assert (found["steps"], found["status"], found["launches_known"]) == (10, 1, True)
    assert found["typical_step"]["syncs"] == 1
    events = {(e["kind"], e["cause"], e["line"]) for e in found["events"]}
    assert ("sync", "float()", line_with("# read in every step", script)) in events
    assert any(k["name"] == "matmul" and k["flops"] > 0 for k in found["kernels"])


def test_a_folder_is_no_script(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["sim", str(tmp_path)]) == 1
    assert "is a folder, not a file" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_that_ends_a_thread_is_told(tmp_path: Path) -> None:
    script = written(tmp_path, SIM + "import threading\nthreading.Thread(target=lambda: a.resize(2)).start()\n")
    found = simulate(script)
    assert found.status == 1
    assert f"A thread ended with an error: {script}:6: AttributeError" in str(found)


def test_the_current_device_and_folder_are_as_before(tmp_path: Path) -> None:
    import xpnet as xn

    before = Path.cwd()
    simulate(written(tmp_path, "import cupy, os\ncupy.cuda.runtime.setDevice(2)\nos.chdir('/')"))
    assert xn.device("sim").xp.cuda.Device().id == 0
    assert Path.cwd() == before
