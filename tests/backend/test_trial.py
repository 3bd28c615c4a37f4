"""`auto` takes a device backend only after a small training on it has come out as on numpy, and remembers that."""

import os
import threading
import time
from pathlib import Path

import array_api_strict
import numpy as np
import pooch
import pytest
from nnx_numpy import NumpyBackend
from plugins import Entry

import nnx
from nnx.backend import _choice as registry
from nnx.backend import _trial as trial


class Device:
    """A backend whose arrays are not NumPy's, as those of a device are not."""

    name = "cupy"
    xp = array_api_strict
    driver = "580.1"

    @classmethod
    def unavailable(cls):
        return None

    def to_device(self, host, /):
        return array_api_strict.asarray(host, copy=True)

    def to_host(self, array, /):
        return np.asarray(array)

    def matmul(self, a, b, /, *, out=None):
        product = a @ b
        if out is None:
            return product
        out[...] = product
        return out

    def synchronize(self):
        pass

    def device_info(self):
        return {"device": "A Device", "driver": self.driver}


class WrongNumbers(Device):
    def matmul(self, a, b, /, *, out=None):
        return super().matmul(a, b + 0.01, out=out)


class Crashing(Device):
    def matmul(self, a, b, /, *, out=None):
        raise RuntimeError("illegal memory access")


class Mute(Device):
    def device_info(self):
        raise OSError("the driver does not answer")


class Slow(Device):
    def matmul(self, a, b, /, *, out=None):
        time.sleep(0.001)
        return super().matmul(a, b, out=out)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    return tmp_path / "nnx" / "trials"


@pytest.fixture
def auto(install_only):
    """A function that gives what auto chooses where a device backend is installed, as a new process would."""

    def choose(target, request="auto"):
        install_only(Entry("cupy", target), Entry("numpy", NumpyBackend))
        return registry.choose(request)

    return choose


@pytest.fixture
def trials(monkeypatch):
    """The names of the backends that were tried."""
    tried = []
    run = trial._try
    monkeypatch.setattr(trial, "_try", lambda backend: (tried.append(backend.name), run(backend))[1])
    return tried


@pytest.fixture
def passed(monkeypatch):
    """The names of the backends that were tried, where each passes without a training."""
    tried = []
    monkeypatch.setattr(trial, "_try", lambda backend: tried.append(backend.name))
    return tried


def test_a_good_one_is_tried_once_on_a_machine_and_taken(auto, trials, cache):
    for _ in range(3):
        assert auto(Device).backend.name == "cupy"
        assert registry.choose().why == "chosen automatically: the best that can run here"
    assert trials == ["cupy"]
    (file,) = cache.iterdir()
    assert '"driver": "580.1"' in file.read_text()


def test_another_driver_is_tried_anew(auto, passed):
    auto(Device)
    auto(type("Updated", (Device,), {"driver": "590.0"}))
    assert passed == ["cupy", "cupy"]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (WrongNumbers, r"a small training on it \(float64\) is not as on numpy: the history's loss: largest error"),
        (Crashing, "a small training on it fails: RuntimeError: illegal memory access"),
        (Mute, "it fails: OSError: the driver does not answer"),
    ],
)
def test_one_that_fails_is_passed_over_and_told_once(auto, cache, target, reason):
    with pytest.warns(nnx.BackendWarning, match=reason) as told:
        choice = auto(target)
    registry.choose()  # warnings are errors here: it says nothing
    assert choice.backend.name == "numpy"
    assert choice.why == "asked for by backend=: the best that can run here; cupy failed the trial on this machine"
    (warning,) = told
    assert str(warning.message).startswith("the automatic choice passes over the backend 'cupy': ")
    assert str(warning.message).endswith(
        ". `nnx doctor --backend cupy` tells what is wrong; backend='cupy' uses it all the same."
    )
    assert not cache.exists(), "a failure is not remembered"


def test_a_failure_is_not_tried_again_in_the_same_process(auto, trials):
    with pytest.warns(nnx.BackendWarning):
        auto(Crashing)
    registry.choose()
    assert trials == ["cupy"]


@pytest.mark.parametrize("request_", ["cupy", "cupy,numpy", "cupy,auto"])
def test_a_name_that_is_asked_for_is_taken_without_a_trial(auto, trials, request_):
    assert auto(WrongNumbers, request_).backend.name == "cupy"
    assert trials == []


def test_auto_in_a_list_tries_too(auto):
    with pytest.warns(nnx.BackendWarning):
        assert auto(Crashing, "auto,numpy").backend.name == "numpy"


def test_arrays_on_the_host_need_no_trial(auto, trials):
    class OnHost(NumpyBackend):
        name = "cupy"

    assert auto(OnHost).backend.name == "cupy"
    assert trials == []


@pytest.mark.slow
def test_threads_that_ask_at_once_share_one_trial(auto, trials):
    auto(Slow, "cupy")
    names = []
    threads = [threading.Thread(target=lambda: names.append(registry.choose("auto").backend.name)) for _ in "1234"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names == ["cupy"] * 4
    assert trials == ["cupy"]


def test_a_cache_that_cannot_be_written_only_means_that_it_is_tried_again(auto, passed, monkeypatch, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    monkeypatch.setattr(pooch, "os_cache", lambda name: blocked / name)
    for _ in range(2):
        assert auto(Device).backend.name == "cupy"
    assert passed == ["cupy", "cupy"]


def test_a_damaged_note_is_no_proof(auto, passed, cache):
    auto(Device)
    (file,) = cache.iterdir()
    file.write_bytes(b"\xff")
    auto(Device)
    assert passed == ["cupy", "cupy"]
    assert file.read_text().startswith("{"), "and is written anew"
    assert os.listdir(cache) == [file.name]
