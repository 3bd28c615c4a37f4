"""The CuPy backend over the real CuPy, whose CUDA only writes down its calls: what no stand-in for CuPy can show.

The checks run in processes of their own (see `recording/checks.py`), all at the first test that asks for one.
"""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import recording
from nnx_kernels.cuda import files, source

pytestmark = pytest.mark.long

Facts = dict[str, Any]

PROCESSES = (
    ("kit", "misuses", "what_is_seen", "epochs", "step_from_host"),
    (
        *("trainings", "losses", "memory_under_graphs", "memory_of_trainings", "memory_of_threads"),
        *("uploads_of_an_unknown_layer", "uploads_of_a_capturable_layer", "augmentation"),
    ),
)
"""Which checks share one: some seconds each, most of them for NVRTC."""

BLOCK = 512
"""The least that CuPy's pools take from CUDA, in bytes."""


@pytest.fixture(scope="session")
def all_facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    if reason := recording.why_not():
        pytest.skip(reason)
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {
        "CUPY_CACHE_DIR": str(tmp_path_factory.mktemp("cupy")),
        "PYTHONPATH": os.pathsep.join(paths),
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "recording.checks", *names],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for names in PROCESSES
    ]
    facts: Facts = {}
    try:
        for process, names in zip(running, PROCESSES, strict=True):
            out, err = process.communicate(timeout=300)
            if process.returncode == 0:
                facts |= json.loads(out.splitlines()[-1])
            else:
                facts |= {name: {"error": f"the process ended with {process.returncode}:\n{err}"} for name in names}
    finally:
        for process in running:
            process.kill()
    return facts


@pytest.fixture
def facts_of(all_facts: Facts) -> Callable[..., Facts]:
    def of(name: str) -> Facts:
        """Of a check that came to its end."""
        facts = all_facts[name]
        assert "error" not in facts, facts["error"]
        return facts  # type: ignore[no-any-return]

    return of


# Launches -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", ["trainings", "losses", "kit"])
def test_arguments_fit_the_compiled_kernels_and_launches_are_within_the_limits(
    facts_of: Callable[..., Facts], check: str
) -> None:
    facts = facts_of(check)
    assert not facts["problems"], "\n".join(facts["problems"])
    assert facts["refused"] == {}
    assert facts["warnings"] == []
    assert facts["checked"] > 100


def test_that_was_looked_at_for_every_kernel(facts_of: Callable[..., Facts]) -> None:
    of_a_kernel = r"extern \"C\" __global__ void\s+(?:__launch_bounds__\([^)]*\)\s*)?([\w${}]+)\("
    ours = {name for file in files() for name in re.findall(of_a_kernel, source(file))}
    launched = {name for check in ("trainings", "losses", "kit") for name in facts_of(check)["kernels"]}
    assert len(ours) > 25
    named = {name: re.sub(r"\$(\{name\}|name)", r"\\w+", name) for name in ours}  # a formula's, whichever
    assert [name for name, form in named.items() if not any(re.fullmatch(form, own) for own in launched)] == []


def test_the_kit_meets_no_error_of_cuda(facts_of: Callable[..., Facts]) -> None:
    facts = facts_of("kit")
    assert facts["checks"] > 500
    assert facts["raised"] == []


def test_only_launches_are_in_a_graph(facts_of: Callable[..., Facts]) -> None:
    for name, graphs in facts_of("trainings")["graphs"].items():
        assert graphs["count"] >= 5, name  # four sizes of batches, and `fit`
        assert graphs["nodes"].keys() <= {"kernel", "product", "copy DtoD", "memset"}, name


def test_a_large_convolution_is_done_in_blocks(facts_of: Callable[..., Facts]) -> None:
    """Of 3,000 pictures one of the two takes two of them; a convolution of single pixels copies none."""
    assert facts_of("trainings")["graphs"]["pictures"]["patches"][:4] == [2 * (1 + 2), 2 * 2, 2 * 2, 2 * 2]


# Memory ---------------------------------------------------------------------------------------------------------------


def test_graphs_use_living_memory_only(facts_of: Callable[..., Facts]) -> None:
    facts = facts_of("memory_under_graphs")
    assert facts["launches"] > 100
    assert facts["private"] > 0
    assert not facts["problems"], "\n".join(facts["problems"])


def test_memory_is_flat_over_a_hundred_trainings(facts_of: Callable[..., Facts]) -> None:
    facts = facts_of("memory_of_trainings")
    assert facts["graphs"] >= 200, "one of `fit` and one of `step` in each training"
    assert facts["living"] == 0, "graphs that outlived their trainers"
    grown = facts["last"] - facts["first"]
    assert grown < 100 * BLOCK, f"every training left {grown / 100:.0f} bytes"
    assert not facts["problems"], "\n".join(facts["problems"])


def test_memory_is_flat_over_threads_that_train_at_once(facts_of: Callable[..., Facts]) -> None:
    facts = facts_of("memory_of_threads")
    assert facts["failed"] == []
    used = facts["used"]
    grown = (used[-1] - used[0]) / (len(used) - 1)
    assert grown < 1 << 20, f"every round of four threads left {grown / 2**20:.1f} MiB"


def test_threads_that_train_at_once_harm_nothing(facts_of: Callable[..., Facts]) -> None:
    facts = facts_of("memory_of_threads")
    assert facts["failed"] == []
    assert not facts["problems"], "\n".join(facts["problems"])
    assert facts["refused"] == {}
    assert facts["warnings"] == []


# Copies ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "warning"),
    [
        ("uploads_of_an_unknown_layer", r"CaptureWarning: Residual\(\)"),
        ("uploads_of_a_capturable_layer", "CaptureWarning: .* cannot become a CUDA graph"),
    ],
)
def test_an_upload_is_never_a_part_of_a_graph(facts_of: Callable[..., Facts], check: str, warning: str) -> None:
    """Every launch would repeat it, from memory of the host that by then holds something else."""
    facts = facts_of(check)
    assert not facts["problems"], "\n".join(facts["problems"])
    assert not {"copy HtoD", "copy DtoH"} & facts["recorded"].keys()
    assert "graph" not in facts["last step"], "the step is a graph, but should run launch by launch"
    assert facts["last step"]["kernel"] > 0
    assert [text for text in facts["warnings"] if re.search(warning, text)] != [], facts["warnings"]


def test_augmentation_is_a_part_of_the_graph(facts_of: Callable[..., Facts]) -> None:
    facts = facts_of("augmentation")
    assert not facts["problems"], "\n".join(facts["problems"])
    assert facts["warnings"] == []
    assert not {"copy HtoD", "copy DtoH"} & facts["recorded"].keys()
    assert facts["last step"]["graph"] == 1
    assert "kernel" not in facts["last step"]


def test_the_losses_of_an_epoch_come_in_one_copy(facts_of: Callable[..., Facts]) -> None:
    facts = facts_of("epochs")
    assert all(1 <= graphs <= 40 for graphs in facts["graphs"])  # one may be of several steps
    assert [len(sizes) for sizes in facts["copies to the host"]] == [1, 1, 1]
    assert facts["kernels of an epoch"] == [[], [], []], "launches beside the steps' graphs"
    assert not facts["problems"], "\n".join(facts["problems"])


def test_no_step_of_an_epoch_waits_for_the_device(facts_of: Callable[..., Facts]) -> None:
    """But for an event long past, before page-locked memory is written anew."""
    for waits in facts_of("epochs")["steps that wait"]:
        assert set(waits) <= {"synchronize event"}


def test_a_step_sends_all_its_numbers_in_one_copy(facts_of: Callable[..., Facts]) -> None:
    """Batch, labels and hyper-parameters, from page-locked memory: the host goes on at once."""
    facts = facts_of("step_from_host")
    assert not facts["problems"], "\n".join(facts["problems"])
    for calls in facts["steps"]:
        what = Counter(call["what"] for call in calls)
        assert what["copy HtoD"] == 1, what
        (sent,) = (call for call in calls if call["what"] == "copy HtoD")
        assert sent["size"] > facts["bytes"]
        assert sent["pinned"]
        assert not sent["waits"]


def test_a_step_is_one_launch_and_at_most_a_copy_of_its_result(facts_of: Callable[..., Facts]) -> None:
    for calls in facts_of("step_from_host")["steps"]:
        what = Counter(call["what"] for call in calls if call["what"] not in ("copy HtoD", "synchronize event"))
        assert what["graph"] == 1
        assert what["copy DtoD"] <= 1, what
        assert what.keys() <= {"graph", "copy DtoD"}, what
        assert all(call["size"] == 4 for call in calls if call["what"] == "copy DtoD")
        assert len({call["stream"] for call in calls}) == 1, "what one stream does, another does not wait for"


# The recording itself -------------------------------------------------------------------------------------------------

UNSUPPORTED, INVALIDATED, UNJOINED, ISOLATION, CAPTURED_EVENT = (
    f"refused: {status}" for status in (900, 901, 904, 905, 907)
)

MISUSES = {
    "memory_freed_under_a_graph": ["a graph is launched that uses freed memory: kernel cupy_fill"],
    "memory_given_back_under_a_graph": [
        "a graph is launched that uses memory given back to a pool: kernel cupy_fill",
    ],
    "host_memory_copied_by_a_graph": [
        "a copy HtoD of 40 bytes is recorded: every launch of the graph repeats it",
    ],
    "a_wait_while_capturing": [UNSUPPORTED, INVALIDATED],
    "a_wait_for_the_device_while_capturing": [UNSUPPORTED, INVALIDATED],
    "an_event_from_outside": [
        "a captured stream waits for an event from outside the capture",
        ISOLATION,
        INVALIDATED,
    ],
    "an_event_of_a_graph_waited_for": [CAPTURED_EVENT],
    "a_stream_left_behind": [UNJOINED],
    "a_stream_that_comes_back": [],
    "a_blocking_stream_captured": [
        "a blocking stream is captured: any work on the default stream would break it",
    ],
    "an_argument_too_large": ["misused: arguments of [8, 8] bytes, but parameters of [8, 4]"],
    "an_argument_too_small": ["misused: arguments of [8, 4] bytes, but parameters of [8, 8]"],
    "an_argument_missing": ["misused: arguments of [8] bytes, but parameters of [8, 4]"],
    "no_misuse_of_a_kernel": [],
    "a_block_too_large": ["misused: blocks of 256 threads, of 128 at most"],
    "a_grid_too_large": ["misused: a grid of (1, 65536, 1), of (2147483647, 65535, 65535) at most"],
    "too_much_shared_memory": ["misused: 40960 + 16388 bytes of shared memory, of 49152 at most"],
    "a_copy_beyond_the_memory": ["a copy HtoD of 8192 bytes where the device has no such memory: "],
}


@pytest.mark.parametrize("misuse", MISUSES)
def test_a_misuse_is_found(facts_of: Callable[..., Facts], misuse: str) -> None:
    found = [re.sub(r"0x\w+$", "", text) for text in facts_of("misuses")["found"][misuse]]
    assert found == MISUSES[misuse]


def test_every_misuse_is_looked_for(facts_of: Callable[..., Facts]) -> None:
    assert facts_of("misuses")["found"].keys() == MISUSES.keys()


def test_pinned_memory_and_streams_are_told_apart(facts_of: Callable[..., Facts]) -> None:
    facts = facts_of("what_is_seen")
    assert facts["pinned"] == [False, True]
    assert facts["on the stream"] == [False, True]


def test_quiet_mode_writes_nothing_down_but_the_host_reads_what_is_there(facts_of: Callable[..., Facts]) -> None:
    facts = facts_of("what_is_seen")
    assert facts["written down in quiet mode"] == 0
    assert facts["read in quiet mode"]


def test_it_says_why_it_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording._bindings, "_is_installed", lambda module: False)
    monkeypatch.setattr(recording._bindings.sys, "platform", "linux")
    monkeypatch.setattr(recording._bindings.platform, "machine", lambda: "x86_64")
    assert recording.why_not() == "cupy-cuda13x is not installed: pip install -e '.[dev]'"
    monkeypatch.setattr(recording._bindings.platform, "machine", lambda: "arm64")
    assert recording.why_not() == "recording CuPy's calls of CUDA is for Linux on x86-64"
