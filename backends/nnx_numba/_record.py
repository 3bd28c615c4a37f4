"""Training steps as lists of jobs: run with the calls of kernels written down, then done without the interpreter."""

import ctypes
import warnings
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from ._jobs import divide, of_first_part, partition, written
from ._stages import Job, Stage, Touch, laid_out, stages
from ._team import LONG, MOST_ALONE, Team

Array = np.ndarray[Any, Any]

_COPIED = 4096
"""Bytes up to which an input is copied to where the jobs read it; of larger ones the jobs are given the address."""
_NEAR = 2**18
"""Bytes of a matrix from which on it is not in the caches of all threads beside their rows."""
_LARGEST = 2**29
"""Bytes of a step's arrays beyond which it is not recorded: the proof would need two copies of them, and beside so much
work the interpreter does not count."""


class CaptureWarning(RuntimeWarning):
    """A step cannot become a list of jobs, and runs call by call."""


class Traced(np.ndarray[Any, Any]):
    """An array of a step that is being recorded: NumPy's functions are written down, or end the recording."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return _recorder().numpy(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, kinds: Any, args: Any, kwargs: Any) -> Any:
        if function not in (np.reshape, np.empty_like, np.ravel):
            _recorder().give_up(f"numpy.{function.__name__}")
        result = super().__array_function__(function, (np.ndarray,), args, kwargs)
        return result.view(np.ndarray) if function is np.empty_like else result

    def __getitem__(self, key: Any) -> Any:
        result = super().__getitem__(key)
        return result if isinstance(result, np.ndarray) else super().__getitem__((*_tuple(key), ...))

    def __setitem__(self, key: Any, value: Any) -> None:
        _recorder().give_up("an assignment to elements")
        self.view(np.ndarray)[key] = value

    def _read(self, name: str) -> Any:
        _recorder().give_up("a number that the interpreter reads")
        return getattr(self.view(np.ndarray), name)

    def __float__(self) -> float:
        return float(self._read("__float__")())

    def __int__(self) -> int:
        return int(self._read("__int__")())

    def __bool__(self) -> bool:
        return bool(self._read("__bool__")())

    def item(self, *args: Any) -> Any:
        return self._read("item")(*args)

    def tolist(self) -> Any:
        return self._read("tolist")()

    def fill(self, value: Any) -> None:
        _recorder().give_up("numpy.ndarray.fill")
        self.view(np.ndarray).fill(value)

    def copy(self, *args: Any, **kwargs: Any) -> Any:
        _recorder().give_up("numpy.ndarray.copy")
        return self.view(np.ndarray).copy(*args, **kwargs)

    def astype(self, *args: Any, **kwargs: Any) -> Any:
        _recorder().give_up("numpy.ndarray.astype")
        return self.view(np.ndarray).astype(*args, **kwargs)


def _tuple(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


def _recorder() -> "Recorder | _Nobody":
    from nnx_kernels.cpu._jit import recording

    return recording.recorder or _NOBODY


class _Nobody:
    """After a recording: a traced array that somebody kept is an array like any other."""

    def give_up(self, what: str) -> None:
        pass

    def numpy(self, ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return getattr(ufunc, method)(*_plain(inputs), **_plain_outputs(kwargs))


_word_at = ctypes.c_void_p.from_address
_NOBODY = _Nobody()


def _plain(values: tuple[Any, ...]) -> list[Any]:
    return [v.view(np.ndarray) if isinstance(v, Traced) else v for v in values]


def _plain_outputs(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {**kwargs, "out": tuple(_plain(kwargs["out"]))} if "out" in kwargs else kwargs


class Outside:
    """A call of the interpreter's between jobs, its result where the jobs read it, and what else it wrote to."""

    def __init__(self, function: Callable[[], Any], result: Array | None) -> None:
        self._function, self.result = function, result
        self.written: list[tuple[Array, Array]] = []
        self.done: Outside | None = None
        """The same call of another recording: it is taken over once, and not done."""

    def __call__(self) -> None:
        done, self.done = self.done, None
        result = self._function() if done is None else done.result
        for place, m in () if done is None else done.written:
            place[:] = m
        if self.result is not None:
            np.copyto(self.result, result)


class Recorder:
    """Writes down the calls of kernels of one step, and does them at once.

    Args:
        team: works at the jobs.
        kernels: the modules of nnx_kernels.cpu.
        moving: inputs of the step that will lie elsewhere in other calls.
        watched: memory of which to note what calls of the interpreter's write to it.
    """

    def __init__(self, team: Team, kernels: Any, moving: list[Array], watched: "Memory") -> None:
        self._team, self._kernels, self._moving, self._watched = team, kernels, moving, watched
        self.jobs: list[Array] = []
        self.steps: list[Any] = []
        """What is done in turn: the number of the first job of some and of the one after the last, or a function."""
        self.arrays: list[Array] = []
        """The arrays of the jobs that these may write to."""
        self.data: list[Array] = []
        """Their other arrays. All have to live as long as the jobs."""
        self.own: dict[str, Array] = {}
        """Scratch memory of this step."""
        self.needs_copies = False
        """Whether inputs have to lie where they lay at first."""
        self.reason: str | None = None
        """Why the step cannot be recorded."""

    def give_up(self, what: str) -> None:
        """Say that the step does what is not written down."""
        self.reason = self.reason or what

    # Calls of kernels -------------------------------------------------------------------------------------------------

    def __call__(self, kernel: Any, args: tuple[Any, ...]) -> Any:
        """Write down a call in parts, and do it. Returns NotImplemented, or what makes a result a traced array."""
        whole = _plain(args)
        given = list(of_first_part(kernel, whole))
        dtype = kernel.dtype_for(given)
        if dtype is None:
            self.give_up(f"{kernel.name} does not take its arrays")
            return NotImplemented
        jit, most = self._kernels.jit, self._kernels.team.MOST
        n, share = partition(kernel, whole)
        parts, moves, sums = divide(kernel, whole, given, jit, share)

        def divided(rows: int) -> Any:
            if rows == share:
                return words
            other, moves, _ = divide(kernel, whole, again := list(whole), jit, rows)
            return written(kernel, dtype, again, other, moves, jit, most)

        words = written(kernel, dtype, given, parts, moves, jit, most)
        if words is None:
            self.give_up(f"{kernel.name}: it has too many arguments")
            kernel.run(*given)
            return traced
        touched = list(whole)
        for i in kernel.sums:
            if given[i] is not whole[i]:  # a row of the parts' sums
                touched[i] = given[i].base
        touches = self._touches(kernel, touched)
        rows = n if kernel.rows and kernel.most is None else 0
        self._do(Job(words, touches, rows, share if kernel.sums or kernel.own else 0, 0, divided))
        for every, out in sums:
            add = self._kernels.bias.column_sums
            added = written(add, every.dtype, [every, out], 1, [], jit, most)
            self._do(Job(added, self._touches(add, [every, out])))
        return traced

    def _touches(self, kernel: Any, args: list[Any]) -> list[Touch]:
        """Keep the arrays of a call; return what it touches."""
        touches = []
        for i, (argument, letter) in enumerate(zip(args, kernel.signature, strict=True)):
            if isinstance(argument, np.ndarray):
                (self.data if letter in "RUlo" else self.arrays).append(argument)
                touches.append(_touch(argument, i in kernel.writes, i in kernel.rows))
        return touches

    def product(self, a: Array, b: Array, c: Array, transposed: bool, rows: int, columns: int) -> Any:
        """Write down the job of a product, in parts of so many rows and columns, and do it."""
        a, b, c = _plain((a, b, c))
        make = self._kernels.product.job
        words = make(a, b, c, transposed, rows, columns)
        if words is NotImplemented:
            return NotImplemented
        self.arrays += [a, b, c]
        n = 0 if transposed or b.nbytes >= _NEAR else len(a)
        touches = [_touch(a, False, n > 0), _touch(b, False, False), _touch(c, True, n > 0)]
        self._do(Job(words, touches, n, 0, c.size * len(b), lambda rows: make(a, b, c, False, rows, c.shape[1])))
        return traced

    def _do(self, job: Job) -> None:
        k = len(self.jobs)
        self.jobs.append(job)
        if self.steps and isinstance(self.steps[-1], tuple):
            self.steps[-1] = (self.steps[-1][0], k + 1)
        else:
            self.steps.append((k, k + 1))
        self._team.do(job.words)

    # Everything else --------------------------------------------------------------------------------------------------

    def call(self, function: Callable[..., Any], *arrays: Array, out: Array) -> Any:
        """Write down a call of NumPy's that writes to memory of its own, and do it."""
        given, into = _plain(arrays), _plain((out,))[0]
        self._check_inputs(given)
        function(*given, out=into)
        self.arrays += [*given, into]
        self.steps.append(_under_errors_of_now(lambda: function(*given, out=into)))
        return traced(into)

    def outside(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Write down a call of the interpreter's, which is not looked into, and do it."""
        given, named = _plain(args), dict(zip(kwargs, _plain(tuple(kwargs.values())), strict=True))
        every = [a for a in (*given, *named.values()) if isinstance(a, np.ndarray)]
        self._check_inputs(every)
        self.arrays += every
        recording = self._kernels.jit.recording
        before = {place: m.copy() for place, m in self._watched.items()}
        recording.recorder = None
        try:
            result = function(*given, **named)
        finally:
            recording.recorder = self
        again = _under_errors_of_now(lambda: function(*given, **named))
        call = Outside(again, None if result is None else np.array(result))
        call.written = [(m, m.copy()) for place, m in self._watched.items() if not np.array_equal(m, before[place])]
        self.steps.append(call)
        if call.result is None:
            return None
        self.arrays.append(call.result)
        return traced(call.result)

    def _check_inputs(self, arrays: list[Array]) -> None:
        """Ask for copies of inputs that a function is given: jobs alone can be given another address."""
        if any(np.may_share_memory(a, i) for a in arrays for i in self._moving):
            self.needs_copies = True

    def numpy(self, ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Do what a ufunc does to single numbers by a kernel; do anything else, and give up."""
        scalars = self._kernels.scalars
        kernel = {np.add: scalars.add, np.multiply: scalars.multiply}.get(ufunc)
        given = _plain(inputs)
        if kernel is None or method != "__call__" or kwargs or any(np.ndim(a) for a in given):
            self.give_up(f"numpy.{ufunc.__name__}")
            return _NOBODY.numpy(ufunc, method, inputs, kwargs)
        dtype = next(a.dtype for a in inputs if isinstance(a, Traced))
        out = np.empty(1, dtype)
        if kernel(*(np.asarray(a, dtype).reshape(1) for a in given), out) is NotImplemented:
            self.give_up(f"numpy.{ufunc.__name__} of {dtype}")
        return traced(out.reshape(()))


def traced(array: Array) -> Array:
    """Return the array as one of the step that this thread records."""
    return array.view(Traced)


def _under_errors_of_now(function: Callable[[], Any]) -> Callable[[], Any]:
    """Make a function treat NumPy's floating-point errors as they are treated while a step is recorded."""
    return np.errstate(**np.geterr())(function)


def _touch(array: Array, written: bool, split: bool) -> Touch:
    first = array.ctypes.data
    return Touch(first, first + array.nbytes, written, split)


class Program:
    """What a recorder has written down, to be done again with other inputs."""

    def __init__(self, recorder: Recorder, moving: list[Array | None], result: list[Array], team: Any) -> None:
        # Inputs are the user's, and may be maps of files that cannot be written to: nothing is put back there.
        inputs = [array for array in moving if array is not None]
        arrays = [*recorder.arrays, *result]
        self.arrays = [a for a in arrays if not any(np.may_share_memory(a, given) for given in inputs)]
        self.data, self.result = recorder.data, result
        self.pace = Pace()
        every: list[Stage] = []
        self.steps: list[Any] = []
        """What is done in turn: a function; or jobs, as where they are and how many, in stages for a team, and as they
        were recorded for a thread alone."""
        for step in recorder.steps:
            self.steps.append(step if callable(step) else [])
            jobs = [] if callable(step) else recorder.jobs[slice(*step)]
            for some in (stages(jobs, team), [Stage([[job.words]]) for job in jobs]) if jobs else ():
                self.steps[-1].append((len(every), len(some)))
                every += some
        self._memory, self._table = laid_out(every, team)
        at = self._table.ctypes.data
        self.steps = [
            step if callable(step) else [(at + 8 * first, count) for first, count in step] for step in self.steps
        ]
        self.moved = [[] if array is None else self._words(array) for array in moving]
        """Of each input that the jobs have the address of, the words with it, and how far it lies behind the first."""

    def _words(self, given: Array) -> list[tuple[int, int]]:
        first = given.ctypes.data
        inside = np.flatnonzero((self._memory >= first) & (self._memory < first + given.nbytes))
        return [(int(k), int(self._memory[k]) - first) for k in inside]

    def place(self, word: int) -> int:
        """Return where a word of the jobs lies."""
        return self._memory.ctypes.data + 8 * word

    def move(self, words: list[tuple[int, int]], address: int) -> None:
        """Make the jobs read an input at an address."""
        memory = self._memory
        for k, offset in words:
            memory[k] = address + offset


class Pace:
    """Whether a step is done faster alone than by the team, by trying both now and then: the bits are the same.

    Where processors share no cache, or others want them, small steps are: one thread must fetch what another wrote.
    """

    TRIES, AGAIN = 8, 2000
    """How many steps in succession of either kind are timed, and after how many others this is done again."""

    def __init__(self) -> None:
        self.alone, self.timed = False, True
        self._times: tuple[list[float], list[float]] = [], []
        self._left = self.TRIES

    def note(self, seconds: float) -> None:
        """Take notice of a step and, if steps are `timed`, of how long it took."""
        self._left -= 1
        by_team, alone = self._times
        if self.timed:
            (alone if self.alone else by_team).append(seconds)
            if self._left == 0:
                self.alone = not self.alone or median(alone) < median(by_team)
                self.timed = len(alone) < self.TRIES
                self._left = self.TRIES if self.timed else self.AGAIN
        elif self._left == 0:
            self.alone, self.timed = False, True
            self._times, self._left = ([], []), self.TRIES


class RecordedStep:
    """Does what `step` does, on each call's own inputs; every call returns a fresh array.

    The first two calls run the step and write down what it calls. The second is done from the first one's notes, too,
    and has to come out with the same bits: a step that depends on what nobody wrote down is not taken.

    Args:
        team: works at the jobs.
        kernels: the modules of nnx_kernels.cpu.
        step: returns a 0-d array, or a list of k of them, which come back as one array (k,).
        examples: the first call's inputs.
    """

    def __init__(self, team: Team, kernels: Any, step: Callable[..., Any], examples: tuple[Array, ...]) -> None:
        self._team, self._kernels, self._step = team, kernels, step
        self._kinds = [(given.shape, given.dtype) for given in examples]
        # What is small is copied: the step may change its own copy of the optimizer's numbers.
        self._inputs = [np.empty_like(given) if given.nbytes <= _COPIED else None for given in examples]
        self.program: Program | None = None
        """What its calls do; None before the second one, and if it cannot be recorded."""
        self._first: Program | None = None
        self._repeat: Repeat | None = None
        self._eager = False

    def __call__(self, *inputs: Array) -> Array:
        if self._eager:
            return _together(self._step(*inputs))
        given = self._take(inputs)
        if self.program is not None:
            return self._play(self.program, given)
        return self._record(given)

    def _take(self, inputs: tuple[Array, ...]) -> list[Array]:
        """Return the inputs as the jobs read them."""
        if len(inputs) != len(self._kinds):
            raise ValueError(f"a captured step takes {len(self._kinds)} inputs, as at first; got {len(inputs)}")
        given = []
        for array, own, (shape, dtype) in zip(inputs, self._inputs, self._kinds, strict=True):
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(
                    f"a captured step takes inputs like its first, {shape} {dtype}; got {array.shape} {array.dtype}"
                )
            if own is not None:
                own[...] = array
                given.append(own)
            else:
                given.append(array if array.flags.c_contiguous and array.flags.aligned else array.copy())
        return given

    def _play(self, program: Program, given: list[Array]) -> Array:
        for words, array in zip(program.moved, given, strict=True):
            if words:
                program.move(words, _address(array))
        pace = program.pace
        start = perf_counter() if pace.timed else 0.0
        self._do(program)
        pace.note(perf_counter() - start if pace.timed else 0.0)
        return self._fresh(program)

    def _do(self, program: Program) -> None:
        alone = program.pace.alone
        for step in program.steps:
            if type(step) is list:
                self._team.play(*step[alone], alone)
            else:
                step()

    def repeat_jobs(self) -> None:
        """Do the jobs once more, on the last call's inputs: what a step takes without the interpreter's part."""
        if self.program is not None:
            self._do(self.program)

    def repeats(self, x: Any, t: Any, classes: int) -> "Repeat | None":
        """Return what does the step on batches like x, t, see `Repeat`; None if the interpreter has to.

        Args:
            x: the rows that the step has just been done on.
            t: their labels.
            classes: these are 0..classes-1.
        """
        program = self.program
        if not all(type(array) is np.ndarray and array.flags.writeable for array in (x, t)):
            return None  # the kernel takes no others
        if program is None or self._several or len(program.steps) != 1 or callable(program.steps[0]):
            return None
        (rows, real), (labels, whole), *_ = self._kinds
        fits = len(rows) == 2 and real in self._kernels.jit.FLOATS and len(labels) == 1 and whole == np.int64
        if not fits or any(own is None for own in self._inputs[2:]):
            return None
        if self._repeat is None:
            self._repeat = Repeat(self._team, self._kernels, program, (*rows, real), classes, self._inputs)
        return self._repeat

    def _record(self, given: list[Array]) -> Array:
        first = self._first
        watched = {} if first is None else _memory(first.arrays)
        before = {place: m.copy() for place, m in watched.items()}
        places = [array if own is None else None for array, own in zip(given, self._inputs, strict=True)]
        recorder = Recorder(self._team, self._kernels, [place for place in places if place is not None], watched)
        recording = self._kernels.jit.recording
        recording.recorder = recorder
        try:
            result = self._step(*(traced(_writeable(array)) for array in given))
        finally:
            recording.recorder = None
        self._several = isinstance(result, list)
        losses = result if self._several else [result]
        if not all(isinstance(loss, Traced) for loss in losses):
            recorder.give_up("a loss that no kernel computes")
        program = Program(recorder, places, _plain(losses), self._kernels.team)
        loss = self._fresh(program)
        if recorder.reason is not None:
            self._stop(recorder.reason)
        elif sum(m.nbytes for m in _memory(program.arrays).values()) > _LARGEST:
            self._eager = True
        elif recorder.needs_copies and not all(own is not None for own in self._inputs):
            self._inputs, self._first = [np.array(array) for array in given], None
        elif first is None:
            self._first = program
        else:
            self._compare(first, program, given, before, loss)
        return loss

    def _compare(self, first: Program, second: Program, given: list[Array], before: "Memory", loss: Array) -> None:
        """Do the second call again, by the notes of the first; take these if nothing comes out differently.

        What the interpreter did between the jobs is not done again: it may count, or draw numbers of its own.
        """
        memory = _memory(second.arrays)
        memory = {place: memory[place] for place in before.keys() & memory.keys()}  # not what is each call's own
        after = {place: m.copy() for place, m in memory.items()}
        for place, m in memory.items():
            m[:] = before[place]
        for ours, theirs in zip(first.steps, second.steps, strict=False):
            if isinstance(ours, Outside) and isinstance(theirs, Outside):
                ours.done = theirs
        again = self._play(first, given)
        if again.tobytes() == loss.tobytes() and all(np.array_equal(m, after[place]) for place, m in memory.items()):
            self.program = first
        else:
            for place, m in memory.items():
                m[:] = after[place]
            self._stop("it depends on what the interpreter computes")
        self._first = None

    def _fresh(self, program: Program) -> Array:
        """Return the losses where no later call overwrites them."""
        return np.stack(program.result) if self._several else program.result[0].copy()

    def _stop(self, reason: str) -> None:
        self._eager = True
        warnings.warn(
            f"this training step cannot be recorded and runs call by call, more slowly: {reason}",
            CaptureWarning,
            stacklevel=5,
        )


class Repeat:
    """Does a recorded step on rows and labels that nobody has looked at: its kernel does.

    Called with x, t and the other inputs, which are numbers of the first call's shapes; returns the loss, or None if
    the batch is not like the first call's, in which case nothing has been done.
    """

    def __init__(
        self, team: Team, kernels: Any, program: Program, rows: tuple[Any, ...], classes: int, inputs: list[Any]
    ) -> None:
        n, columns, real = rows
        words, moved = kernels.repeat, program.moved[:2]
        moves = [(program.place(word), offset) for of_one in moved for word, offset in of_one]
        step = np.zeros(words.FIRST_MOVE + 2 * len(moves), np.int64)
        step[[words.ROWS, words.COLUMNS, words.ITEM, words.CLASSES]] = n, columns, real.itemsize, classes
        step[[words.PLACE, words.LABELS]] = [0 if own is None else own.ctypes.data for own in inputs[:2]]
        step[[words.MOVES, words.LABEL_MOVES]] = [len(of_one) for of_one in moved]
        step[[words.PLAY, words.LONG, words.MOST]] = kernels.team.play.address(real), LONG, MOST_ALONE
        step[words.JOBS : words.CALL] = np.ravel(program.steps[0])
        step[words.FIRST_MOVE :] = np.ravel(moves)
        kernels.repeat.repeat.compile(real)
        self._team, self._kernel, self._step, self._address = team, kernels.repeat.repeat, step, step.ctypes.data
        self._program, self._others, self._loss = program, inputs[2:], program.result[0]

    def __call__(self, x: Any, t: Any, *others: Any) -> Array | None:
        if type(x) is not np.ndarray or type(t) is not np.ndarray:
            return None
        for own, other in zip(self._others, others, strict=True):
            own[...] = other
        pace = self._program.pace
        start = perf_counter() if pace.timed else 0.0
        try:
            status = self._team.call(self._kernel.call, x, t, self._address, int(pace.alone), alone=pace.alone)
        except TypeError:  # no version of the kernel takes such arrays
            return None
        if status:
            return None
        pace.note(perf_counter() - start if pace.timed else 0.0)
        return self._loss.copy()


def _address(array: Array) -> int:
    """Return where an array's memory begins, as `array.ctypes.data` does in eight times as long.

    NumPy's C API has it as the first thing behind the head of the object (PyArrayObject).
    """
    return _word_at(id(array) + object.__basicsize__).value or 0


def _together(result: Any) -> Array:
    return np.stack(result) if isinstance(result, list) else result


def _writeable(array: Array) -> Array:
    """Return the array as one that kernels take: nobody writes to an input, but they are compiled for such arrays."""
    if array.flags.writeable:
        return array
    memory = (ctypes.c_char * array.nbytes).from_address(array.ctypes.data)
    return np.frombuffer(memory, array.dtype).reshape(array.shape)


Memory = dict[tuple[int, int], Array]


def _memory(arrays: list[Array]) -> Memory:
    """Return the memory of arrays, byte by byte, by its address and size."""
    whole = [a if a.flags.c_contiguous else a.T for a in arrays if a.flags.forc and a.flags.writeable and a.size]
    return {(a.ctypes.data, a.nbytes): a.reshape(-1).view(np.uint8) for a in whole}
