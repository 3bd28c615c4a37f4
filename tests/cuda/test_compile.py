"""Every CUDA kernel, compiled by NVRTC for every architecture: what can be told of its speed without a GPU."""

import re
import uuid
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
from nnx_cupy._device import OPTIONS, REAL, CudaDevice
from nnx_kernels.cuda import files, source

from nnx.layers import RUNNING_AVERAGE
from nnx.optimizers import OPTIMIZERS
from nnx.testing._cases.formulas import ACTIVATIONS, ELEMENTWISE

pytestmark = pytest.mark.long

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
OF_CUPY = ("-ftz=true", "--device-as-default-execution-space")
"""What CuPy adds to the options of a module."""
REGISTERS = {"float32": 64, "float64": 128}
"""Of a thread at most: the registers of a multiprocessor, 65,536, then hold four blocks of 256 threads, or two where a
number takes two. Memory-bound kernels need some 24 KB on their way to each multiprocessor (4.8 TB/s over the H200's 132
times 0.7 us of latency): two blocks whose threads load three packs of 16 bytes each."""
VECTOR = {"float32": r"\.v4\.(f32|b32|u32)|\.b128", "float64": r"\.v2\.(f64|b64|u64)|\.b128"}
"""16 bytes at once, in PTX."""


@cache
def nvrtc() -> Any:
    """CuPy's bindings, which need no device; skips where they, or the library, are missing."""
    try:
        from cupy_backends.cuda.libs import nvrtc

        nvrtc.getVersion()
    except Exception as error:
        pytest.skip(f"no NVRTC: {type(error).__name__}: {str(error).splitlines()[0]}")
    return nvrtc


def sources() -> dict[str, tuple[str, Any]]:
    """By a name: a file, and a formula where it is a template: every one that is built in."""
    templates = {
        "activation.cu": [layer.formula for layer in ACTIVATIONS],
        "activation_backward.cu": [layer.formula_backward for layer in ACTIVATIONS],
        "loss.cu": [loss.formula for loss in ELEMENTWISE],
        "optimizer.cu": [RUNNING_AVERAGE, *(kind.formula() for kind in OPTIMIZERS.values())],
    }
    plain = {file: (file, None) for file in files() if file not in templates}
    return plain | {f"{file}, {f.name}": (file, f) for file, formulas in templates.items() for f in formulas}


SOURCES = sources()


def compiled(name: str, dtype: str, arch: str) -> tuple[str, str]:
    """PTX (of compute_...; nothing of sm_...), and the log with each kernel's resources."""
    library = nvrtc()
    program = library.createProgram(source(*SOURCES[name]), SOURCES[name][0], (), ())
    try:
        library.compileProgram(program, (f"-arch={arch}", *OPTIONS, f"-DREAL={REAL[dtype]}", *OF_CUPY, "-Xptxas=-v"))
    except library.NVRTCError:
        pytest.fail(library.getProgramLog(program), pytrace=False)
    else:
        ptx = library.getPTX(program) if arch.startswith("compute") else b""
        return (ptx.decode() if isinstance(ptx, bytes) else ptx), library.getProgramLog(program)
    finally:
        library.destroyProgram(program)


def kernels(name: str) -> list[str]:
    return re.findall(
        r"extern \"C\" __global__ void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\(", source(*SOURCES[name])
    )


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("file", SOURCES)
def test_no_warnings_no_spills_and_few_registers(file: str, dtype: str, arch: int) -> None:
    if arch not in nvrtc().getSupportedArchs():
        pytest.skip(f"this NVRTC does not compile for sm_{arch}")
    _, log = compiled(file, dtype, f"sm_{arch}")
    assert "warning" not in log
    resources = re.findall(
        r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
        r".*?Used (\d+) registers",
        log,
        re.DOTALL,
    )
    assert sorted(name for name, *_ in resources) == sorted(kernels(file)), log
    for name, _, stores, loads, registers in resources:
        assert int(stores) == int(loads) == 0, f"{name} spills"
        assert int(registers) <= REGISTERS[dtype], name


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("file", [name for name in SOURCES if name.startswith(("activation", "optimizer"))])
def test_loads_and_stores_of_16_bytes(file: str, dtype: str) -> None:
    ptx, _ = compiled(file, dtype, "compute_90")
    found = {text.split("(")[0].strip(): text for text in ptx.split(".entry ")[1:]}
    assert sorted(found) == sorted(kernels(file))
    by_element = {name for name in found if name.endswith("_sums") or name.startswith("add_bias_")}  # down columns
    for name in found.keys() - by_element:
        for access in ("ld", "st"):
            assert re.search(rf"{access}\.global[.\w:]*({VECTOR[dtype]})", found[name]), f"{name} has no such {access}"


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("file", SOURCES)
def test_no_atomics_of_floats(file: str, dtype: str) -> None:
    """Their order, and so the last bits of the sum, would be another in every run."""
    ptx, _ = compiled(file, dtype, "compute_90")
    atomics = re.findall(r"\b(?:atom|red)\.(?!sync)[\w.:]+", ptx)
    assert all(re.search(r"\.[bsu](32|64)$", instruction) for instruction in atomics), atomics
    assert bool(atomics) == (file == "reduce.cu")  # which counts


@pytest.mark.parametrize("dtype", REAL)
def test_the_launcher_compiles_the_same(dtype: str) -> None:
    modules = []
    device = object.__new__(CudaDevice)
    device.xp = SimpleNamespace(RawModule=lambda **given: modules.append(given))
    device._modules = {}
    device._module("bias.cu", dtype)
    assert modules == [{"code": source("bias.cu"), "options": (*OPTIONS, f"-DREAL={REAL[dtype]}")}]


def test_cupy_adds_these_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen where its code calls the compiler. It would ask a device for the architecture."""
    library, compiler = nvrtc(), pytest.importorskip("cupy.cuda.compiler")
    compile_program = library.compileProgram

    class Seen(Exception):
        pass

    def intercepted(program: int, options: tuple[str, ...]) -> Any:
        if f"-DREAL={REAL['float32']}" in options and OF_CUPY[1] in options:
            raise Seen(*options)
        return compile_program(program, options)

    monkeypatch.setattr(library, "compileProgram", intercepted)
    monkeypatch.setattr(compiler, "_get_arch_for_options_for_nvrtc", lambda arch: (f"-arch=sm_{arch}", "cubin"))
    text = f"{source('bias.cu')}// {uuid.uuid4()}: not in the cache on disk"
    with pytest.raises(Seen) as seen:
        compiler._compile_module_with_cache(text, (*OPTIONS, "-DREAL=float"), arch="90")
    wanted = {*OPTIONS, *OF_CUPY, "-DREAL=float", "-arch=sm_90"}
    assert wanted <= {*seen.value.args} <= {*wanted, "--pch"}
