"""The built-in models: complete, trainable, the same each time; and models from files."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import numpy as np
import pytest
from core_helpers import bits, classes_data

import xpnet as xn
from xpnet.models import MODELS, load
from xpnet.scripts import searching

SMALL = [name for name in MODELS if name != "wide"]


def public(base: type) -> set[type]:
    return {c for c in vars(xn).values() if isinstance(c, type) and issubclass(c, base) and c is not base}


class TestBuiltIn:
    def test_between_them_every_layer_loss_and_optimizer_occurs(self):
        trainers = [make()[0] for make in MODELS.values()]
        layers = {type(layer) for trainer in trainers for layer in (trainer.net, *trainer.net.walk())}
        assert layers == public(xn.Layer) - {xn.Step}  # which cannot be trained through
        assert {type(trainer.loss) for trainer in trainers} == public(xn.Loss)
        assert {type(trainer.optimizer) for trainer in trainers} == public(xn.Optimizer)

    def test_the_variants_that_compute_otherwise(self):
        trainer, _, _ = MODELS["residual"]()
        layers = list(trainer.net.walk())
        assert {layer.approximate for layer in layers if isinstance(layer, xn.GELU)} == {"none", "tanh"}
        assert {layer.shortcut is None for layer in layers if isinstance(layer, xn.Residual)} == {True, False}
        assert trainer.optimizer.clip_norm
        assert isinstance(trainer.optimizer.learning_rate, xn.Schedule)

    @pytest.mark.parametrize(
        ("name", "size", "rows"),
        [("book", 23860, 10), ("mlp", 235146, 64), ("wide", 8344552, 256), ("colors", 10503, 240)],
    )
    def test_the_sizes_of_the_known_ones(self, name, size, rows):
        trainer, x, y = load(name)
        net = trainer.build(x.shape[1:]).net
        assert net.parameters.value.size == size
        assert len(x) == len(y) == rows

    @pytest.mark.parametrize("name", MODELS)
    def test_data(self, name):
        trainer, x, y = load(name)
        assert trainer.device == xn.device("cpu")
        assert not trainer.net.built
        if name == "worked":  # one row of numbers to calculate with by hand
            assert (x.tolist(), y.tolist(), x.dtype, y.dtype) == ([[3.0]], [[4.0]], np.float64, np.float64)
        else:
            assert x.dtype == np.float32
            np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-5)
            np.testing.assert_allclose(x.std(axis=0), 1, atol=1e-5)
            assert y.dtype in (np.int64, np.float32)
        for a, b in zip((x, y), load(name)[1:], strict=True):
            assert a.tobytes() == b.tobytes()
            assert not np.shares_memory(a, b)

    @pytest.mark.parametrize("name", SMALL)
    def test_training_gets_somewhere(self, name):
        trainer, x, y = load(name)
        losses = trainer.fit(x, y, epochs=50, batch_size=None)["loss"]
        assert np.isfinite(losses).all()
        assert losses[-1] < (0.98 if name == "book" else 0.9) * losses[0]
        assert np.isfinite(np.frombuffer(bits(trainer), trainer.net.parameters.dtype)).all()

    def test_a_new_trainer_each_time(self):
        assert load("book")[0].net.layers[0] is not load("book")[0].net.layers[0]


FILE = """
from __future__ import annotations
from dataclasses import dataclass
import numpy as np, xpnet as xn
from neighbour import OUTPUTS

calls = []
not_a_function = 3

@dataclass
class Options:
    rate: float = 0.1

def model():
    import other_neighbour
    calls.append(1)
    assert len(calls) == 1
    trainer = xn.Trainer(
        xn.Sequential(xn.Affine(OUTPUTS)), loss=xn.MeanSquaredError(), optimizer=xn.SGD(Options().rate), device="cpu"
    )
    return trainer, np.ones((4, 3), "float32"), np.zeros((4, OUTPUTS), "float32")

def net_only():
    return model()[0].net

def pair():
    return model()[:2]

def triple():
    return 1, 2, 3
"""


USES = """
import xpnet as xn
from sizes import N, Own

class Mine(Own):
    def doubled(self):
        return 2 * N

def model():
    trainer = xn.Trainer(xn.Sequential(Mine(N)), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device="cpu")
    return trainer, None, None
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "neighbour.py").write_text("OUTPUTS = 2\n")
    (tmp_path / "other_neighbour.py").write_text("")
    path = tmp_path / "some models.py"
    path.write_text(FILE)
    before = sys.path.copy(), set(sys.modules)
    yield path
    assert (sys.path, set(sys.modules)) == before


class TestLoad:
    def test_from_a_file(self, file, monkeypatch):
        trainer, x, y = load(f"{file}:model")
        assert isinstance(trainer, xn.Trainer)
        assert x.shape == (4, 3)
        assert y.shape == (4, 2)
        monkeypatch.chdir(file.parent)
        assert load("some models.py:model")[1].shape == (4, 3)

    def test_the_function_is_called_once(self, file):
        assert load(f"{file}:model")[0].optimizer.learning_rate == 0.1

    def test_a_file_that_was_edited(self, file):
        load(f"{file}:model")
        file.write_text(FILE.replace("(4, 3)", "(5, 3)"))
        assert load(f"{file}:model")[1].shape == (5, 3)
        assert not list(file.parent.glob(f"__pycache__/{file.stem}*"))

    def test_each_file_gets_the_neighbours_of_its_own(self, tmp_path):
        """Modules, packages and folders without ``__init__.py``; one file's module is another's folder."""
        modules = set(sys.modules)
        for n, neighbour in enumerate(("sizes.py", "sizes/__init__.py", "sizes/more/number.py", "sizes.py"), 2):
            file = tmp_path / str(n) / neighbour
            file.parent.mkdir(parents=True)
            file.write_text(f"import xpnet as xn\nN = {n}\nclass Own(xn.Affine):\n    pass\n")
            module = "sizes.more.number" if "more" in neighbour else "sizes"
            (tmp_path / str(n) / "mine.py").write_text(USES.replace("sizes", module))
        trainers = [load(f"{tmp_path / str(n)}/mine.py:model")[0] for n in (2, 3, 4, 5, 2)]
        assert [trainer.net.layers[0].n_out for trainer in trainers] == [2, 3, 4, 5, 2]
        assert set(sys.modules) == modules
        x, y = classes_data(6)
        copied = copy.deepcopy(trainers[2])
        copied.fit(x, y)
        assert copied.net.layers[0].doubled() == 8
        assert xn.parity((copied, x, y), steps=1)

    def test_a_function_or_what_it_returns(self):
        found = MODELS["book"]()
        assert load(found) is found
        assert load(lambda: found) is found

    @pytest.mark.parametrize(
        ("name", "error", "said"),
        [
            ("boook", ValueError, "no model is called 'boook': say book, mlp, wide, "),
            ("", ValueError, "no model is called ''"),
            ("{file}", ValueError, "which function of the file makes the model"),
            ("{file}:", ValueError, "no model is called"),
            ("nowhere.py:model", FileNotFoundError, "there is no file"),
            (
                "{file}:modell",
                ValueError,
                "models.py has no function modell; it has Options, model, net_only, pair, triple",
            ),
            ("{file}:not_a_function", ValueError, "has no function not_a_function"),
            ("{file}:net_only", TypeError, "models.py:net_only gives Sequential; a model is a tuple (trainer, x, y)"),
            ("{file}:pair", TypeError, "gives a tuple of Trainer, ndarray; a model is"),
            ("{file}:triple", TypeError, "gives a tuple of int, int, int; a model is"),
        ],
    )
    def test_mistakes(self, file, name, error, said):
        with pytest.raises(error) as raised:
            load(name.replace("{file}", str(file)))
        assert said in str(raised.value)
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize("model", [None, 3, [1, 2, 3], (1, 2, 3), lambda: None])
    def test_what_is_no_model(self, model):
        with pytest.raises(TypeError, match=r"a model is a tuple \(trainer, x, y\)"):
            load(model)

    def test_what_the_file_raises_is_not_hidden(self, tmp_path):
        path = tmp_path / "broken.py"
        path.write_text("import no_such_module")
        with pytest.raises(ModuleNotFoundError, match="no_such_module"):
            load(f"{path}:model")


class TestSearching:
    def make(self, folder, name):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")

    def test_installed_packages_stay(self, tmp_path, monkeypatch):
        """A virtual environment below the script's folder, and a package that was imported before."""
        self.make(tmp_path, "env/site-packages/searched_installed/part.py")
        self.make(tmp_path, "env/searched_neighbour.py")
        self.make(tmp_path, "searched_before/__init__.py")
        self.make(tmp_path, "searched_before/later.py")
        monkeypatch.setattr(sys, "path", [str(tmp_path / "env/site-packages"), str(tmp_path), *sys.path])
        with monkeypatch.context() as patch:
            patch.setattr(sys, "modules", dict(sys.modules))
            import searched_before

            before = set(sys.modules)
            with searching(tmp_path):
                import env.searched_neighbour
                import searched_before.later
                import searched_installed.part

                assert env.searched_neighbour
                assert searched_installed.part
            new = set(sys.modules) - before
            assert new == {"searched_before.later", "searched_installed", "searched_installed.part"}
            assert sys.modules["searched_before"] is searched_before

    def test_the_path_is_what_it_was_whatever_happens(self, tmp_path):
        before = sys.path[:]

        def change():
            sys.path.remove(str(tmp_path.resolve()))
            sys.path.append("elsewhere")
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError), searching(Path(tmp_path)):
            change()
        assert sys.path == before
