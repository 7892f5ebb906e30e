"""Networks in files: what is loaded is what was saved, on every device, and what cannot be is told."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import architectures, models
from xpnet.saving import describing, files
from xpnet.saving.files import read, write
from xpnet.saving.networks import as_host


def trained(name: str, device: xn.Device) -> tuple[xn.Trainer, np.ndarray]:
    trainer, x, y = models.MODELS[name]()
    moved = xn.Trainer(trainer.net, loss=trainer.loss, optimizer=trainer.optimizer, device=device, dtype=trainer.dtype)
    for _ in range(2):
        moved.partial_fit(x, y)
    return moved, x


@pytest.mark.parametrize("name", sorted(set(models.MODELS) - {"wide"}))
def test_every_model_comes_back_the_same(device, name: str, tmp_path: Path) -> None:
    trainer, x = trained(name, device)
    trainer.net.save(tmp_path / "net")
    again = xn.load(tmp_path / "net", device=device)
    assert repr(again) == repr(trainer.net)
    assert (again.seed, again.steps_begun, again.parameters.dtype) == (0, 2, trainer.net.parameters.dtype)
    np.testing.assert_array_equal(again.predict(x), trainer.predict(x))
    for one, other in zip(again.parameters.snapshot().values(), trainer.net.parameters.snapshot().values(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("make", [architectures.vgg, architectures.resnet, architectures.lenet], ids=lambda f: f.__name__)
def test_architectures_come_back_the_same(make: Any, tmp_path: Path, rng) -> None:
    shape = (28, 28, 1) if make is architectures.lenet else (32, 32, 3)
    net = make().build(shape)
    net.parameters.restore({name: a + 0.1 * rng.random(a.shape) for name, a in net.parameters.snapshot().items()})
    net.save(tmp_path / "net")
    x = rng.standard_normal((3, *shape)).astype(np.float32)
    np.testing.assert_array_equal(xn.load(tmp_path / "net").predict(x), net.predict(x))


WITHOUT_CUPY = """
import sys
for name in ("cupy", "cupyx"):
    sys.modules[name] = None  # importing it raises
import numpy as np, xpnet as xn
net = xn.load(sys.argv[1])
np.save(sys.argv[3], net.predict(np.load(sys.argv[2])))
assert not [m for m in sys.modules if m.startswith("xpnet.backends.sim")], "the simulator was loaded"
"""


def test_trained_on_sim_it_predicts_the_same_on_the_cpu_without_cupy(tmp_path: Path) -> None:
    trainer, x = trained("lenet", xn.device("sim"))
    trainer.net.save(tmp_path / "net")
    np.save(tmp_path / "x.npy", x)
    subprocess.run(
        [sys.executable, "-c", WITHOUT_CUPY, tmp_path / "net", tmp_path / "x.npy", tmp_path / "y.npy"], check=True, timeout=60
    )
    here, there = trainer.predict(x), np.load(tmp_path / "y.npy")
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-5 * abs(here).max())
    np.testing.assert_array_equal(there.argmax(axis=1), here.argmax(axis=1))


def test_a_loaded_network_trains_on_as_the_one_that_was_saved(tmp_path: Path) -> None:
    """Random masks as well: they depend on the seed and the number of the step."""
    trainer, x = trained("residual", xn.device("cpu"))
    trainer.net.save(tmp_path / "net")
    again = xn.load(tmp_path / "net")
    step, same = trainer.net.step(training=True), again.step(training=True)
    np.testing.assert_array_equal(again.forward(x, same)[0], trainer.net.forward(x, step)[0])


def test_frozen_parameters_stay_frozen(tmp_path: Path) -> None:
    net = xn.Sequential(xn.Affine(3), xn.ReLU(), xn.Affine(2)).build((4,))
    net.freeze(0)
    net.save(tmp_path / "net")
    frozen = [p.name for p in xn.load(tmp_path / "net").parameters.values() if p.frozen]
    assert frozen == ["0.W", "0.b"]


class Doubled(xn.Layer):
    """A user's own layer with a parameter and an argument."""

    def __init__(self, factor: float):
        self.factor = factor

    def build(self, shape: tuple, make: Any) -> tuple:
        self.bend = make.parameter("bend", shape, xn.initializers.ones)
        return shape

    def forward(self, x: Any, step: Any) -> Any:
        return x * self.bend.value * self.factor, x

    def backward(self, dy: Any, x: Any, step: Any) -> Any:
        self.bend.grad[...] = (dy * x).sum(axis=0) * self.factor
        return dy * self.bend.value * self.factor


def test_a_layer_of_ones_own_is_loaded_with_its_class(tmp_path: Path, rng) -> None:
    net = xn.Sequential(xn.Affine(3, init=lambda rng, shape: np.ones(shape)), Doubled(2.5)).build((4,))
    net.save(tmp_path / "net")
    with pytest.raises(ValueError, match=r"it has a Doubled, which is not xpnet's: give its class, own=\[Doubled\]"):
        xn.load(tmp_path / "net")
    again = xn.load(tmp_path / "net", own=Doubled)
    x = rng.standard_normal((2, 4)).astype(np.float32)
    np.testing.assert_array_equal(again.predict(x), net.predict(x))
    assert again.layers[1].factor == 2.5
    with pytest.raises(RuntimeError, match=r"lambda> was not saved with the network, only its name"):
        again.build((4,))


class Named(xn.Layer):
    """Keeps an argument under another name."""

    def __init__(self, factor: float = 2.0):
        self.times = factor

    def forward(self, x: Any, step: Any) -> Any:
        return x * self.times, None

    def backward(self, dy: Any, cache: None, step: Any) -> Any:
        return dy * self.times


class Holding(Named):
    """Keeps whatever it is given."""

    def __init__(self, thing: Any):
        super().__init__()
        self.thing = thing


class Net(xn.Sequential):
    """A network of one's own, of one number."""

    def __init__(self, width: int):
        super().__init__(xn.Affine(width), xn.ReLU(), xn.Affine(2))
        self.width = width


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (Named(3.0), "Named does not keep factor, as an attribute of that name"),
        (Holding(np.array(["a"])), "layers.1.thing: a ndarray is not kept"),
        (Holding({1: 2}), "a dict with such keys is not kept"),
        (Holding({"class": "cat"}), "a dict with such keys is not kept"),
        (Holding(Path("x")), "thing: a PosixPath is not kept"),
        (Holding({1, 2}), "thing: a set is not kept"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_file_does_not_hold_is_refused_before_it_is_written(tmp_path: Path, layer: Any, said: str) -> None:
    net = xn.Sequential(xn.Affine(3), layer).build((4,))
    with pytest.raises(TypeError, match=said):
        net.save(tmp_path / "net")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("thing", [float("inf"), {"a": [1, "b"]}, "text", None, (1, (2, 3)), np.float32(0.5)], ids=str)
def test_options_of_many_kinds_come_back(tmp_path: Path, thing: Any) -> None:
    xn.Sequential(Holding(thing), xn.Affine(3)).build((4,)).save(tmp_path / "net")
    found = xn.load(tmp_path / "net", own=[Holding]).layers[0].thing
    assert found == ({"a": (1, "b")} if isinstance(thing, dict) else thing)


def test_a_network_of_ones_own_class(tmp_path: Path, rng) -> None:
    net, x = Net(5).build((4,)), rng.standard_normal((3, 4)).astype(np.float32)
    net.save(tmp_path / "net")
    with pytest.raises(ValueError, match="it has a Net, which is not xpnet's"):
        xn.load(tmp_path / "net")
    with pytest.raises(TypeError, match=r"own: .* is no class: give the class, own=\[Net\]"):
        xn.load(tmp_path / "net", own=[net])
    again = xn.load(tmp_path / "net", own=[Net])
    assert type(again) is Net
    np.testing.assert_array_equal(again.predict(x), net.predict(x))


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    class Both(xn.Affine):
        def build(self, shape: tuple, make: Any) -> tuple:
            self.weight = make.parameter("weight", (2,), xn.initializers.ones)
            return super().build(shape, make)

    with pytest.raises(ValueError, match=r"two parameters would be called 0\.weight in the file"):
        xn.Sequential(Both(2)).build((3,)).save(tmp_path / "net")


def test_nothing_is_pickled_and_no_name_in_a_file_is_imported(tmp_path: Path, monkeypatch) -> None:
    for name in ("loads", "load", "Unpickler"):
        monkeypatch.setattr(pickle, name, None)
    net = xn.Sequential(xn.Affine(2)).build((3,))
    net.save(tmp_path / "net")
    stored = read(tmp_path / "net")
    for name in ("os:system", ":antigravity", "Trainer", "object", "__class__"):
        write(tmp_path / "bad", stored.arrays, with_change(stored, "layers", [{"class": name, "n_out": 2}]))
        with pytest.raises(ValueError, match="which is not xpnet's: give its class, own="):
            xn.load(tmp_path / "bad")
    assert "antigravity" not in sys.modules


def with_change(stored: Any, key: str, value: Any) -> dict:
    """What a file says, its network with another value."""
    net = stored.about["network"]
    change = {"architecture": {**net["architecture"], "layers": value}} if key == "layers" else {key: value}
    return {**stored.about, "network": {**net, **change}}


CHANGES: list[tuple[str, Any]] = [
    ("input_shape", [5]),
    ("input_shape", [10**15]),
    ("input_shape", [-3]),
    ("input_shape", "x"),
    ("input_shape", None),
    ("dtype", "int8"),
    ("dtype", "nonsense"),
    ("architecture", {"class": "Affine", "n_out": 2}),
    ("architecture", 3),
    ("steps_begun", -5),
    ("seed", -1),
    ("seed", "x"),
    ("steps_begun", "x"),
    ("frozen", ["9.W"]),
    ("layers", []),
    ("layers", None),
    ("layers", [{"class": "Affine", "n_out": 10**12}]),
    ("layers", [{"class": "Affine", "n_out": -1}]),
    ("layers", [{"class": "Affine"}]),
    ("layers", [{"class": "Affine", "n_out": 2, "colour": 3}]),
    ("layers", [{"class": "Adam", "learning_rate": 1}]),
    ("layers", [{"class": ["Affine"]}]),
    ("layers", [{"class": "Affine", "n_out": 2}] * 3),
    ("layers", [{"class": "Reshape", "shape": [10**9, 10**9]}, {"class": "Affine", "n_out": 2}]),
    ("layers", "ReLU"),
    ("layers", [{"class": "Reshape", "shape": [3, 1, 1]}, {"class": "Conv2d", "n_out": 2, "kernel": 1, "padding": 10**6}]),
]


@pytest.mark.parametrize(("key", "value"), CHANGES, ids=str)
def test_a_description_that_does_not_fit_is_one_clear_error(tmp_path: Path, key: str, value: Any) -> None:
    xn.Sequential(xn.Affine(2)).build((3,)).save(tmp_path / "net")
    stored = read(tmp_path / "net")
    write(tmp_path / "bad", stored.arrays, with_change(stored, key, value))
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'bad'}: no network can be made of it (")):
        xn.load(tmp_path / "bad")


def test_a_description_nested_without_end(tmp_path: Path, monkeypatch) -> None:
    xn.Sequential(xn.Affine(2)).build((3,)).save(tmp_path / "net")
    stored = read(tmp_path / "net")
    layer: dict = {"class": "ReLU"}
    for _ in range(300):
        layer = {"class": "Sequential", "layers": [layer]}
    monkeypatch.setattr(files, "for_json", lambda tree: tree)  # which would not write it
    write(tmp_path / "bad", stored.arrays, with_change(stored, "layers", [layer]))
    with pytest.raises(ValueError, match=r"bad: what is said in it is not understood \(RecursionError"):
        xn.load(tmp_path / "bad")


def test_arrays_that_do_not_fit(tmp_path: Path) -> None:
    net = xn.Sequential(xn.Affine(2)).build((3,))
    net.save(tmp_path / "net")
    stored = read(tmp_path / "net")
    for arrays, said in (
        ({"0.weight": stored.arrays["0.weight"]}, "has no 0.bias; it has 0.weight"),
        ({**stored.arrays, "1.weight": np.ones(2)}, "has 1.weight, which the network has not"),
        ({**stored.arrays, "0.weight": np.ones((3, 2))}, r"0.weight has shape \(3, 2\), the network needs \(2, 3\)"),
    ):
        write(tmp_path / "bad", arrays, stored.about)
        with pytest.raises(ValueError, match=said):
            xn.load(tmp_path / "bad")
        with pytest.raises(ValueError, match=said):
            net.load_state_dict(arrays)


def test_a_later_format_is_named(tmp_path: Path) -> None:
    write(tmp_path / "net", {}, {"format": 2})
    with pytest.raises(ValueError, match="has format 2, this xpnet reads 1"):
        xn.load(tmp_path / "net")


def test_what_is_not_built_has_nothing_to_save(tmp_path: Path) -> None:
    with pytest.raises(xn.NotBuilt):
        xn.Sequential(xn.Affine(2)).save(tmp_path / "net")
    assert not any(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    net = xn.Sequential(xn.Affine(2)).build((3,))
    with pytest.raises(OSError, match=r"No such file or directory, nothing was changed.*none/net"):
        net.save(tmp_path / "none" / "net")


def test_arrays_alone_are_no_network(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"0.weight": np.ones((2, 3), np.float32)}, tmp_path / "theirs")
    with pytest.raises(ValueError, match=r"holds arrays only, no network by xpnet: build one"):
        xn.load(tmp_path / "theirs")


@pytest.mark.parametrize("init", [xn.initializers.constant(0.5), xn.initializers.normal(0.1), xn.initializers.glorot_uniform])
def test_initializers_of_xpnet_come_back(tmp_path: Path, init: Any) -> None:
    net = xn.Sequential(xn.Affine(3, init=init)).build((4,), seed=7)
    net.save(tmp_path / "net")
    again = xn.load(tmp_path / "net")
    assert repr(again) == repr(net)
    values = again.parameters.snapshot()
    again.build((4,), seed=7)
    np.testing.assert_array_equal(again.parameters.snapshot()["0.W"], values["0.W"])


def test_every_part_is_described_and_made_again() -> None:
    parts = [
        xn.Adam(xn.LinearWarmup(xn.Cosine(1e-3, steps=10), steps=3), clip_norm=1.0),
        xn.SoftmaxCrossEntropy(label_smoothing=0.1),
        xn.Residual(xn.Conv2d(3, (3, 1), padding="same"), shortcut=xn.Conv2d(3, 1)),
        xn.Concatenate(xn.Identity(), xn.Sequential(xn.ReLU(), xn.Reshape((2, 3)))),
    ]
    for part in parts:
        assert repr(describing.make(describing.describe(part), {})) == repr(part)


def test_states_that_are_none() -> None:
    net = xn.Sequential(xn.Affine(2), xn.BatchNorm()).build((3,))
    for wrong in (net, [1], {0: np.ones(2)}):
        with pytest.raises(TypeError, match="arrays by name are needed"):
            net.load_state_dict(wrong)
    by_name = dict(sorted(net.state_dict().items()))
    with pytest.raises(ValueError, match="files of safetensors have them sorted by name"):
        net.load_state_dict(by_name, by_order=True)
    other = xn.Sequential(xn.Affine(2), xn.BatchNorm()).build((3,), seed=9)
    other.load_state_dict(net.state_dict(), by_order=True)
    assert str(other.state_dict()) == str(net.state_dict())


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    xn.Sequential(xn.Affine(2)).build((3,)).save("~/net")
    assert xn.load("~/net").built


def test_tensors_of_several_kinds_are_taken() -> None:
    class Tensor:
        def detach(self) -> Tensor:
            return self

        def cpu(self) -> np.ndarray:
            return np.ones(3)

    assert as_host(Tensor()).tolist() == [1, 1, 1]
    assert as_host([1, 2]).tolist() == [1, 2]
