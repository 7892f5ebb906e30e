"""CIFAR-10's binary version: the archive and its unpacked form, downloaded too; damage, and the version in pickle."""

from __future__ import annotations

import importlib
import io
import tarfile
import tracemalloc

import numpy as np
import pytest
from download_helpers import serving

from xpnet.datasets import cifar10

module = importlib.import_module("xpnet.datasets.cifar10")  # the package's attribute of that name is the function
ARCHIVE, FILES = module.ARCHIVE, module.FILES


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XPNET_CACHE", str(folder))
    monkeypatch.delenv("XPNET_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    return folder


@pytest.fixture
def batches():
    """Six files of 4 records: a label, then the red, the green and the blue plane."""
    rng = np.random.default_rng(0)
    records = {name: rng.integers(0, 256, (4, 3073), np.uint8) for name in FILES}
    for record in records.values():
        record[:, 0] = rng.integers(0, 10, 4)
    return records


def archive(batches, prefix="cifar-10-batches-bin/"):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, data in {**batches, "readme.html": b"<html>"}.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(bytes(data))
            tar.addfile(member, io.BytesIO(bytes(data)))
    return packed.getvalue()


def unpack(folder, batches):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in batches.items():
        (folder / name).write_bytes(bytes(data))


def check(data, batches):
    """Every pixel is where the format says it is."""
    train = np.concatenate([batches[name] for name in FILES[:-1]])
    for x, y, records in ((data.x_train, data.y_train, train), (data.x_test, data.y_test, batches[FILES[-1]])):
        assert (x.dtype, y.dtype) == (np.float32, np.int64)
        assert x.flags.c_contiguous
        np.testing.assert_array_equal(y, records[:, 0])
        images = np.round(x.reshape(-1, 32, 32, 3) * 255)
        for row, column, channel in ((0, 0, 0), (0, 31, 1), (31, 0, 2), (7, 20, 1)):
            np.testing.assert_array_equal(images[:, row, column, channel], records[:, 1 + 1024 * channel + 32 * row + column])


@pytest.mark.parametrize("flatten", [True, False], ids=["flat", "images"])
def test_the_archive_is_read_as_it_is(tmp_path, batches, flatten):
    (tmp_path / ARCHIVE).write_bytes(archive(batches))
    data = cifar10(tmp_path, flatten=flatten)
    check(data, batches)
    shape = "3072" if flatten else "32, 32, 3"
    assert repr(data) == f"Dataset('cifar-10': 20 + 4 rows of ({shape}), 10 classes)"
    assert data.classes[3] == "cat"
    assert sorted(path.name for path in tmp_path.iterdir()) == [ARCHIVE]  # nothing is unpacked to disk


@pytest.mark.parametrize("subfolder", ["", "cifar-10-batches-bin"], ids=["in the folder", "in a subfolder"])
@pytest.mark.parametrize("by", ["argument", "environment", "cache"])
def test_unpacked_files(tmp_path, cache, batches, subfolder, by, monkeypatch):
    folder = cache if by == "cache" else tmp_path
    unpack(folder / subfolder, batches)
    if by == "environment":
        monkeypatch.setenv("XPNET_DATA", str(folder))
    check(cifar10(folder if by == "argument" else None), batches)


@pytest.mark.extras
def test_download(cache, batches, monkeypatch):
    pytest.importorskip("pooch")
    with serving() as server:
        server.content[ARCHIVE] = archive(batches)
        monkeypatch.setattr(module, "CIFAR10", server.remote("CIFAR-10", "cifar-10-batches-bin"))
        check(cifar10(download=True), batches)
        check(cifar10(), batches)
        assert server.requests == [(ARCHIVE, None)]
    assert (cache / "cifar-10-batches-bin" / ARCHIVE).is_file()


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError) as refused:
        cifar10(tmp_path)
    assert str(refused.value).startswith(
        f"CIFAR-10: {tmp_path} has no {ARCHIVE} and no cifar-10-batches-bin with its files. Pass download=True "
        f"(--download), or put {ARCHIVE} into {tmp_path}/cifar-10-batches-bin, or name"
    )


def test_one_of_the_files_is_missing(tmp_path, batches):
    del batches["data_batch_3.bin"]
    unpack(tmp_path / "cifar-10-batches-bin", batches)
    with pytest.raises(FileNotFoundError, match=r"cifar-10-batches-bin has no data_batch_3\.bin"):
        cifar10(tmp_path)


def test_the_archive_mends_an_unpacking_that_broke_off(tmp_path, batches):
    unpack(tmp_path / "cifar-10-batches-bin", {"data_batch_1.bin": b""})
    (tmp_path / ARCHIVE).write_bytes(archive(batches))
    check(cifar10(tmp_path), batches)


@pytest.mark.parametrize("name", ["cifar-10-batches-py", "cifar-10-python.tar.gz", "data_batch_1"])
def test_the_version_in_pickle_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(FileNotFoundError) as refused:
        cifar10(tmp_path)
    text = str(refused.value)
    assert f"{tmp_path} has {name}, the version in pickle, which is not read because unpickling runs what a file says" in text
    assert f"put {ARCHIVE} into {tmp_path}" in text


DAMAGED = {
    "not an archive": (lambda batches: b"<!DOCTYPE html>", "cannot be unpacked .*damaged or no such archive; delete it"),
    "empty": (lambda batches: b"", "cannot be unpacked"),
    "cut off": (lambda batches: archive(batches)[:-20_000], "cannot be unpacked"),
    "cut off in the header": (lambda batches: archive(batches)[:5], "cannot be unpacked"),
    "another archive": (lambda batches: archive({}), r"has no data_batch_1\.bin: it is not cifar-10-binary\.tar\.gz of https"),
    "a file of another size": (
        lambda batches: archive(batches | {"data_batch_2.bin": bytes(3072)}),
        r": data_batch_2\.bin has 3,072 bytes, not a multiple of 3073",
    ),
    "an empty file": (lambda batches: archive(batches | {"test_batch.bin": b""}), r"test_batch\.bin has 0 bytes"),
    "a label too large": (
        lambda batches: archive(batches | {"test_batch.bin": bytes([10]) + bytes(3072)}),
        r"test_batch\.bin has the label 10, of 10 classes: it is damaged",
    ),
}


def packed(*members):
    """An archive of (name, type of member, content, name that a link points to)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar:
        for name, kind, data, target in members:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(data), target
            tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


FIRST = "cifar-10-batches-bin/data_batch_1.bin"
ODD = {
    "link to nothing": (packed((FIRST, tarfile.SYMTYPE, b"", "nothing")), r"has no data_batch_1\.bin"),
    "link to itself": (packed((FIRST, tarfile.LNKTYPE, b"", FIRST)), r"has no data_batch_1\.bin"),
    "link out of it": (packed((FIRST, tarfile.SYMTYPE, b"", "/etc/passwd")), r"has no data_batch_1\.bin"),
    "a folder": (packed((FIRST, tarfile.DIRTYPE, b"", "")), r"has no data_batch_1\.bin"),
    "twice": (packed(*[(FIRST, tarfile.REGTYPE, bytes(3073), "")] * 2), r"data_batch_1\.bin is there twice: it is not cifar"),
    "too large": (
        packed((FIRST, tarfile.REGTYPE, bytes(30_730_001), "")),
        r"data_batch_1\.bin has 30,730,001 bytes, more than 30,730,000: it is not cifar",
    ),
}


@pytest.mark.parametrize(("content", "message"), ODD.values(), ids=ODD)
def test_odd_members(tmp_path, content, message):
    (tmp_path / ARCHIVE).write_bytes(content)
    with pytest.raises(ValueError, match=f"{ARCHIVE}:? {message}"):
        cifar10(tmp_path)


def test_paths_in_the_archive_lead_nowhere(tmp_path, batches):
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / ARCHIVE).write_bytes(archive(batches, prefix="../../"))
    check(cifar10(folder), batches)
    assert [path.name for path in tmp_path.rglob("*")] == ["inner", ARCHIVE]


def test_one_copy_of_the_images_is_made(tmp_path):
    """Beyond what is returned (12 bytes for each of a file) there are the files, 1, and little else."""
    size = 3073 * 1000
    unpack(tmp_path, dict.fromkeys(FILES, bytes(size)))
    tracemalloc.start()
    data = cifar10(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < data.x_train.nbytes + data.x_test.nbytes + 6 * size + 2_000_000


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_archives(tmp_path, batches, content, message):
    (tmp_path / ARCHIVE).write_bytes(content(batches))
    with pytest.raises(ValueError, match=f"(?s){ARCHIVE}.*{message}") as refused:
        cifar10(tmp_path)
    assert "\n" not in str(refused.value)
