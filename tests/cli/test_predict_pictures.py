"""``xpnet predict MODEL digit.png``: pictures as cameras, scanners and drawing programs write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_helpers import synthetic
from dataset_helpers import write as write_idx
from predict_helpers import error_of, predicted, run

import xpnet as xn
from xpnet.datasets.photographs import read_colour, read_grey

pytestmark = pytest.mark.extras
Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def nets(tmp_path_factory) -> Path:
    """``digits``, well trained; ``mnist``, on 20 pictures of noise; ``table``, no net of pictures."""
    folder = tmp_path_factory.mktemp("nets")
    options = ("--device", "cpu", "--epochs", "20", "--save")
    assert run("train", "digits", *options, folder / "digits") == 0
    assert run("train", "mnist", "--data", write_idx(folder / "mnist_files", synthetic()), *options, folder / "mnist") == 0
    np.savez(folder / "rows.npz", x=np.random.default_rng(0).random((40, 784)), y=np.arange(40) % 2)
    assert run("train", folder / "rows.npz", *options, folder / "rows") == 0
    return folder


@pytest.fixture(scope="module")
def digits() -> xn.datasets.Dataset:
    return xn.datasets.digits()


def drawn() -> np.ndarray:
    """A one, black on white, as bytes (90, 60)."""
    page = np.full((90, 60), 255, np.uint8)
    page[20:70, 26:34] = 0
    return page


def test_a_drawn_digit_is_read_and_it_is_said_how(capsys, nets, tmp_path):
    Image.fromarray(drawn()).save(tmp_path / "one.png")
    assert run("predict", nets / "digits", tmp_path / "one.png", "--device", "cpu") == 0
    (row,), said = predicted(capsys)
    assert (row["file"], row["prediction"]) == (str(tmp_path / "one.png"), "1")
    assert said == f"{tmp_path}/one.png: read as the UCI digits: inverted, ink 8x50 of 60x90 scaled to 32 pixels' height\n"
    assert run("predict", nets / "mnist", tmp_path / "one.png", "--device", "cpu") == 0
    assert "one.png: read as MNIST: inverted, ink 8x50 of 60x90 scaled to 20 pixels\n" in predicted(capsys)[1]


def test_pictures_of_the_data_set_give_the_predictions_of_its_rows(capsys, nets, digits, tmp_path):
    np.save(tmp_path / "rows.npy", digits.x_test[:50])
    for i, row in enumerate(digits.x_test[:50]):
        Image.fromarray(np.round(row.reshape(8, 8) * 255).astype(np.uint8)).save(tmp_path / f"{i:02d}.png")
    assert run("predict", nets / "digits", tmp_path / "rows.npy", "--device", "cpu") == 0
    (tmp_path / "rows.npy").unlink()
    rows, _ = predicted(capsys)
    for options in ((), ("--as-is",), ("--batch-size", "7")):
        assert run("predict", nets / "digits", tmp_path, "--device", "cpu", *options) == 0
        found, said = predicted(capsys)
        assert [row["prediction"] for row in found] == [row["prediction"] for row in rows]
        assert said.count("taken as it is") == 20
        assert said.endswith("... and 30 more\n")


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "bmp", "gif", "webp", "tif"])
def test_every_kind_of_file(capsys, nets, tmp_path, suffix):
    Image.fromarray(drawn()).save(tmp_path / f"one.{suffix}")
    assert run("predict", nets / "digits", tmp_path / f"one.{suffix}", "--device", "cpu") == 0
    assert predicted(capsys)[0][0]["prediction"] == "1"


class TestReading:
    """Grey levels from 0 to 1, whatever they are stored as."""

    def grey(self, folder: Path, image, name: str = "a.png", **options) -> np.ndarray:
        image.save(folder / name, **options)
        return read_grey(folder / name)

    def test_depths_and_palettes(self, tmp_path):
        page, image = drawn() / 255, Image.fromarray(drawn())
        for mode in ("L", "1", "P", "RGB", "LA", "RGBA"):
            found = self.grey(tmp_path, image.convert(mode))
            np.testing.assert_allclose(found, page, atol=1e-6, err_msg=mode)
            assert found.dtype == np.float32
        deep = Image.fromarray(drawn().astype(np.uint16) * 257)
        np.testing.assert_allclose(self.grey(tmp_path, deep), page, atol=1e-6)
        np.testing.assert_allclose(read_colour(tmp_path / "a.png")[..., 1], page, atol=1e-6)

    def test_transparency_is_paper(self, tmp_path):
        alpha = Image.fromarray(255 - drawn())
        for level, expected in ((0, drawn() / 255), (255, 1 - drawn() / 255)):  # black ink on white, white ink on black
            ink = Image.merge("LA", (Image.new("L", alpha.size, level), alpha)).convert("RGBA")
            np.testing.assert_allclose(self.grey(tmp_path, ink), expected, atol=1e-6)
        grey = Image.new("P", (4, 4), 1)
        grey.putpalette([255, 255, 255, 0, 0, 0])
        grey.putpixel((0, 0), 0)
        np.testing.assert_allclose(self.grey(tmp_path, grey, transparency=0), np.pad([[1.0]], ((0, 3), (0, 3))), atol=1e-6)

    def test_a_turned_camera(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned clockwise
        found = self.grey(tmp_path, Image.fromarray(np.rot90(drawn())), "a.png", exif=exif)
        np.testing.assert_allclose(found, drawn() / 255, atol=1e-6)

    def test_floats_are_refused(self, tmp_path):
        Image.fromarray(drawn().astype(np.float32)).save(tmp_path / "a.tif")
        with pytest.raises(ValueError, match=r"a\.tif has grey levels of F, whose range is not known"):
            read_grey(tmp_path / "a.tif")

    def test_too_many_pixels(self, tmp_path, monkeypatch):
        Image.fromarray(drawn()).save(tmp_path / "a.png")
        for most in (5000, 1000):  # a warning of Pillow's, and an error
            monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
            with pytest.raises(ValueError, match=rf"a\.png has more than {most:,} pixels: make it smaller"):
                read_grey(tmp_path / "a.png")

    def test_a_program_in_the_clothes_of_a_picture(self, tmp_path):
        """PostScript would be run by Ghostscript."""
        (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
        with pytest.raises(ValueError, match=r"a\.png cannot be read as an image"):
            read_grey(tmp_path / "a.png")


def test_what_cannot_be_read(capsys, nets, tmp_path):
    Image.fromarray(np.full((50, 50), 240, np.uint8)).save(tmp_path / "blank.png")
    Image.fromarray(drawn()).save(tmp_path / "one.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "one.png").read_bytes()[:80])
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty").mkdir()
    for name, net, said, *options in (
        ("blank.png", "digits", "blank.png: there is nothing drawn on it: the page is blank"),
        ("cut.png", "digits", "cut.png is damaged"),
        ("text.jpg", "digits", "text.jpg cannot be read as an image"),
        ("none.png", "digits", "none.png"),
        ("empty", "digits", "empty has no images"),
        ("one.png", "digits", "one.png has 60x90 pixels, the UCI digits has 8x8: leave out --as-is", "--as-is"),
        ("one.png", "rows", "one.png is a picture, the model was not trained on images"),
        ("one.png", "digits", "--header: this is for CSV files", "--header", "no"),
    ):
        assert run("predict", nets / net, tmp_path / name, "--device", "cpu", *options) == 1, name
        assert said in error_of(capsys)


def test_several_pictures_and_folders_but_one_file_of_rows(capsys, nets, tmp_path):
    (tmp_path / "more").mkdir()
    for name in ("a.png", "more/b.png", "more/c.png"):
        Image.fromarray(drawn()).save(tmp_path / name)
    (tmp_path / "more" / "notes.txt").write_text("hello")
    out = tmp_path / "out.npy"
    assert run("predict", nets / "digits", tmp_path / "a.png", tmp_path / "more", "--out", out, "--device", "cpu") == 0
    assert np.load(out).shape == (3, 10)
    assert "other files ignored: 1" in capsys.readouterr().err
    assert run("predict", nets / "digits", tmp_path / "a.png", tmp_path / "b.csv") == 1
    assert "several at once may be pictures only" in error_of(capsys)
    assert run("predict", nets / "digits", tmp_path / "a.png", "--out", tmp_path / "a.png") == 1
    assert "is the input" in error_of(capsys)


def test_a_net_of_a_folder_takes_single_pictures(capsys, tmp_path):
    for kind, level in (("light", 200), ("dark", 20)):
        (tmp_path / "train" / kind).mkdir(parents=True)
        for i in range(8):
            Image.fromarray(np.full((6, 5), level + i, np.uint8)).save(tmp_path / "train" / kind / f"{i}.png")
    options = ("--device", "cpu", "--epochs", "20", "--save", tmp_path / "net")
    assert run("train", tmp_path / "train", *options) == 0
    capsys.readouterr()
    assert run("predict", tmp_path / "net", tmp_path / "train" / "light" / "3.png", "--device", "cpu") == 0
    assert predicted(capsys)[0][0]["prediction"] == "light"
    Image.fromarray(drawn()).save(tmp_path / "one.png")
    assert run("predict", tmp_path / "net", tmp_path / "one.png", "--device", "cpu") == 1
    assert "one.png has 60x90 pixels, the model was trained on 5x6" in error_of(capsys)
    assert run("predict", tmp_path / "net", tmp_path / "one.png", "--as-is") == 1
    assert "--as-is: a net of a folder of images takes pictures as in training" in error_of(capsys)


@pytest.mark.slow
@pytest.mark.usefixtures("mnist")
def test_real_digits_as_pictures(capsys, tmp_path):
    """1,000 test images as PNG: as they are, black on white, ten times as large, on a large page."""
    data, rng = xn.datasets.mnist(), np.random.default_rng(0)
    assert run("train", "mnist", "--epochs", "2", "--device", "cpu", "--save", tmp_path / "net") == 0
    np.save(tmp_path / "rows.npy", data.x_test[:1000])
    images = np.round(data.x_test[:1000].reshape(-1, 28, 28) * 255).astype(np.uint8)

    def on_a_page(image: np.ndarray) -> np.ndarray:
        page = np.full((300, 300), 255, np.uint8)
        top, left = rng.integers(0, 300 - 84, 2)
        page[top : top + 84, left : left + 84] = 255 - np.kron(image, np.ones((3, 3), np.uint8))
        return page

    forms = {
        "plain": (lambda a: a, 0.99),
        "inverted": (lambda a: 255 - a, 0.99),
        "enlarged": (lambda a: np.asarray(Image.fromarray(a).resize((280, 280), 3)), 0.97),
        "page": (on_a_page, 0.97),
    }
    capsys.readouterr()
    assert run("predict", tmp_path / "net", tmp_path / "rows.npy", "--device", "cpu") == 0
    expected = [row["prediction"] for row in predicted(capsys)[0]]
    for name, (form, least) in forms.items():
        (tmp_path / name).mkdir()
        for i, image in enumerate(images):
            Image.fromarray(form(image)).save(tmp_path / name / f"{i:04d}.png")
        assert run("predict", tmp_path / "net", tmp_path / name, "--device", "cpu") == 0
        found = [row["prediction"] for row in predicted(capsys)[0]]
        assert np.mean(np.array(found) == np.array(expected)) >= least, name


def test_what_cannot_be_read_is_left_out_of_several(capsys, nets, tmp_path):
    page = np.full((60, 50), 250, np.uint8)
    page[15:45, 22:28] = 20
    for name in ("a", "c"):
        Image.fromarray(page).save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_bytes(b"\x89PNG nothing")
    assert run("predict", nets / "digits", tmp_path, "--device", "cpu") == 1
    found, error = capsys.readouterr()
    assert [line.split(",")[0] for line in found.splitlines()[1:]] == [str(tmp_path / "a.png"), str(tmp_path / "c.png")]
    assert f"left out: {tmp_path / 'b.png'}" in error
    for name in ("a", "c"):
        (tmp_path / f"{name}.png").write_bytes(b"")
    assert run("predict", nets / "digits", tmp_path, "--device", "cpu") == 1
    assert "none of 3 pictures can be read" in capsys.readouterr().err


def test_bytes_for_a_network_of_0_to_1_are_pointed_out(capsys, nets, tmp_path):
    np.save(tmp_path / "bytes.npy", np.full((3, 64), 255, np.uint8))
    assert run("predict", nets / "digits", tmp_path / "bytes.npy", "--device", "cpu") == 0
    assert "values reach from 255 to 255, the network was trained on 0 to 1: divide bytes by 255" in capsys.readouterr().err
    np.save(tmp_path / "images.npy", np.zeros((3, 8, 8, 1)))  # as they are natural, of one channel
    assert run("predict", nets / "digits", tmp_path / "images.npy", "--device", "cpu") == 0
    assert capsys.readouterr().err == ""
