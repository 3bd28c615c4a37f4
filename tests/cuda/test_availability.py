"""Why CUDA cannot be used: each situation has its own sentence, with its cure."""

import subprocess
import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from nnx_cupy import _availability, _cublaslt
from nnx_cupy._availability import why_not

EITHER = "pip install 'nnx-array[cuda12]' or pip install 'nnx-array[cuda13]'"


class CUDARuntimeError(RuntimeError):
    def __init__(self, status: int) -> None:
        super().__init__(f"cudaError {status}")
        self.status = status


class Machine:
    """A fake one, on which all is well until a test changes it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.built = self.driver = 13020
        self.devices: int | Exception = 1
        self.nvrtc: tuple[int, int] | Exception = (13, 5)
        self.cublaslt: int | Exception = 130500
        self.capability = {75: 9, 76: 0}
        self.archs = [75, 80, 90, 120]
        self.wheels = ["cupy-cuda13x"]
        runtime = SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            runtimeGetVersion=lambda: self.built,
            driverGetVersion=lambda: self.driver,
            getDeviceCount=lambda: given(self.devices),
            getDevice=lambda: 0,
            deviceGetAttribute=lambda attribute, device: self.capability[attribute],
        )
        nvrtc = SimpleNamespace(getVersion=lambda: given(self.nvrtc), getSupportedArchs=lambda: self.archs)
        modules = {
            "cupy": {"cuda": SimpleNamespace(runtime=runtime)},
            "cupy_backends": {},
            "cupy_backends.cuda": {},
            "cupy_backends.cuda.libs": {"nvrtc": nvrtc},
        }
        for name, members in modules.items():
            module = ModuleType(name)
            module.__spec__ = ModuleSpec(name, None)
            vars(module).update(members)
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(_availability, "distribution", self.distribution)
        monkeypatch.setattr(_cublaslt, "library", self.library)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def distribution(self, name: str) -> object:
        if name not in self.wheels:
            raise PackageNotFoundError(name)
        return object()

    def library(self) -> Any:
        version = given(self.cublaslt)
        return SimpleNamespace(cublasLtGetVersion=lambda: version)


def given(result: Any) -> Any:
    if isinstance(result, Exception):
        raise result
    return result


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_nothing_is_wrong(machine: Machine) -> None:
    assert why_not() is None


@pytest.mark.parametrize("find_spec", [lambda name: None, lambda name: given(ValueError("cupy.__spec__ is None"))])
def test_no_cupy(monkeypatch: pytest.MonkeyPatch, find_spec: Any) -> None:
    monkeypatch.setattr("importlib.util.find_spec", find_spec)
    monkeypatch.setitem(sys.modules, "cupy", None)  # importing it would fail
    assert why_not() == (
        "CuPy is not installed; pip install 'nnx-array[cuda12]' (driver 525 or later) or "
        "pip install 'nnx-array[cuda13]' (driver 580 or later)"
    )


def test_two_wheels_even_where_they_seem_to_work(machine: Machine) -> None:
    machine.wheels = ["cupy-cuda13x", "cupy-cuda12x"]
    assert why_not() == (
        "cupy-cuda12x and cupy-cuda13x are installed together and overwrite each other's files; "
        f"pip uninstall cupy-cuda12x cupy-cuda13x, then {EITHER}"
    )


@pytest.mark.parametrize(
    ("wheels", "cure"),
    [
        (["cupy-cuda12x"], "pip uninstall cupy-cuda12x, then pip install 'nnx-array[cuda12]'"),
        (["cupy"], f"pip uninstall cupy, then {EITHER}"),
        ([], EITHER),
    ],
)
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "raise ImportError('\\n====\\nbanner\\n') from OSError('libfoo.so: no such file.')",
            "OSError: libfoo.so: no such file",
        ),
        ("raise AttributeError('numpy.core is gone\\nand more')", "AttributeError: numpy.core is gone"),
        ("raise ImportError", "ImportError"),
    ],
)
def test_a_broken_cupy(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
    wheels: list[str],
    cure: str,
    text: str,
    reason: str,
) -> None:
    machine.wheels = wheels
    monkeypatch.delitem(sys.modules, "cupy")
    (tmp_path / "cupy.py").write_text(f"import warnings\nwarnings.warn('not to be seen')\n{text}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert why_not() == f"CuPy is installed but cannot be imported: {reason}; {cure}"


def test_no_driver(machine: Machine) -> None:
    machine.driver, machine.devices = 0, CUDARuntimeError(35)
    assert why_not() == (
        "no NVIDIA driver was found; install one from https://www.nvidia.com/drivers "
        "(a container sees the host's with --gpus all)"
    )


@pytest.mark.parametrize(
    ("driver", "built", "versions", "cure"),
    [
        (12040, 13020, "12.4, but CuPy for CUDA 13.2", "pip uninstall cupy-cuda13x, then {12}, or update the driver"),
        (13000, 14000, "13.0, but CuPy for CUDA 14.0", "pip uninstall cupy-cuda14x, then {13}, or update the driver"),
        (11080, 13020, "11.8, but CuPy for CUDA 13.2", "update the driver to 580 or later"),
        (11080, 12090, "11.8, but CuPy for CUDA 12.9", "update the driver to 525 or later"),
        (13000, 13020, "13.0, but CuPy for CUDA 13.2", "update the driver"),
    ],
)
def test_an_old_driver(machine: Machine, driver: int, built: int, versions: str, cure: str) -> None:
    machine.driver, machine.built, machine.devices = driver, built, CUDARuntimeError(35)
    for major in (12, 13):
        cure = cure.replace(f"{{{major}}}", f"pip install 'nnx-array[cuda{major}]'")
    assert why_not() == f"the NVIDIA driver is made for CUDA {versions}; {cure}"


@pytest.mark.parametrize("devices", [0, CUDARuntimeError(100)])
def test_no_device(machine: Machine, monkeypatch: pytest.MonkeyPatch, devices: Any) -> None:
    machine.devices = devices
    assert why_not() == "there is an NVIDIA driver, but no GPU; see what nvidia-smi lists"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert why_not() == "no GPU is visible; unset CUDA_VISIBLE_DEVICES, which is '', or name one there"


@pytest.mark.parametrize("error", [CUDARuntimeError(999), OSError("cudaError 999")])
def test_anything_else(machine: Machine, error: Exception) -> None:
    machine.devices = error
    assert why_not() == f"CUDA does not start: {type(error).__name__}: cudaError 999; see what nvidia-smi says"


def test_no_nvrtc(machine: Machine) -> None:
    machine.nvrtc = RuntimeError('Failure finding "libnvrtc.so.13": No such file\n  listdir("somewhere")')
    assert why_not() == (
        "NVRTC, CUDA's compiler, is missing: RuntimeError: "
        "Failure finding \"libnvrtc.so.13\": No such file; pip install 'nnx-array[cuda13]'"
    )


@pytest.mark.parametrize(
    ("built", "oldest", "cure"),
    [
        (13020, 75, "CUDA 13 starts at 7.5; pip uninstall cupy-cuda13x, then pip install 'nnx-array[cuda12]'"),
        (12090, 70, "CUDA 12 starts at 7.0; use another GPU"),
    ],
)
def test_an_old_gpu(machine: Machine, built: int, oldest: int, cure: str) -> None:
    machine.capability, machine.built, machine.archs = {75: 6, 76: 1}, built, [90, oldest]
    assert why_not() == f"the GPU is of compute capability 6.1, but {cure}"


def test_no_cublaslt(machine: Machine) -> None:
    machine.built, machine.cublaslt = 12090, OSError("libcublasLt.so.12: cannot open shared object file")
    assert why_not() == (
        "cuBLASLt is missing: OSError: libcublasLt.so.12: cannot open shared object file; "
        "pip install 'nnx-array[cuda12]'"
    )


def test_the_cublaslt_of_another_cuda(machine: Machine) -> None:
    machine.cublaslt = 120906
    assert why_not() == (
        "the cuBLASLt that was found is of CUDA 12, but CuPy is built for CUDA 13; "
        "pip uninstall nvidia-cublas-cu12, then pip install 'nnx-array[cuda13]'"
    )


def test_this_machine() -> None:
    """Told apart by CuPy itself; in a fresh process, where nothing may be printed."""
    runtime = pytest.importorskip("cupy").cuda.runtime
    if runtime.driverGetVersion() != 0:
        pytest.skip("there is an NVIDIA driver")
    code = "from nnx_cupy._availability import why_not; reason = why_not(); print(reason)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], check=False, capture_output=True, text=True)
    assert done.stdout.startswith("no NVIDIA driver was found; ")
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert done.returncode == 0
