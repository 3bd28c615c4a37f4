"""One process alone, and what launchers tell several."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import nnx
from nnx.parallel import Alone, Communicator, world


@pytest.fixture
def started(monkeypatch):
    """Make a process believe that it was started with these variables."""

    def start(**variables):
        for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        world.cache_clear()

    yield start
    world.cache_clear()


def test_a_process_by_itself_is_the_only_rank_and_needs_no_mpi4py(started, monkeypatch):
    started()
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    found = nnx.world()
    assert isinstance(found, Alone)
    assert isinstance(found, Communicator)
    assert (found.rank, found.size, repr(found)) == (0, 1, "one process")
    assert nnx.world() is found


def test_one_process_of_mpiexec_is_alone_as_well(started, monkeypatch):
    started(PMI_SIZE="1")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert nnx.world().size == 1


def test_the_only_rank_receives_what_it_sends():
    send, received, everybody = np.arange(3.0), np.zeros(3), np.zeros(3)
    alone = Alone()
    alone.all_to_all(send, received)
    alone.all_gather(send, everybody)
    alone.broadcast(send)
    assert received.tolist() == everybody.tolist() == send.tolist() == [0, 1, 2]
    assert alone.exchange({"rows": 3}) == [{"rows": 3}]


@pytest.mark.parametrize("variable", ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"])
def test_several_processes_without_mpi4py_are_told_what_to_install(started, monkeypatch, variable):
    started(**{variable: "3"})
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.delitem(sys.modules, "nnx.parallel._mpi", raising=False)
    with pytest.raises(nnx.ParallelError, match=r"3 processes .* mpi4py cannot be used .* 'nnx-array\[mpi\]'"):
        nnx.world()


def the_mpi_knows_of(ranks, monkeypatch):
    """Put in place of mpi4py's communicator one of so many ranks."""
    mpi = SimpleNamespace(rank=0, size=ranks)
    monkeypatch.setitem(sys.modules, "nnx.parallel._mpi", SimpleNamespace(MPI=lambda: mpi))
    return mpi


def test_an_mpiexec_of_another_mpi_is_found_out(started, monkeypatch):
    """Each process would train by itself, as the only one that its MPI knows of."""
    started(PMI_SIZE="3")
    the_mpi_knows_of(1, monkeypatch)
    with pytest.raises(nnx.ParallelError, match=r"3 processes .* knows of 1: mpiexec belongs to another MPI"):
        nnx.world()


@pytest.mark.parametrize("ranks", [1, 4])
def test_a_launcher_that_does_not_say_how_many_there_are_leaves_it_to_the_mpi(started, monkeypatch, ranks):
    started(PMIX_RANK="0")
    assert the_mpi_knows_of(ranks, monkeypatch) is nnx.world()
