"""Puts Python in the place of CuPy's CUDA: a C extension, made from the list of functions that CuPy itself exports.

CuPy's Cython modules call the CUDA runtime and driver through two modules of their own, and find their functions by
the capsules in `__pyx_capi__`, each of which is named by its signature in C. A module looks them up once, when it is
imported. So what is put there before `import cupy` is what pools, streams, graphs and kernels' launches call.
"""

import atexit
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

Dispatch = Callable[[str, tuple[Any, ...]], Any]
"""Does what the CUDA function of this name, such as "runtime.malloc", would do with these arguments."""

ABSENT = -1
"""Passed for an optional argument that the caller left out."""

QUIET_EVENT = 1
"""The handle of every event that is made in quiet mode."""

QUIET_COPY = "quiet_copy(a0, a1, (size_t)a2, (int)a3); Py_RETURN_NONE;"
QUIET = {
    **dict.fromkeys(("runtime.memcpyAsync", "runtime.memcpy"), QUIET_COPY),
    **dict.fromkeys(
        (
            "runtime.memsetAsync",
            "runtime.graphLaunch",
            "runtime.eventRecord",
            "runtime.eventSynchronize",
            "runtime.eventDestroy",
            "runtime.streamWaitEvent",
            "runtime.streamSynchronize",
            "runtime.deviceSynchronize",
            "runtime.setDevice",
            "driver.launchKernel",
        ),
        "Py_RETURN_NONE;",
    ),
    "runtime.eventQuery": "return PyLong_FromLong(0);",
    "runtime.streamQuery": "return PyLong_FromLong(0);",
    "runtime.streamIsCapturing": "return 0;",
    "runtime.getDevice": "return 0;",
    "runtime.eventCreateWithFlags": f"return {QUIET_EVENT};",
}
"""What a step calls all the time, and what it does in quiet mode: nothing, in C. Only what the host reads is copied."""

FORMATS = {  # of Py_BuildValue
    "PyObject *": ("O", "{}"),
    "intptr_t": ("n", "(Py_ssize_t){}"),
    "size_t": ("K", "(unsigned long long){}"),
    "uintmax_t": ("K", "(unsigned long long){}"),
    "unsigned int": ("I", "{}"),
    "int": ("i", "{}"),
    "CUdevice": ("i", "{}"),
}
RETURNS = {  # how a result becomes C's, and what says that an exception was raised: as CuPy declares it
    "PyObject *": ("result", "NULL"),
    "int": ("(int)as_integer(result)", "-1"),
    "intptr_t": ("(intptr_t)as_integer(result)", "0"),
    "size_t": ("(size_t)as_integer(result)", "(size_t)-1"),
    "unsigned int": ("(unsigned int)as_integer(result)", "0"),
    "float": ("as_float(result)", "0"),
}
OTHER_ERRORS = {"driver.funcGetAttribute": "-2"}

TEMPLATE = Path(__file__).parent / "bindings.c.in"


@dataclass(frozen=True)
class Function:
    """A function that CuPy exports. arguments: their types in C, without Cython's own."""

    name: str
    signature: str
    returns: str
    arguments: tuple[str, ...]

    @classmethod
    def parsed(cls, name: str, signature: str) -> "Function | None":
        """None where an argument or the result is of a type that only CUDA's headers know: those stay CuPy's."""
        found = re.fullmatch(r"(.+?)\s*\((.*)\)", signature)
        if found is None:
            return None
        returns, inside = found[1].strip(), [argument.strip() for argument in found[2].split(",")]
        arguments = tuple("" if argument == "void" else argument for argument in inside)
        known = all(a in FORMATS or not a or "skip_dispatch" in a or "optional_args" in a for a in arguments)
        return cls(name, signature, returns, arguments) if known and returns in RETURNS else None

    @property
    def in_c(self) -> str:
        return self.name.replace(".", "_")

    def text(self) -> str:
        """The function in C."""
        parameters, letters, values = [], "", ""
        for i, argument in enumerate(self.arguments):
            if not argument:
                continue
            if "skip_dispatch" in argument:
                parameters.append(f"int skip{i}")
            elif "optional_args" in argument:
                parameters.append(f"struct optional *a{i}")
                letters += "i"
                values += f", a{i} && a{i}->given > 0 ? a{i}->value : {ABSENT}"
            else:
                parameters.append(f"{argument} a{i}")
                letter, value = FORMATS[argument]
                letters += letter
                values += ", " + value.format(f"a{i}")
        convert, error = RETURNS[self.returns]
        error = OTHER_ERRORS.get(self.name, error)
        lines = [f"static {self.returns} {self.in_c}({', '.join(parameters) or 'void'}) {{"]
        if self.name in QUIET:
            lines.append(f"    if (quiet) {{ {QUIET[self.name]} }}")
        lines += [
            f'    PyObject *result = ask("{self.name}", Py_BuildValue("({letters})"{values}));',
            f"    if (result == NULL) return {error};",
            f"    return {convert};",
            "}",
        ]
        return "\n".join([*lines, *self._quiet_in_python()])

    def _quiet_in_python(self) -> list[str]:
        """What quiet mode does for a caller in Python, to whom a number in C is of no use."""
        if self.name not in QUIET:
            return []
        body = QUIET[self.name]
        if body == QUIET_COPY:
            body = "quiet_copy(" + ", ".join(f"PyLong_AsLongLong(a[{i}])" for i in range(4)) + "); Py_RETURN_NONE;"
        elif self.returns != "PyObject *":
            body = re.sub(r"return (\d+);", r"return PyLong_FromLong(\1);", body)
        head = f"static PyObject *quiet_{self.in_c}(PyObject *self, PyObject *const *a, Py_ssize_t count)"
        return [f"{head} {{", f"    {body}", "}"]

    def entry(self) -> str:
        quiet = f"quiet_{self.in_c}" if self.name in QUIET else "NULL"
        return f'    {{"{self.name}", "{self.signature}", (void *){self.in_c}, {quiet}}},'


def why_not() -> str | None:
    """Why nothing can be recorded here, or None. Does not import CuPy."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "recording CuPy's calls of CUDA is for Linux on x86-64"
    for module, package in (("cupy_backends", "cupy-cuda13x"), ("cuda.pathfinder", "cuda-pathfinder")):
        if not _is_installed(module):
            return f"{package} is not installed: pip install -e '.[dev]'"
    for package in ("nvidia-cuda-nvrtc", "nvidia-cuda-runtime"):  # CUDA's compiler, and headers of CuPy's own kernels
        if not _has(package) and not _has(f"{package}-cu12"):
            return f"{package} is not installed: pip install -e '.[dev]'"
    if _compiler() is None:
        return "no C compiler: install gcc, or set CC"
    if not _include().joinpath("Python.h").is_file():
        return f"Python's headers are not installed: there is no Python.h in {_include()}"
    return None


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def _has(package: str) -> bool:
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _compiler() -> str | None:
    wanted = [os.environ["CC"]] if os.environ.get("CC") else ["cc", "gcc", "clang"]
    return next((found for name in wanted if (found := shutil.which(name))), None)


def _include() -> Path:
    return Path(sysconfig.get_path("include"))


def install(dispatch: Dispatch) -> ModuleType:
    """Let CuPy ask `dispatch` instead of CUDA. Returns the extension. Raises if CuPy has been imported."""
    if "cupy" in sys.modules:
        raise RuntimeError("CuPy has been imported: its modules have looked CUDA's functions up, and keep them")
    from cupy_backends.cuda.api import driver, runtime

    modules = {"runtime": runtime, "driver": driver}
    extension = _built(_text(modules))
    extension.set_dispatch(dispatch)
    atexit.register(extension.set_dispatch, None)
    for full_name, (capsule, function) in extension.functions().items():
        module, name = full_name.split(".")
        modules[module].__pyx_capi__[name] = capsule
        if hasattr(modules[module], name):
            setattr(modules[module], name, function)
    return extension


def _text(modules: dict[str, Any]) -> str:
    """The extension in C."""
    functions = []
    for module_name, module in modules.items():
        for name, capsule in module.__pyx_capi__.items():
            signature = re.search(r'"(.*)"', repr(capsule))
            function = signature and Function.parsed(f"{module_name}.{name}", signature[1])
            if function:
                functions.append(function)
    text = TEMPLATE.read_text().replace("@FUNCTIONS@", "\n\n".join(function.text() for function in functions))
    return text.replace("@ENTRIES@", "\n".join(function.entry() for function in functions))


def _built(text: str) -> ModuleType:
    """The extension of that text, compiled unless another process has done it before."""
    compiler, include = _compiler(), _include()
    if compiler is None:
        raise RuntimeError(why_not())
    key = hashlib.sha256(f"{text}\n{sys.version}\n{include}\n{compiler}".encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"nnx-recorded-cuda-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / f"{key}.so"
    if not library.exists():
        with _replacing(library) as made:
            source = made.with_suffix(".c")
            source.write_text(text)
            command = [compiler, "-O2", "-shared", "-fPIC", f"-I{include}"]
            done = subprocess.run([*command, source, "-o", made], capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{compiler} does not compile what was made for CuPy's bindings:\n{done.stderr}")
    spec = importlib.util.spec_from_file_location("recorded_cuda", library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which then becomes `path` at once: several processes may be at it."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        yield made
        made.replace(path)
