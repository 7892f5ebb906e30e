"""Downloads from a server on this machine: checksum, cache, resuming, two at a time, and every failure in one line."""

from __future__ import annotations

import dataclasses
import errno
import gzip
import hashlib
import importlib
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from dataset_helpers import idx, synthetic
from download_helpers import serving

from xpnet.datasets import download, mnist
from xpnet.extras import MissingExtra

TOY = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8).tobytes()
HALF = len(TOY) // 2
mnist_module = importlib.import_module("xpnet.datasets.mnist")  # the package's attribute of that name is the function


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XPNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("XPNET_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path / "cache"


@pytest.fixture
def server():
    pytest.importorskip("pooch")
    with serving() as running:
        running.content["toy.bin"] = TOY
        yield running


def leftovers(folder):
    """Names in the folder besides the lock's."""
    return sorted(path.name for path in Path(folder).iterdir() if path.name != ".xpnet-download.lock")


def one_line(refused):
    text = str(refused.value)
    assert "\n" not in text
    return text


@pytest.mark.extras
class TestMnist:
    @pytest.fixture
    def arrays(self, server, monkeypatch):
        """MNIST's files with other contents on the server, and their checksums in the place of the real ones."""
        arrays = synthetic()
        server.content = {f"{name}.gz": gzip.compress(idx(a)) for name, a in arrays.items()}
        monkeypatch.setattr(mnist_module, "MNIST", server.remote("MNIST", "mnist"))
        return arrays

    def test_is_downloaded_once_into_the_cache(self, server, cache, arrays):
        data = mnist(download=True)
        np.testing.assert_array_equal(data.y_train, list(arrays.values())[1])
        np.testing.assert_array_equal(np.round(data.x_test * 255).reshape(5, 28, 28), list(arrays.values())[2])
        assert leftovers(cache / "mnist") == sorted(server.content)
        assert server.requests == [(name, None) for name in server.content]
        for again in (mnist(), mnist(download=True)):
            np.testing.assert_array_equal(again.x_train, data.x_train)
        assert len(server.requests) == 4

    def test_into_a_folder_that_is_named(self, server, tmp_path, cache, arrays):
        assert len(mnist(tmp_path / "here", download=True).x_train) == 20
        assert leftovers(tmp_path / "here" / "mnist") == sorted(server.content)
        assert not cache.exists()

    def test_beside_a_set_whose_files_have_the_same_names(self, server, tmp_path, arrays):
        for name in server.content:
            (tmp_path / name).write_bytes(server.content[name])
        labels = np.array([9, 0, 0, 3, 0, 2, 7, 2, 5, 5] * 2)
        (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
        data = mnist(tmp_path, download=True)  # the folder itself holds Fashion-MNIST
        np.testing.assert_array_equal(data.y_train, list(arrays.values())[1])
        assert leftovers(tmp_path / "mnist") == sorted(server.content)

    def test_only_what_is_missing(self, server, cache, arrays):
        mnist(download=True)
        (cache / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
        assert len(mnist(download=True).y_test) == 5
        assert server.requests[4:] == [("t10k-labels-idx1-ubyte.gz", None)]


@pytest.mark.extras
class TestFetch:
    def test_a_download_that_broke_off_is_resumed(self, server, tmp_path):
        server.break_after = 123_456
        with pytest.raises(ConnectionError) as refused:
            download.fetch(server.remote(), tmp_path)
        text = one_line(refused)
        assert text.startswith(f"Toys: {server.address}toy.bin cannot be downloaded: IncompleteRead(")
        assert "(123,456 bytes are kept: the next try goes on there)" in text
        assert leftovers(tmp_path) == ["toy.bin.part"]
        server.break_after = None
        download.fetch(server.remote(), tmp_path)
        assert server.requests == [("toy.bin", None), ("toy.bin", "bytes=123456-")]
        assert (tmp_path / "toy.bin").read_bytes() == TOY
        assert leftovers(tmp_path) == ["toy.bin"]

    def test_from_the_start_where_the_server_ignores_ranges(self, server, tmp_path):
        (tmp_path / "toy.bin.part").write_bytes(TOY[:1000])
        server.ranges = False
        download.fetch(server.remote(), tmp_path)
        assert server.requests == [("toy.bin", "bytes=1000-")]
        assert (tmp_path / "toy.bin").read_bytes() == TOY

    def test_a_part_that_lacks_nothing(self, server, tmp_path):
        (tmp_path / "toy.bin.part").write_bytes(TOY)
        download.fetch(server.remote(), tmp_path)
        assert (tmp_path / "toy.bin").read_bytes() == TOY

    def test_a_wrong_checksum_deletes_the_file(self, server, tmp_path):
        server.content["toy.bin"] = b"something else"
        with pytest.raises(ValueError, match=r"Toys: http.*toy\.bin: MD5 hash .*toy\.bin.* does not match") as refused:
            download.fetch(server.remote(md5="0" * 32), tmp_path)
        text = one_line(refused)
        assert f"expected md5:{'0' * 32} but got {hashlib.md5(b'something else').hexdigest()}" in text
        assert leftovers(tmp_path) == []

    @pytest.mark.parametrize("have", [1000, len(TOY), len(TOY) + 5], ids=["shorter", "as long", "longer"])
    def test_a_part_of_another_file_is_told_by_the_checksum_and_fetched_anew(self, server, tmp_path, have):
        (tmp_path / "toy.bin.part").write_bytes(bytes(have))
        download.fetch(server.remote(), tmp_path)
        assert server.requests == [("toy.bin", f"bytes={have}-"), ("toy.bin", None)]
        assert (tmp_path / "toy.bin").read_bytes() == TOY
        assert leftovers(tmp_path) == ["toy.bin"]

    def test_what_was_resumed_and_what_is_fetched_anew_are_both_wrong(self, server, tmp_path):
        (tmp_path / "toy.bin.part").write_bytes(bytes(1000))
        with pytest.raises(ValueError, match="does not match"):
            download.fetch(server.remote(md5="0" * 32), tmp_path)
        assert len(server.requests) == 2
        assert leftovers(tmp_path) == []

    def test_a_web_page_in_its_place_leaves_what_is_there(self, server, tmp_path):
        remote = server.remote()
        (tmp_path / "toy.bin.part").write_bytes(TOY[:1000])
        server.content["toy.bin"], server.ranges, server.kind = b"<html>Log in" + bytes(2000), False, "text/html; charset=utf-8"
        with pytest.raises(ConnectionError, match=r"downloaded: a web page came in its place.*\(1,000 bytes are kept"):
            download.fetch(remote, tmp_path)
        assert (tmp_path / "toy.bin.part").read_bytes() == TOY[:1000]

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
    def test_a_full_disk(self, server, tmp_path):
        (tmp_path / "toy.bin.part").symlink_to("/dev/full")
        said = r"No space left on device; name another folder by an argument \(--data FOLDER\) or in XPNET_CACHE"
        with pytest.raises(OSError, match=said) as refused:
            download.fetch(server.remote(), tmp_path)
        assert (refused.value.errno, refused.value.filename) == (errno.ENOSPC, str(tmp_path))

    def test_a_folder_that_cannot_be_made(self, server, tmp_path):
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(NotADirectoryError, match="Not a directory; name another folder") as refused:
            download.fetch(server.remote(), tmp_path / "file" / "toys")
        assert refused.value.filename == str(tmp_path / "file" / "toys")

    def test_what_is_there_is_not_written_to(self, server, tmp_path):
        (tmp_path / "toy.bin").write_bytes(b"mine")
        download.fetch(server.remote(), tmp_path)
        assert (tmp_path / "toy.bin").read_bytes() == b"mine"
        assert server.requests == []

    def test_not_found(self, server, tmp_path):
        remote = server.remote()
        server.content.clear()
        with pytest.raises(ConnectionError) as refused:
            download.fetch(remote, tmp_path)
        assert one_line(refused) == (
            f"Toys: {server.address}toy.bin cannot be downloaded: 404 Client Error: Not Found. Try again, or put toy.bin into "
            f"{tmp_path} by hand"
        )
        assert leftovers(tmp_path) == []

    def test_nobody_answers(self, server, tmp_path):
        with serving() as gone:
            address = gone.address
        with pytest.raises(ConnectionError) as refused:
            download.fetch(dataclasses.replace(server.remote(), address=address), tmp_path)
        reason = "cannot be downloaded: Connection refused. Try again, or put toy.bin into"
        assert one_line(refused) == f"Toys: {address}toy.bin {reason} {tmp_path} by hand"

    def test_a_server_that_falls_silent(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr(download, "TIMEOUT", 0.2)
        server.go_on.clear()
        with pytest.raises(ConnectionError, match=r"toy\.bin cannot be downloaded: timed out \([\d,]+ bytes are kept"):
            download.fetch(server.remote(), tmp_path)

    def test_the_bar_knows_the_whole_size_and_what_is_there(self, server, tmp_path, capsys, monkeypatch):
        (tmp_path / "toy.bin.part").write_bytes(TOY[:HALF])
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        download.fetch(server.remote(), tmp_path)
        shown = capsys.readouterr().err
        assert "toy.bin:  50%" in shown
        assert "toy.bin: 100%" in shown
        assert "300k/300k" in shown

    def test_no_bar_where_there_is_no_terminal(self, server, tmp_path, capsys):
        download.fetch(server.remote(), tmp_path)
        assert "%" not in capsys.readouterr().err


PROGRAM = """
import sys
from pathlib import Path
from xpnet.datasets.download import Remote, fetch
address, md5, folder = sys.argv[1:]
fetch(Remote("Toys", "toys", address, {"toy.bin": md5}), Path(folder))
"""


@pytest.mark.extras
class TestProcesses:
    @pytest.fixture
    def start(self, server, tmp_path):
        """Starts a process that downloads; ends them all."""
        started = []

        def start():
            command = [sys.executable, "-c", PROGRAM, server.address, hashlib.md5(TOY).hexdigest(), str(tmp_path)]
            started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
            return started[-1]

        yield start
        for process in started:
            process.kill()
            process.wait()
            process.stderr.close()

    def wait_for(self, server, tmp_path):
        deadline = time.monotonic() + 20
        part = tmp_path / "toy.bin.part"
        while not (part.exists() and part.stat().st_size >= HALF - download.CHUNK):
            assert time.monotonic() < deadline, "the download did not begin"
            time.sleep(0.01)

    def test_two_at_once_download_once(self, server, tmp_path, start):
        server.go_on.clear()
        first = start()
        self.wait_for(server, tmp_path)
        second = start()
        while "waiting for it" not in (line := second.stderr.readline()):
            assert line, "the second process did not wait"
        server.go_on.set()
        assert (first.wait(20), second.wait(20)) == (0, 0)
        assert server.requests == [("toy.bin", None)]
        assert (tmp_path / "toy.bin").read_bytes() == TOY

    def test_two_threads_of_one_process_download_once(self, server, tmp_path):
        server.go_on.clear()
        threads = [threading.Thread(target=download.fetch, args=(server.remote(), tmp_path)) for _ in range(2)]
        for thread in threads:
            thread.start()
        self.wait_for(server, tmp_path)
        server.go_on.set()
        for thread in threads:
            thread.join(20)
        assert server.requests == [("toy.bin", None)]
        assert (tmp_path / "toy.bin").read_bytes() == TOY

    def test_a_process_that_was_killed_leaves_what_can_be_resumed(self, server, tmp_path, start):
        server.go_on.clear()
        process = start()
        self.wait_for(server, tmp_path)
        process.kill()
        process.wait()
        have = (tmp_path / "toy.bin.part").stat().st_size
        server.go_on.set()
        download.fetch(server.remote(), tmp_path)
        assert server.requests[1:] == [("toy.bin", f"bytes={have}-")]
        assert (tmp_path / "toy.bin").read_bytes() == TOY


def test_without_pooch(monkeypatch, cache):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(MissingExtra, match=r'this needs pooch, .*pip install "xpnet\[data\]"'):
        mnist(download=True)
    assert not cache.exists()


class TestCacheFolder:
    def test_the_environment_names_it(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("XPNET_CACHE", "~/kept")
        assert download.cache_folder() == tmp_path / "kept"

    @pytest.mark.extras
    @pytest.mark.parametrize("chosen", ["", "/somewhere"], ids=["home", "XDG_CACHE_HOME"])
    def test_it_is_where_pooch_would_put_it(self, monkeypatch, chosen):
        pooch = pytest.importorskip("pooch")
        monkeypatch.delenv("XPNET_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", chosen)
        assert download.cache_folder() == Path(pooch.os_cache("xpnet"))
