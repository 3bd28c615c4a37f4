"""One rank of a launch: `python -m nnx.launch.rank [-m] SCRIPT [ARGUMENTS]`, as mpiexec is told to start it.

It runs the script as `python` would, says to the launcher that it is alive, and how it ends.
"""

import faulthandler
import os
import runpy
import signal
import sys
import time
import traceback
from pathlib import Path

from threadpoolctl import threadpool_limits

from ..backend.environment import cores
from ..errors import ParallelError
from ._lines import mark_output
from ._link import VARIABLE, Link

THREADS = ("NNX_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables that set a number of threads."""
_RANK = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK")
_NEIGHBOURS = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")
_PLACE = ("OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID")
_GPUS = Path("/proc/driver/nvidia/gpus")
"""Linux has a folder in it for each GPU."""
_PATIENCE = 20.0
"""Seconds that a rank which has failed waits for the launcher to end it, so that MPI need not."""


def main(arguments: list[str]) -> None:
    """Run a script or module as a rank, and end the process as the script does."""
    faulthandler.enable(all_threads=False)
    rank = _number(_RANK)
    finish_output = mark_output(rank)
    share_threads(_number(_NEIGHBOURS))
    take_gpu(_number(_PLACE))
    link = _call(rank)
    failed, final = None, False
    module = arguments[0] == "-m"
    try:
        status = _run(arguments[1:] if module else arguments, module)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        failed = None if end.code is None or isinstance(end.code, int) else str(end.code)
        final = failed is not None  # a script that ends with a message would do so again
    except KeyboardInterrupt:
        status = 130
    except BaseException as error:
        status, failed = 1, _told(error)
    finish_output()
    link.say(status=status, failed=failed, final=final)
    if status:
        link.over.wait(_PATIENCE)
        os._exit(status)  # MPI's own end would wait for the other ranks


def share_threads(ranks: int) -> None:
    """Give this process its share of the machine's processors, unless the user has set a number of threads.

    Args:
        ranks: how many share the machine.
    """
    if any(os.environ.get(name) for name in THREADS):
        return
    share = max(1, cores() // ranks)
    for name in THREADS:
        os.environ[name] = str(share)
    threadpool_limits(share, "blas")  # NumPy has been imported: its BLAS does not look again


def take_gpu(place: int) -> None:
    """Leave this process one of the machine's GPUs, where there are any: CUDA is to see no other.

    Args:
        place: which of the machine's ranks this is.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        gpus = [str(i) for i, _ in enumerate(_GPUS.iterdir())] if _GPUS.is_dir() else []
    else:
        gpus = visible.split(",") if visible.strip() else []
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[place % len(gpus)].strip()


def _number(names: tuple[str, ...]) -> int:
    for name in names:
        if name in os.environ:
            return int(os.environ[name])
    raise ParallelError(f"none of {', '.join(names)} is set: this module is started by `nnx launch`, not by itself.")


def _call(rank: int) -> Link:
    try:
        return Link(os.environ[VARIABLE], rank, _heard)
    except (OSError, KeyError) as error:
        raise SystemExit(
            f"rank {rank} cannot reach the launcher at {os.environ.get(VARIABLE, 'nowhere').rsplit(':', 1)[0]} "
            f"({error}); pass --address NAME, by which this machine knows it."
        ) from None


def _heard(word: str | None) -> None:
    """Do as the launcher says. Where it is gone, nobody watches over this training any more: it ends."""
    os.kill(os.getpid(), signal.SIGINT)
    if word is None:
        time.sleep(_PATIENCE)
        os._exit(1)


def _run(words: list[str], module: bool) -> int:
    name, sys.argv[:] = words[0], words
    if module:
        sys.path[0] = os.getcwd()
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = os.path.dirname(os.path.realpath(name))
        runpy.run_path(name, run_name="__main__")
    return 0


def _told(error: BaseException) -> str:
    """Return the traceback, without the frames of this file and of runpy."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in (__file__, runpy.__file__, "<frozen runpy>"):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()


if __name__ == "__main__":
    main(sys.argv[1:])
