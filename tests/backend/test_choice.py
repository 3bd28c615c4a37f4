"""Which backend is used, and what is said where one cannot be."""

import asyncio
import logging
import threading

import pytest
from plugins import Entry

import nnx
from nnx.backend import _choice as registry


class Good:
    name = "good"
    xp = None

    @classmethod
    def unavailable(cls):
        return None

    def to_device(self, host, /):
        return host

    def to_host(self, array, /):
        return array

    def matmul(self, a, b, /, *, out=None):
        return a @ b

    def synchronize(self):
        pass

    def device_info(self):
        return {}


class Other(Good):
    name = "other"


class Unusable(Good):
    @classmethod
    def unavailable(cls):
        return "its device is not there; plug it in"


class Rude(Good):
    @classmethod
    def unavailable(cls):
        raise RuntimeError("boom")


class BreaksWhenMade(Good):
    def __init__(self):
        raise OSError("no memory")


class Half(Good):
    synchronize = property()  # to hasattr it is not there


class Nameless:
    to_device, to_host, matmul = Good.to_device, Good.to_host, Good.matmul
    synchronize, device_info, unavailable = Good.synchronize, Good.device_info, Good.unavailable


@pytest.fixture(autouse=True)
def install(install_only):
    return install_only


def test_precedence(install, monkeypatch):
    install(*(Entry(name, type(name, (Good,), {"name": name})) for name in ("numpy", "a", "b", "c", "d")))
    assert nnx.get_backend().name == "numpy"
    monkeypatch.setenv("NNX_BACKEND", "a")
    assert nnx.get_backend().name == "a"
    nnx.set_backend("b")
    assert nnx.get_backend().name == "b"
    with nnx.use_backend("c") as backend:
        assert nnx.get_backend() is backend
        assert backend.name == "c"
        assert nnx.get_backend("d").name == "d"
    assert nnx.get_backend().name == "b"
    nnx.set_backend(None)
    assert nnx.get_backend().name == "a"


def test_one_instance_per_process(install):
    install(Entry("numpy", Good))
    assert nnx.get_backend("numpy") is nnx.get_backend()


@pytest.mark.parametrize(
    ("value", "name"),
    [("other", "other"), (" Other ", "other"), ("bad,other,good", "other"), ("bad,auto", "numpy"), ("", "numpy")],
)
def test_environment_variable(install, monkeypatch, value, name):
    numpy = type("numpy", (Good,), {"name": "numpy"})
    install(Entry("numpy", numpy), Entry("other", Other), Entry("good", Good), Entry("bad", Unusable))
    monkeypatch.setenv("NNX_BACKEND", value)
    assert nnx.get_backend().name == name


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("othr", "unknown backend 'othr'. Did you mean 'other'. Known: auto, bad, numpy, other."),
        ("other,nmpy", "unknown backend 'nmpy'. Did you mean 'numpy'"),
        ("numpy,,other", "NNX_BACKEND: got 'numpy,,other', expected a backend's name, 'auto' or a comma-separated"),
        ("bad", "the backend 'bad' .asked for by NNX_BACKEND. cannot run here: its device is not there; plug it in. "
         "Usable here: numpy, other"),
        ("bad,bad", "no backend can run here .*bad: its device is not there"),
    ],
)  # fmt: skip
def test_environment_variable_that_cannot_be_followed(install, monkeypatch, value, message):
    install(Entry("numpy", Good), Entry("other", Other), Entry("bad", Unusable))
    monkeypatch.setenv("NNX_BACKEND", value)
    with pytest.raises(nnx.NnxError, match=message):
        nnx.get_backend()


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (
            ImportError("no module named zzz"),
            "its plugin, from some-dist 1.2, is broken: ImportError: no module named zzz",
        ),
        (Rude, "is broken: RuntimeError: boom. Reinstall or uninstall that distribution"),
        (object, r"its plugin, from some-dist 1.2, lacks to_device\(\), .*, unavailable\(\), which every backend has"),
        (Half, r"its plugin, from some-dist 1.2, lacks synchronize\(\), which every backend has .nnx.Backend."),
        (Nameless, "its plugin, from some-dist 1.2, lacks name, xp, which every backend has"),
        (BreaksWhenMade, "it failed to start: OSError: no memory"),
    ],
)
def test_a_broken_plugin_is_named_and_harms_no_other(install, target, reason):
    install(Entry("numpy", Good), Entry("broken", target))
    assert nnx.get_backend().name == "good"
    assert [s.name for s in nnx.list_backends()] == ["numpy", "broken"]
    with pytest.raises(nnx.BackendError, match=f"'broken' .*cannot run here: .*{reason}"):
        nnx.get_backend("broken")


def test_two_distributions_with_one_name(install):
    install(Entry("numpy", Good), Entry("x", Good, "one:X", "dist-a"), Entry("x", Good, "two:X", "dist-b"))
    with pytest.raises(
        nnx.BackendError, match=r"several distributions .*dist-a 1.2, dist-b 1.2.*uninstall all but one"
    ):
        nnx.get_backend("x")
    assert nnx.get_backend().name == "good"


def test_auto_logs_its_choice_once(install, caplog):
    install(Entry("cupy", Unusable), Entry("numpy", Good))
    with caplog.at_level(logging.INFO, logger="nnx"):
        for _ in range(3):
            assert registry.choose().why == "chosen automatically: the best that can run here; cupy cannot"
    (record,) = caplog.records
    assert "cupy: its device is not there" in record.getMessage()


def test_a_plugin_installed_meanwhile_is_found(install, monkeypatch):
    install(Entry("numpy", Good))
    nnx.get_backend()
    monkeypatch.setattr(registry, "entry_points", lambda group: [Entry("numpy", Good), Entry("other", Other)])
    assert nnx.get_backend("other").name == "other"


@pytest.mark.parametrize("name", [3, object(), ["numpy"]])
def test_what_is_no_backend(name):
    with pytest.raises(nnx.InputTypeError, match="expected a name or an object with the members of nnx.Backend"):
        nnx.get_backend(name)
    with pytest.raises(nnx.InputTypeError, match="expected a backend's name"):
        nnx.set_backend(name)


def test_set_backend_refuses_at_once():
    with pytest.raises(nnx.InputError, match="unknown backend 'nunpy'. Did you mean 'numpy'"):
        nnx.set_backend("nunpy")
    assert registry._default is None


def test_threads_keep_their_own(install):
    install(Entry("numpy", Good), Entry("other", Other))
    seen, entered, leave = {}, threading.Event(), threading.Event()

    def inside():
        with nnx.use_backend("other"):
            entered.set()
            leave.wait(10)
            seen["inside"] = nnx.get_backend().name

    thread = threading.Thread(target=inside)
    thread.start()
    entered.wait(10)
    seen["outside"] = nnx.get_backend().name
    leave.set()
    thread.join()
    assert seen == {"inside": "other", "outside": "good"}


def test_tasks_keep_their_own(install):
    install(Entry("numpy", Good), Entry("other", Other))

    async def task(name):
        with nnx.use_backend(name):
            await asyncio.sleep(0.01)
            return nnx.get_backend().name

    async def both():
        return await asyncio.gather(task("numpy"), task("other"))

    assert asyncio.run(both()) == ["good", "other"]


def test_a_built_model_keeps_its_backend():
    model = nnx.MLP((), 2).build(3, backend="numpy")
    with pytest.raises(nnx.NnxError):
        nnx.set_backend("cupy")
    assert model.backend.name == "numpy"


def test_the_backends_that_come_with_nnx():
    statuses = {status.name: status for status in nnx.list_backends()}
    assert list(statuses) == ["cupy", "numba", "numpy"]
    assert statuses["numpy"].usable
    assert all(status.provider.startswith("nnx-array ") for status in statuses.values())
    if not statuses["cupy"].usable:
        with pytest.raises(nnx.BackendError, match="'cupy' .asked for by backend=. cannot run here: "):
            nnx.MLP((), 2).build(3, backend="cupy")
