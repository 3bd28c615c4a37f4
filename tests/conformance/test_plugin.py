"""The kit as a pytest plugin and as a command, run on a third-party backend that was found by its entry point."""

import re

import pytest

from nnx import testing
from nnx.ops import spec

pytestmark = pytest.mark.slow

PYTEST = ("-m", "pytest", "-p", "nnx.testing")
SUMMARY = (
    rf"nnx conformance: backend toy: 2 operations fused, {len(spec.OPERATIONS) - 2} composed, (\d+) declined calls"
)


@pytest.fixture
def toy(run_python, toy_site):
    """Run Python where the toy backend is installed."""

    def run(*args, path=()):
        return run_python(*args, path=(toy_site, *path))

    return run


def test_the_toy_plugin_imports_nothing_of_nnx(toy):
    done = toy("-c", "import nnx_toy, sys; assert not any(m == 'nnx' or m.startswith('nnx.') for m in sys.modules)")
    assert done.returncode == 0, done.stderr


def test_it_runs_in_any_directory_without_a_test_file(toy):
    done = toy(*PYTEST, "--nnx-backend=toy", "-v", "-k", "not float64")
    assert done.returncode == 0, done.stdout
    names = [check.name for check in testing.checks()]
    double = sum("float64" in name for name in names)
    assert f"{len(names) - double} passed, {double} deselected" in done.stdout
    assert "nnx.testing::affine[float32-odd-sizes] PASSED" in done.stdout
    declined = int(re.search(SUMMARY, done.stdout)[1])
    assert declined > 0
    assert f"  declined {declined} times: activation" in done.stdout
    assert "slowest: " in done.stdout


def test_explicit_paths_are_collected_beside_it(toy, tmp_path):
    file = tmp_path / "test_own.py"
    file.write_text("def test_own(): pass\n")
    done = toy(*PYTEST, "--nnx-backend=toy", "-v", "-k", "test_own or (relu and float32 and activation)", str(file))
    assert done.returncode == 0, done.stdout
    assert "test_own.py::test_own PASSED" in done.stdout
    assert "nnx.testing::activation[float32-relu-odd-sizes] PASSED" in done.stdout
    assert "float64" not in done.stdout


def test_without_a_backend_it_does_nothing(toy, tmp_path):
    file = tmp_path / "test_own.py"
    file.write_text("def test_own(): pass\n")
    done = toy(*PYTEST, str(file))
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
    assert "conformance" not in done.stdout


def test_an_unknown_backend_is_a_usage_error(toy):
    done = toy(*PYTEST, "--nnx-backend=toi")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: unknown backend 'toi'. Did you mean 'toy'?" in done.stderr


def test_a_wrong_backend_fails_with_what_is_wrong(toy, wrong_site):
    done = toy(*PYTEST, "--nnx-backend=wrong", "-k", "relu", path=(wrong_site,))
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "FAILED nnx.testing::activation[float64-relu-odd-sizes]" in done.stdout
    assert "activation[float64-relu-odd-sizes], all buffers given: result: largest error" in done.stdout
    assert "Traceback" not in done.stdout
    assert "FAILED nnx.testing::activation[float32-relu-odd-sizes]" not in done.stdout


def test_an_error_is_shown_from_the_backends_first_frame_on_under_the_checks_name(toy, wrong_site):
    done = toy(*PYTEST, "--nnx-backend=wrong", "-k", "softmax and float32-odd-sizes and not loss", path=(wrong_site,))
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    _, shown = re.split(r"^_+ softmax\[float32-odd-sizes\] _+$", done.stdout, maxsplit=1, flags=re.MULTILINE)
    error, traceback, where, raising, *_ = shown.strip().splitlines()
    assert error == "RuntimeError: not done yet"
    assert traceback == "Traceback (most recent call last):"
    assert re.fullmatch(r'  File ".*nnx_wrong.py", line \d+, in softmax', where)
    assert raising.strip() == "raise RuntimeError('not done yet')"
    assert "_pytest" not in done.stdout
    assert "FAILED nnx.testing::softmax[float32-odd-sizes] - RuntimeError: not done yet" in done.stdout


@pytest.mark.long
def test_the_command(toy, wrong_site):
    done = toy("-m", "nnx.testing", "toy")
    assert done.returncode == 0, done.stdout
    assert re.search(SUMMARY, done.stdout)
    assert f"{len(list(testing.checks()))} checks passed, 0 failed" in done.stdout
    done = toy("-m", "nnx.testing", "wrong", path=(wrong_site,))
    assert done.returncode == 1
    assert "FAILED activation[float64-relu-odd-sizes]" in done.stdout


def test_the_command_refuses_an_unknown_backend(toy):
    done = toy("-m", "nnx.testing", "toi")
    assert done.returncode == 2
    assert "unknown backend 'toi'. Did you mean 'toy'?" in done.stderr


def test_the_command_prints_the_tolerances(toy):
    done = toy("-m", "nnx.testing", "--tolerances")
    assert done.stdout == testing.tolerances()


def test_the_kit_needs_no_pytest(toy):
    done = toy("-c", "import nnx.testing, sys; assert 'pytest' not in sys.modules")
    assert done.returncode == 0, done.stderr
