"""Reading ahead: a thread fills one buffer while the other one is used."""

import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from queue import SimpleQueue
from typing import Any, TypeVar

Job = TypeVar("Job")
Buffer = TypeVar("Buffer")
Result = TypeVar("Result")


class Closed(Exception):  # noqa: N818  it is no error
    """Whoever wanted what is being read has gone."""


def read_ahead(
    jobs: Iterable[Job],
    read: Callable[[Job, Buffer, Callable[[], None]], Result],
    buffers: Sequence[Buffer],
) -> Generator[tuple[Buffer, Result], None, None]:
    """Do jobs in a thread of its own, in their order, each into a buffer, as long as there is one that is not in use.

    A buffer is in use from when it is yielded until the next one is asked for. What the thread raises is raised here,
    in its turn. Closing the generator ends the thread, and waits for that.

    Args:
        jobs: gone over in the thread.
        read: does a job; it calls its third argument now and then, which raises `Closed` when the generator is closed.
        buffers: two, or more.

    Yields:
        A buffer, and what `read` has returned for it.
    """
    free: SimpleQueue[Any] = SimpleQueue()
    done: SimpleQueue[Any] = SimpleQueue()
    closing = threading.Event()

    def go_on() -> None:
        if closing.is_set():
            raise Closed

    def work() -> None:
        try:
            for job in jobs:
                buffer = free.get()
                go_on()
                done.put((buffer, read(job, buffer, go_on)))
            done.put(None)
        except Closed:
            pass
        except BaseException as error:  # it belongs to who waits for the rows
            done.put(error)

    for buffer in buffers:
        free.put(buffer)
    thread = threading.Thread(target=work, name="nnx reads ahead", daemon=True)
    thread.start()
    try:
        while (found := done.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            yield found
            free.put(found[0])
    finally:
        closing.set()
        free.put(None)  # if it waits for a buffer
        thread.join()
