"""Build the wheel and the source distribution, look into both, and run the wheel where a user would.

    python .ci/wheel.py                     build, check the contents, run on the newest dependencies
    python .ci/wheel.py --oldest            as well on the oldest ones that pyproject.toml allows
    python .ci/wheel.py --dist dist         keep the two files there

The Python that runs this needs the extra `dev`; the wheel gets an environment of its own, away from the checkout.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("plot", "sklearn", "tune", "onnx", "tensorboard")
IN_WHEEL = {"nnx", "nnx_numpy", "nnx_numba", "nnx_cupy", "nnx_kernels"}
IMPORTS = """
import matplotlib, onnx, optuna, sklearn, tensorboardX
import nnx, nnx.sklearn, nnx.tune
nnx.sklearn.MLPClassifier(max_iter=2).fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--oldest", action="store_true", help="also on the oldest dependencies that are allowed")
    parser.add_argument("--dist", type=Path, help="folder for the two files; without it they are thrown away")
    arguments = parser.parse_args()
    # Neither the checkout, nor what a machine sets for its own OpenBLAS, is there for a user.
    for name in ("PYTHONPATH", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "NNX_BACKEND"):
        os.environ.pop(name, None)
    os.environ["PYTHONUTF8"] = "1"  # what the commands print is read as UTF-8, on Windows too
    sys.stdout.reconfigure(errors="replace")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name).resolve()
        dist = work / "dist"
        run(sys.executable, "-m", "build", "--outdir", dist, ROOT, cwd=work)
        (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
        run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist, cwd=work)
        look_into(wheel, sdist)
        use(wheel, work / "newest", ())
        if arguments.oldest:
            use(wheel, work / "oldest", ("-c", oldest(work)))
        if arguments.dist:
            arguments.dist.mkdir(parents=True, exist_ok=True)
            for file in (wheel, sdist):
                shutil.copy(file, arguments.dist)
    print("the wheel and the source distribution are right")


def look_into(wheel: Path, sdist: Path) -> None:
    """Compare what the files hold with what git tracks: nothing is missing, nothing is there by chance."""
    tracked = set(
        subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    )
    with tarfile.open(sdist) as archive:
        held = {member.name.split("/", 1)[1] for member in archive.getmembers() if member.isfile()}
    same("source distribution", held - {"PKG-INFO"}, tracked)

    package = re.compile(rf"^(?:(?:backends|kernels)/)?((?:{'|'.join(IN_WHEEL)})/.*)")
    sources = {found[1] for found in map(package.match, tracked) if found}
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    sources |= set(build["targets"]["wheel"]["force-include"].values())
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    same("wheel", {file for file in held if ".dist-info/" not in file}, sources)


def same(what: str, got: set[str], expected: set[str]) -> None:
    if got != expected:
        sys.exit(f"{what}: missing {sorted(expected - got)}, too much {sorted(got - expected)}")
    print(f"{what}: {len(got)} files, as git has them", flush=True)


def oldest(work: Path) -> Path:
    """Write the oldest release of every direct dependency that pyproject.toml allows; what those need is the newest."""
    file = work / "oldest.txt"
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    run(
        *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-annotate", "--no-header"),
        *("--python", sys.executable, "--resolution", "lowest-direct", *extras, "-o", file, ROOT / "pyproject.toml"),
        cwd=work,
    )
    return file


def use(wheel: Path, folder: Path, options: tuple[str | Path, ...]) -> None:
    """Install the wheel into a fresh environment, and run what it brings."""
    print(f"== {folder.name} dependencies, Python {sys.version.split()[0]}", flush=True)
    run(sys.executable, "-m", "venv", folder)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    run(python, "-m", "pip", "install", "-q", *options, f"nnx-array[{','.join(EXTRAS)}] @ {wheel.as_uri()}", cwd=folder)
    run(python, "-m", "pip", "check", cwd=folder)
    nnx = python.with_name("nnx")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    if f"nnx {version}" not in run(nnx, "--version", cwd=folder, show=False):
        sys.exit(f"nnx --version does not say {version}")
    run(python, "-c", IMPORTS, cwd=folder)
    run(nnx, "docs", "tables", cwd=folder, show=False)
    run(nnx, "doctor", cwd=folder)
    shown = run(nnx, "train", cwd=folder)
    accuracy = re.search(r"^test accuracy (\S+)", shown, re.MULTILINE)
    if not accuracy or float(accuracy[1]) < 0.96:
        sys.exit("nnx train: a test accuracy of 0.96 was expected")
    for command in (("tune", "lr=log:1e-3..1e-1", "--trials", "2", "--rounds", "1", "--epochs", "1"),):
        run(nnx, *command, cwd=folder)
    run(nnx, "export", "runs/digits", "digits.onnx", cwd=folder)
    for backend in ("numpy", "numba"):
        run(python, "-m", "nnx.testing", backend, cwd=folder)


def run(*command: str | Path, cwd: Path | None = None, show: bool = True) -> str:
    """Run a command to its end and return what it printed; leave with its state if it fails."""
    if show:
        print("$", *command, flush=True)
    done = subprocess.run(
        command, cwd=cwd, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    )
    if show or done.returncode:
        print(done.stdout, end="", flush=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


if __name__ == "__main__":
    main()
