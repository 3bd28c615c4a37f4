"""Whether CUDA can be used through CuPy here, and if not, why not and what to do."""

import importlib.util
import os
import warnings
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from ._device import version

_DRIVERS = {12: 525, 13: 580}
"""The CUDA versions that there are extras for, and the first driver of each."""
_WHEELS = ("cupy-cuda11x", *(f"cupy-cuda{major}x" for major in _DRIVERS), "cupy")


def why_not() -> str | None:
    """Return one sentence on why CUDA cannot be used, or None. It never raises or warns.

    CuPy is imported only where it is installed.
    """
    if not _is_installed():
        choices = " or ".join(f"{_extra(major)} (driver {driver} or later)" for major, driver in _DRIVERS.items())
        return f"CuPy is not installed; {choices}"
    wheels = [wheel for wheel in _WHEELS if _has(wheel)]
    if len(wheels) > 1:
        return (
            f"{' and '.join(wheels)} are installed together and overwrite each other's files; "
            f"pip uninstall {' '.join(wheels)}, then {_either()}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import cupy
        except Exception as error:
            return f"CuPy is installed but cannot be imported: {_original(error)}; {_repair(wheels)}"
        try:
            return _of_cuda(cupy.cuda.runtime) or _of_libraries(cupy.cuda.runtime)
        except Exception as error:
            return f"CUDA does not start: {_original(error)}; see what nvidia-smi says"


def _of_cuda(runtime: Any) -> str | None:
    """Return what is wrong with the driver or the devices, or None."""
    built, driver = runtime.runtimeGetVersion(), runtime.driverGetVersion()  # need no device; 0: there is no driver
    if driver == 0:
        return (
            "no NVIDIA driver was found; install one from https://www.nvidia.com/drivers "
            "(a container sees the host's with --gpus all)"
        )
    try:
        devices = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        if error.status == 35:  # cudaErrorInsufficientDriver
            return _old_driver(driver, built)
        if error.status != 100:  # cudaErrorNoDevice
            raise
        devices = 0
    if devices:
        return None
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return f"no GPU is visible; unset CUDA_VISIBLE_DEVICES, which is {visible!r}, or name one there"
    return "there is an NVIDIA driver, but no GPU; see what nvidia-smi lists"


def _old_driver(driver: int, built: int) -> str:
    major, needed = driver // 1000, built // 1000
    reason = f"the NVIDIA driver is made for CUDA {version(driver)}, but CuPy for CUDA {version(built)}"
    if major in _DRIVERS and major < needed:
        return f"{reason}; pip uninstall cupy-cuda{needed}x, then {_extra(major)}, or update the driver"
    first = _DRIVERS.get(needed)
    return f"{reason}; update the driver{f' to {first} or later' if first and major < needed else ''}"


def _of_libraries(runtime: Any) -> str | None:
    """Return what is wrong with the libraries that kernels and products need beside CuPy, or None."""
    built = runtime.runtimeGetVersion()
    try:
        from cupy_backends.cuda.libs import nvrtc

        nvrtc.getVersion()
    except Exception as error:
        return f"NVRTC, CUDA's compiler, is missing: {_original(error)}; {_extra(built // 1000)}"
    if reason := _old_device(runtime, min(nvrtc.getSupportedArchs()), built // 1000):
        return reason
    try:
        from ._cublaslt import library, mismatch

        return mismatch(library(), built)
    except Exception as error:
        return f"cuBLASLt is missing: {_original(error)}; {_extra(built // 1000)}"


def _old_device(runtime: Any, oldest: int, built: int) -> str | None:
    """Return a sentence if CUDA's compiler has dropped the GPU's architecture, else None."""
    major, minor = (runtime.deviceGetAttribute(attribute, runtime.getDevice()) for attribute in (75, 76))
    if 10 * major + minor >= oldest:
        return None
    cure = f"pip uninstall cupy-cuda{built}x, then {_extra(12)}" if built > 12 else "use another GPU"
    needed = f"{oldest // 10}.{oldest % 10}"
    return f"the GPU is of compute capability {major}.{minor}, but CUDA {built} starts at {needed}; {cure}"


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec("cupy") is not None
    except (ImportError, ValueError):
        return False


def _has(wheel: str) -> bool:
    try:
        distribution(wheel)
    except PackageNotFoundError:
        return False
    return True


def _original(error: BaseException) -> str:
    """Return the error on one line. CuPy wraps the first error in a banner; this is the first one."""
    error = error.__cause__ or error
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip(' .:;')}" if lines else type(error).__name__


def _extra(major: int) -> str:
    return f"pip install 'nnx-array[cuda{major}]'"


def _either() -> str:
    return " or ".join(_extra(major) for major in _DRIVERS)


def _repair(wheels: list[str]) -> str:
    """Return the commands that install a broken CuPy anew."""
    fitting = [_extra(major) for major in _DRIVERS if f"cupy-cuda{major}x" in wheels]
    return " ".join([*(f"pip uninstall {wheel}, then" for wheel in wheels), *(fitting or [_either()])])
