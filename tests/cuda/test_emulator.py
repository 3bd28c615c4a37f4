"""The emulator of CUDA kernels notices what it is there to notice, in small kernels."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulator import Module, compiler
from orders import ORDERS


def launch(code: str, args: tuple[Any, ...], grid: tuple[int, ...] = (1,), block: int = 64, **options: Any) -> None:
    """The kernel `k` of that code."""
    Module(code).get_function("k")(grid, (block,), args, **options)


def wrong_or_refused(code: str, block: int = 64) -> bool:
    """Whether reversing numbers through shared memory fails under some order of the warps."""
    kernel, results = Module(code).get_function("k"), []
    for order in ORDERS:
        y = np.zeros(block)
        try:
            kernel((1,), (block,), (np.arange(block, dtype=float), y), order=order)
        except RuntimeError:
            return True
        results.append((y == np.arange(block)[::-1]).all())
    return not all(results)


REVERSE = """
extern "C" __global__ void k(const double *x, double *y) {
  __shared__ double tile[64];
  tile[threadIdx.x] = x[threadIdx.x];
  BARRIER
  y[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}
"""


def test_a_barrier() -> None:
    assert not wrong_or_refused(REVERSE.replace("BARRIER", "__syncthreads();"))


def test_a_missing_barrier() -> None:
    assert wrong_or_refused(REVERSE.replace("BARRIER", ""))


def test_a_barrier_of_a_warp_is_none_of_the_block() -> None:
    assert wrong_or_refused(REVERSE.replace("BARRIER", "__syncwarp();"))
    assert not wrong_or_refused(REVERSE.replace("BARRIER", "__syncwarp();"), block=32)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "statement",
    ["if (threadIdx.x < 40) __syncthreads();", "if (threadIdx.x == 5) return;\n  __syncthreads();"],
    ids=["divergent", "after an exit"],
)
def test_a_divergent_barrier(statement: str, order: int) -> None:
    """Where it is, and who waits there."""
    y = np.zeros(64)
    with pytest.raises(RuntimeError, match=r"k: divergent barrier in block \(0,0,0\):.* waits at line \d+.* exited"):
        launch(REVERSE.replace("BARRIER", statement), (y, y), order=order)
    launch(REVERSE.replace("BARRIER", "__syncthreads();"), (y, y), order=order)  # it works again


LANE = np.arange(32)
SHUFFLES = {
    "__shfl_xor_sync(0xffffffffu, double(threadIdx.x), 1)": LANE ^ 1,
    "__shfl_sync(0xffffffffu, double(threadIdx.x), 3)": np.full(32, 3),
    "__shfl_sync(0xffffffffu, double(threadIdx.x), 3, 8)": LANE // 8 * 8 + 3,
    "__shfl_down_sync(0xffffffffu, double(threadIdx.x), 4)": np.where(LANE + 4 < 32, LANE + 4, LANE),
    "__shfl_up_sync(0xffffffffu, double(threadIdx.x), 4)": np.where(LANE >= 4, LANE - 4, LANE),
    "threadIdx.x < 8 ? __shfl_sync(0xffu, double(threadIdx.x), 7) : 0": np.where(LANE < 8, 7, 0),
    "__ballot_sync(0xffffffffu, threadIdx.x < 3)": np.full(32, 7),
    "__any_sync(0xffffffffu, threadIdx.x == 3)": np.ones(32),
    "__all_sync(0xffffffffu, threadIdx.x == 3)": np.zeros(32),
}
OUTSIDE = (
    "threadIdx.x < 8 ? __shfl_sync(0xffu, 1.0, 8) : 0",
    "threadIdx.x < 8 ? __shfl_xor_sync(0xffu, 1.0, 8) : 0",
    "threadIdx.x < 8 ? __shfl_down_sync(0xffu, 1.0, 1) : 0",
    "threadIdx.x >= 8 ? __shfl_up_sync(0xffffff00u, 1.0, 1) : 0",
)
WAITING = {
    "threadIdx.x < 8 ? __shfl_sync(0xffffffffu, 1.0, 0) : 0": 32,  # for lanes that do not come
    "__shfl_sync(0xffffffffu, 1.0, 0)": 40,  # that do not exist
    "__shfl_sync(0xfffffffeu, 1.0, 1)": 32,  # in a lane that is not in its own mask
}
"""With the threads of a block."""


def shuffle(call: str, order: int, block: int = 32) -> Any:
    """Each thread's result."""
    calls = [*SHUFFLES, *OUTSIDE, *WAITING]
    code = "\n".join(
        f'extern "C" __global__ void k{i}(double *y) {{ y[threadIdx.x] = {c}; }}' for i, c in enumerate(calls)
    )
    y = np.zeros(block)
    Module(code).get_function(f"k{calls.index(call)}")((1,), (block,), (y,), order=order)
    return y


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("call", SHUFFLES)
def test_shuffles(call: str, order: int) -> None:
    np.testing.assert_array_equal(shuffle(call, order), SHUFFLES[call])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("call", OUTSIDE)
def test_a_shuffle_from_a_lane_that_takes_no_part(call: str, order: int) -> None:
    with pytest.raises(
        RuntimeError, match=r"k\d+: shuffle from a lane outside its mask in block \(0,0,0\): .* line \d"
    ):
        shuffle(call, order)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("call", WAITING)
def test_a_shuffle_that_waits_for_ever(call: str, order: int) -> None:
    with pytest.raises(RuntimeError, match=r"k\d+: divergent barrier in block"):
        shuffle(call, order, WAITING[call])


SIGNATURE = """
extern "C" __global__ void k(const float *x, double *y, long long n, int m, float f, unsigned char *b, const void *v) {}
"""
ARGUMENTS = (
    *(np.zeros(1, np.float32), np.zeros(1), np.int64(1), np.int32(1), np.float32(1), np.zeros(1, np.uint8)),
    np.zeros(1),
)


@pytest.mark.parametrize("position", range(6))
@pytest.mark.parametrize("value", [np.zeros(1, np.float16), 1, 1.0, np.int16(1), np.array(1, np.int32), True])
def test_an_argument_of_a_wrong_dtype(position: int, value: Any) -> None:
    if position == 2 and type(value) is int:
        pytest.skip("a Python int is an int64")
    args = [*ARGUMENTS]
    args[position] = value
    with pytest.raises(TypeError, match=rf"k: argument {position} is \*?\w\d, not \*?\w\d"):
        launch(SIGNATURE, tuple(args))


def test_arguments_that_fit() -> None:
    launch(SIGNATURE, ARGUMENTS)
    launch(SIGNATURE, (None, None, np.int64(1), np.int32(1), np.float32(1), None, None))
    with pytest.raises(TypeError, match="k: argument 3 is None, not i4"):
        launch(SIGNATURE, (*ARGUMENTS[:3], None, *ARGUMENTS[4:]))
    with pytest.raises(TypeError, match="k takes 7 arguments, got 6"):
        launch(SIGNATURE, ARGUMENTS[:6])


UNINITIALISED = """
extern "C" __global__ void k(double *y) {
  DECLARATION
  if (threadIdx.x == 0) memory[1] = 1;
  __syncthreads();
  y[blockIdx.x * 2 + threadIdx.x] = memory[threadIdx.x];
}
"""


@pytest.mark.parametrize("declaration", ["__shared__ double memory[2];", "DYN_SHARED(double, memory);"])
def test_uninitialised_shared_memory(declaration: str) -> None:
    """NaN in every block, from the first block of the first launch of a thread on, and whatever the last block left."""

    def run() -> None:
        y = np.zeros(6)
        launch(UNINITIALISED.replace("DECLARATION", declaration), (y,), grid=(3,), block=2, shared_mem=16)
        results.append(y)

    results: list[Any] = []
    run()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    for y in results:
        np.testing.assert_array_equal(y, [np.nan, 1, np.nan, 1, np.nan, 1])


@pytest.mark.parametrize("access", ["memory[at] = 1", "y[0] = memory[at]"])
@pytest.mark.parametrize(("at", "status"), [(7, 0), (8, -signal.SIGSEGV)])
def test_an_access_behind_the_dynamic_shared_memory_ends_the_process(access: str, at: int, status: int) -> None:
    code = f"""
import numpy as np
from emulator import Module
code = 'extern "C" __global__ void k(int *y, int at) {{ DYN_SHARED(int, memory); {access}; }}'
Module(code).get_function("k")((1,), (1,), (np.zeros(1, np.int32), np.int32({at})), shared_mem=32)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=False)
    assert done.returncode == status


def test_the_limits_of_a_launch() -> None:
    code = 'extern "C" __global__ void BOUNDS k() {}'
    plain = code.replace("BOUNDS", "")
    launch(plain, (), block=1024)
    for block in (0, 1025):
        with pytest.raises(RuntimeError, match="k: invalid block size"):
            launch(plain, (), block=block)
    bounded = "constexpr int BLOCK = 256;\n" + code.replace("BOUNDS", "__launch_bounds__(BLOCK, 2)")
    launch(bounded, (), block=256)
    with pytest.raises(RuntimeError, match="k: more threads than __launch_bounds__"):
        launch(bounded, (), block=257)
    with pytest.raises(RuntimeError, match="k: __launch_bounds__ of more than 1024 threads"):
        launch(bounded.replace("256", "1025"), (), block=256)
    launch(plain, (), grid=(1, 1, 2), shared_mem=48 << 10)
    with pytest.raises(RuntimeError, match="k: more than 48 KiB of dynamic shared memory"):
        launch(plain, (), shared_mem=(48 << 10) + 1)
    for grid in ((1, 65536), (1, 1, 65536), (0,), (1 << 31,)):
        with pytest.raises(RuntimeError, match="k: invalid grid size"):
            launch(plain, (), grid=grid)


def test_maxima_are_cudas() -> None:
    """NaN is left out, as by fmax; std::max depends on the order."""
    code = """extern "C" __global__ void k(double *y) {
      double nan = y[0];
      y[0] = max(nan, 1.0); y[1] = max(1.0, nan); y[2] = min(nan, 1.0); y[3] = min(1.0, nan);
      y[4] = max(2, 3); y[5] = min(2u, 3u);
    }"""
    y = np.full(6, np.nan)
    launch(code, (y,), block=1)
    np.testing.assert_array_equal(y, [1, 1, 1, 1, 3, 2])


def test_threads_of_the_host_take_turns() -> None:
    code = REVERSE.replace("BARRIER", "__syncthreads();")
    failed: list[bool] = []

    def run(seed: int) -> None:
        x = np.random.default_rng(seed).normal(size=64)
        for order in range(100):
            y = np.zeros(64)
            launch(code, (x, y), order=order)
            failed.append(bool((y != x[::-1]).any()))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failed) == 400
    assert not any(failed)


# The libraries --------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An own folder for temporary files, and the libraries' in it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / f"nnx_emulator_{os.getuid()}"


EMPTY = 'extern "C" __global__ void k() {}'


@pytest.mark.slow
def test_a_library_is_compiled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Module(EMPTY)
    assert cache.stat().st_mode & 0o777 == 0o700
    assert len(list(cache.glob("*.so"))) == 1
    monkeypatch.setattr("subprocess.run", None)
    Module(EMPTY)


@pytest.mark.slow
def test_modules_at_once(cache: Path) -> None:
    modules: list[Module] = []
    threads = [threading.Thread(target=lambda: modules.append(Module(EMPTY))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(modules) == 4
    assert len(list(cache.glob("*.so"))) == 1


@pytest.mark.parametrize("trick", ["others may write", "a link", "another's"])
def test_a_folder_that_others_could_fill_is_not_used(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trick: str
) -> None:
    if trick == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        cache.symlink_to(tmp_path / "elsewhere")
    else:
        cache.mkdir(mode=0o700)
    if trick == "others may write":
        cache.chmod(0o777)
    if trick == "another's":
        other = os.getuid() + 1
        cache.rename(cache.with_name(f"nnx_emulator_{other}"))
        monkeypatch.setattr("os.getuid", lambda: other)
    with pytest.raises(RuntimeError, match="is not this user's alone: remove it, or set TMPDIR"):
        Module(EMPTY)


@pytest.mark.slow
def test_what_does_not_compile_says_why_and_leaves_nothing(cache: Path) -> None:
    with pytest.raises(RuntimeError, match=r"kernels\.cu:1:.*oops"):
        Module(EMPTY.replace("{}", "{ oops; }"))
    assert {path.name.split("-")[0] for path in cache.iterdir()} <= {"emulator", "lock"}


# Sanitizers -----------------------------------------------------------------------------------------------------------

SHAPES = ("shapes", "elementwise", "losses", "reduce", "precision", "pictures")
SOME = (
    "(as_the_numpy_backend or products_of_16 or take_of_bytes or softmax or norms or every_number or two_inputs "
    "or test_convolution or test_pooling or packed_filters) "
    "and not float64 and not conformance and not entropy"
)
"""Each kernel of a kind once: not the kit again, and not the same kernels of another dtype."""
FLAGS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")


def sanitized(code: str) -> "subprocess.CompletedProcess[str]":
    """A Python program under the address sanitizer, whose library must be there before all others."""
    found = compiler()
    assert found is not None
    library = subprocess.run([found, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    if not os.path.isabs(path := library.stdout.strip()):
        pytest.skip("the compiler has no address sanitizer")
    here = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); FLAGS = {FLAGS!r}\n"
    environment = {**os.environ, "LD_PRELOAD": path, "ASAN_OPTIONS": "detect_leaks=0", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", here + code], capture_output=True, text=True, check=False, env=environment
    )


@pytest.mark.sanitizers
@pytest.mark.parametrize(
    ("statement", "report"),
    [
        ("y[threadIdx.x + 1] = 1;", "heap-buffer-overflow"),
        ("__shared__ int a[4]; a[threadIdx.x + 1] = 1; y[0] = a[0];", "index 4 out of bounds"),
        ("DYN_SHARED(int, a); a[threadIdx.x + 1] = 1;", "heap-buffer-overflow"),
        ("y[0] = *(const int *)((const char *)y + 1);", "misaligned address"),
        ("y[0] += 2147483647; y[0] += 1;", "signed integer overflow"),
        ("y[threadIdx.x] = 1;", None),
    ],
)
def test_sanitizers_notice(statement: str, report: str | None) -> None:
    done = sanitized(f"""
import numpy as np
from emulator import Module
code = 'extern "C" __global__ void k(int *y) {{ {statement} }}'
Module(code, flags=FLAGS).get_function("k")((1,), (4,), (np.zeros(4, np.int32),), shared_mem=16)
""")
    if report is None:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode != 0
        assert report in done.stderr


@pytest.mark.sanitizers
def test_all_kernels_under_the_sanitizers() -> None:
    done = sanitized("""
from emulator import EmulatedBackend
from nnx import testing
report = testing.run(EmulatedBackend(0, FLAGS))
print(report)
sys.exit(not report.ok)
""")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fused" in done.stdout


@pytest.mark.sanitizers
def test_all_shapes_under_the_sanitizers() -> None:
    """The tests of single kernels once more: odd sizes, one row, one column, 100,000 columns, wherever arrays start."""
    done = sanitized(f"""
import os, pytest
os.environ["NNX_EMULATOR_FLAGS"] = " ".join(FLAGS)
files = [os.path.join({str(Path(__file__).parent)!r}, f"test_{{name}}.py") for name in {SHAPES!r}]
sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-k", {SOME!r}, *files]))
""")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
