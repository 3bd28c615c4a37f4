"""A step of which each rank does a part: data-parallel training.

A rank computes the gradients of its shards of the batch, each by itself. Then every rank gets its own slice of each
shard's flat gradient, adds them up in the order of the shards, updates this slice of the parameters, with the
optimizer's state for it alone, and gives it to all others. The loss travels with the slices, so that all ranks guard
their updates by the same number; and so does the wish to stop.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._support.arena import Arena
from ..errors import InputError
from ..layers import BatchNorm, Layer
from ..losses import Loss
from ..ops import Array, HostArray
from ..optimizers import Optimizer
from ..parallel import Shards, Timed, native
from ._plan import Plan, Program
from ._stages import BatchNormStage, Stage

_LINE = 128  # bytes: where a slice begins, as views of an arena do


class ParallelPlan(Plan):
    """The training step of one model, of which this rank does a part.

    Args:
        arena: as for `Plan`.
        stages: as for `Plan`.
        loss: as for `Plan`.
        optimizer: as for `Plan`.
        shards: how batches are divided.
        clip_norm: as for `Plan`.
        precision: as for `Plan`.

    Raises:
        InputError: a layer keeps statistics of the rows that nobody puts together.
    """

    def __init__(
        self,
        arena: Arena,
        stages: Sequence[Stage],
        loss: Loss,
        optimizer: Optimizer,
        *,
        shards: Shards,
        clip_norm: float | None = None,
        precision: str = "float32",
    ) -> None:
        for stage in stages:
            if stage.layer.running and not isinstance(stage, BatchNormStage):
                raise InputError(
                    f"{stage.name}: keeps statistics of the rows it sees, which here are a shard's; expected no layer "
                    "with statistics but nnx.BatchNorm, whose are those of all rows. Train it on one process."
                )
        self.shards = shards
        line, ranks = _LINE // np.dtype(arena.dtype).itemsize, shards.communicator.size
        size = arena.layout.size
        self.portion = -(-size // (shards.count * line)) * line
        """Elements of the flat buffer for each shard, whose squares are added up by themselves."""
        self.width = self.portion * shards.each
        """Elements of a rank's slice, with the padding behind the last parameter."""
        first = shards.communicator.rank * self.width
        self.slice = slice(min(first, size), min(first + self.width, size))
        """The elements that this rank updates."""
        super().__init__(arena, stages, loss, optimizer, clip_norm=clip_norm, precision=precision)
        self.link = Timed(native(shards.communicator, self.ops))
        self.wishes_to_stop = False
        """Whether this rank wants no further step."""
        self.stops = False
        """Whether any rank did at the last step: the same on all ranks."""
        self.lanes = [self._lane(i) for i in range(shards.each)]
        """A plan for each of this rank's shards, with gradients and batch statistics of its own."""
        message = self.width + line  # a slice of a gradient, its loss, the wish to stop
        self.sent, self.received = (self.ops.allocate(shards.count * message, arena.dtype) for _ in range(2))
        self.outgoing = self.ops.xp.reshape(self.sent, (ranks, shards.each, message))
        self.incoming = self.ops.xp.reshape(self.received, (shards.count, message))
        """What each shard has for this rank. After an exchange the first row is the sum of all."""
        self._padded = self.ops.allocate(self.width, arena.dtype)
        self._every = self.ops.allocate(ranks * self.width, arena.dtype)

    def _new_state(self, slots: Sequence[str]) -> Mapping[str, Any]:
        return {slot: self.ops.allocate(self.width, self.arena.dtype) for slot in slots}

    def _is_capturable(self) -> bool:
        # Only where operations alone are recorded may the host do something in the middle of a step.
        return self.ops.records_operations_alone and super()._is_capturable()

    def _lane(self, number: int) -> Plan:
        """Make the plan of a shard: the first has the model's own layers, others have copies of them."""
        lane = Plan.__new__(Plan)
        lane.__dict__.update(self.__dict__)
        lane.forget(0)
        if number > 0:
            lane.arena = self.arena.sibling()
            twins: dict[Layer, Layer] = {}

            def twin(layer: Layer) -> Layer:
                if layer not in twins:
                    twins[layer] = self._twin(layer, lane.arena)
                return twins[layer]

            lane.stages = tuple(stage.of_twins(twin) for stage in self.stages)
            lane.random = [twins[layer] for layer in self.random]
        return lane

    def _twin(self, layer: Layer, arena: Arena) -> Layer:
        """Copy a layer of the model for another arena."""
        names = {id(view): name for views in (arena.params, arena.running) for name, view in views.items()}
        own = {**layer.params, **layer.running}
        prefix = next((names[id(view)].removesuffix(name) for name, view in own.items()), "")
        twin = copy.deepcopy(layer.bare())
        twin.attach(arena, list(own), prefix)
        return twin

    # What is otherwise than in a plan of one process ------------------------------------------------------------------

    def own_rows(self, n: int) -> slice:
        return self.shards.rows(n)

    def keys(self, seed: int, step: int, n: int = 1) -> HostArray | None:
        """Return the random keys of a step on n rows, uint32 (own shards, layers with randomness, 7)."""
        keys = super().keys(seed, step)
        if keys is None:
            return None
        every = np.repeat(keys[np.newaxis], self.shards.each, axis=0)
        every[:, :, 6] = [[first] for first, _ in self.shards.cut(n)[self.shards.own]]
        return every

    def forget(self, capacity: int) -> None:
        super().forget(capacity)
        for lane in self.lanes:
            lane.forget(-(-capacity // self.shards.count))

    def _new_program(self, n: int) -> Any:
        return ParallelProgram(self, n)

    def state_arrays(self) -> dict[str, Mapping[str, Array]]:
        """Return the optimizer's whole state; all ranks ask together."""
        found: dict[str, Mapping[str, Array]] = {}
        for slot, own in self.state.items():
            whole = found[slot] = self.arena.buffer()
            self.gather(own[: self.slice.stop - self.slice.start], whole.buffer)
        return found

    def put_state(self, state: Mapping[str, Mapping[str, HostArray]]) -> None:
        whole = self.arena.buffer()
        for slot, arrays in state.items():
            for name, array in arrays.items():
                whole[name] = array
            self.state[slot][: self.slice.stop - self.slice.start] = whole.buffer[self.slice]

    def gather(self, own: Array, whole: Array) -> None:
        """Put the slices of all ranks into a buffer like that of the parameters."""
        self._padded[: own.shape[0]] = own
        self.link.all_gather(self._padded, self._every)
        whole[...] = self._every[: whole.shape[0]]


class ParallelProgram:
    """The step for batches of one size: a program for each of this rank's shards that has rows, and the exchanges."""

    def __init__(self, plan: ParallelPlan, n: int) -> None:
        self.plan, self.ops = plan, plan.ops
        cuts = plan.shards.cut(n)
        self.shares = [(stop - start) / n for start, stop in cuts]
        """Which part of the batch's rows each shard has."""
        own = cuts[plan.shards.own]
        first = own[0][0]
        self.n = own[-1][1] - first
        """This rank's rows."""
        self.parts = [
            Part(plan.lanes[i], i, slice(start - first, stop - first), (stop - start) / n)
            for i, (start, stop) in enumerate(own)
            if stop > start
        ]
        self.joined = {
            i: JoinedBatchNorm(self, i, n) for i, stage in enumerate(plan.stages) if isinstance(stage, BatchNormStage)
        }
        self.running = [(join.layer.span, join.layer.hyper) for join in self.joined.values() if join.rows > 1]
        self._lowest = min((i for i, stage in enumerate(plan.stages) if stage.has_parameters), default=len(plan.stages))
        in_python = plan.ops.in_python
        self._exchange, self._norm = in_python(self._exchanged), in_python(self._whole_norm)
        self._share, self._update_by_own = in_python(self._shared), in_python(self._updated_by_own)

    def step(self, x: Array, t: Array, hyper: Array, rng: Array | None = None, weight: Array | None = None) -> Array:
        """Update the parameters once.

        Args:
            x: this rank's rows.
            t: their targets.
            hyper: as for `Program`.
            rng: (own shards, layers with randomness, 7), the random keys.
            weight: factors of their losses.

        Returns:
            The loss of the whole batch before the update, fresh, 0-d, the same on all ranks.
        """
        plan = self.plan
        loss = self._exchange(*self._losses(x, t, rng, weight))
        guard = plan.limited(loss, hyper, self._norm)
        if plan.update is None:
            if not self._update_by_own(hyper, guard):
                return loss
        else:
            first, size = plan.slice.start, plan.slice.stop - plan.slice.start
            if size > 0:  # of small networks some ranks have no parameter
                state = [own[:size] for own in plan.state.values()]
                params, grads = plan.arena.params.buffer[plan.slice], plan.incoming[0, :size]
                decay = min(max(plan.arena.layout.decay - first, 0), size)
                self.ops.update_(plan.update, hyper, params, grads, *state, decay=decay, guard=guard)
            self._share()
        plan.move_running(self.running, guard)
        return loss

    def _losses(self, x: Array, t: Array, rng: Array | None, weight: Array | None) -> list[Array]:
        """Run forward, loss and backward of all parts, stage by stage; the gradients are in the lanes' arenas then."""
        plan, parts = self.plan, self.parts
        if plan.narrow is not None:
            plan.narrow.refresh()
        for part in parts:
            part.begin(x, rng)
        for i in range(len(plan.stages)):
            for part in parts:
                part.forward(i)
            if i in self.joined:
                self.joined[i].forward()
        losses = [part.lose(t, weight) for part in parts]
        for i in range(len(plan.stages) - 1, self._lowest - 1, -1):
            given = [part.dy for part in parts]
            for part in parts:
                part.backward(i)
            if i in self.joined:
                self.joined[i].backward(given)
        return losses

    def _exchanged(self, *losses: Array) -> Array:
        """Give all ranks their slices of the gradients, and add up those that came; return the batch's loss."""
        plan, width = self.plan, self.plan.width
        filled = dict(zip((part.number for part in self.parts), zip(self.parts, losses, strict=True), strict=True))
        for number in range(plan.shards.each):
            out = plan.outgoing[:, number, :]
            if number not in filled:
                out[...] = 0.0
                continue
            part, loss = filled[number]
            grads = part.lane.arena.grads.buffer
            for rank in range(out.shape[0]):
                piece = grads[rank * width : (rank + 1) * width]
                out[rank, : piece.shape[0]] = piece
            out[:, width] = loss * part.share
        plan.outgoing[:, 0, width + 1] = float(plan.wishes_to_stop)
        plan.link.all_to_all(plan.sent, plan.received)
        total = plan.incoming[0, ...]
        for shard in range(1, plan.shards.count):
            total += plan.incoming[shard, ...]
        plan.stops = float(self.ops.to_host(total[width + 1, ...])) > 0
        return total[width, ...] * 1.0  # a fresh array

    def _whole_norm(self) -> Array:
        """Return the norm of the whole gradient: the squares are added up by shard, and then in the shards' order."""
        plan, xp, step = self.plan, self.ops.xp, self.plan.portion
        own = [self.ops.sum_squares(plan.incoming[0, i * step : (i + 1) * step]) for i in range(plan.shards.each)]
        every = xp.empty((plan.shards.count,), dtype=plan.incoming.dtype)
        plan.link.all_gather(xp.stack(own), every)
        total = every[0, ...]
        for i in range(1, plan.shards.count):
            total = total + every[i, ...]
        return xp.sqrt(total)

    def _shared(self) -> None:
        """Give all ranks the parameters that this one has updated."""
        params = self.plan.arena.params.buffer
        self.plan.gather(params[self.plan.slice], params)

    def _updated_by_own(self, hyper: Array, guard: Array | None) -> bool:
        """Update all parameters by the user's optimizer on the first rank, and give them to the others.

        So they are the same everywhere, even if it draws numbers of its own.
        """
        plan, communicator, done = self.plan, self.plan.shards.communicator, np.zeros(1, np.int64)
        plan.gather(plan.incoming[0, : plan.slice.stop - plan.slice.start], plan.arena.grads.buffer)
        if communicator.rank == 0:
            done[0] = plan.update_by_own(hyper, guard)
        communicator.broadcast(done)
        plan.link.broadcast(plan.arena.params.buffer)
        return bool(done[0])

    def first_non_finite(self) -> str | None:
        """Return the name of the first stage whose output held NaN or infinity on a rank; all ranks ask together."""
        found = [part.program.first_non_finite_stage() for part in self.parts]
        own = min((i for i in found if i is not None), default=None)
        everywhere = [i for i in self.plan.shards.communicator.exchange(own) if i is not None]
        return self.plan.stages[min(everywhere)].name if everywhere else None


class Part:
    """A shard of this rank's that has rows."""

    def __init__(self, lane: Plan, number: int, rows: slice, share: float) -> None:
        self.lane, self.number, self.rows, self.share = lane, number, rows, share
        self.program = Program(lane, rows.stop - rows.start)
        self.dy: Array = None
        """The gradient that has come down so far."""
        self._backwards = dict(self.program.backwards)
        self._scale = lane.ops.to_device(np.array([share, 0, 0], lane.arena.dtype))

    def begin(self, x: Array, rng: Array | None) -> None:
        self.program.rng = None if rng is None else rng[self.number, ...]
        self.program.values[0] = x[self.rows, ...]

    def forward(self, i: int) -> None:
        values = self.program.values
        values[i + 1] = self.program.forwards[i](values[i])

    def lose(self, t: Array, weight: Array | None) -> Array:
        """Return the mean loss of its rows; the gradient is that of the whole batch's."""
        self.dy = self.program.dz
        return self.program.lose(t[self.rows, ...], None if weight is None else weight[self.rows], self._scale)

    def backward(self, i: int) -> None:
        values = self.program.values
        self.dy = self._backwards[i](self.dy, values[i], values[i + 1])


class JoinedBatchNorm:
    """Batch normalization by all rows of a batch, of which each shard has some.

    The shards' means and variances are put together (Chan, Golub & LeVeque 1979) in their order, and so are the two
    sums in the gradient. Each part has done by its own rows what is done here anew.
    """

    def __init__(self, whole: ParallelProgram, place: int, n: int) -> None:
        self._whole, self._place, self._shards, self._ops = whole, place, whole.plan.shards, whole.ops
        stage = whole.plan.stages[place]
        self.layer: BatchNorm = stage.layer  # type: ignore[assignment]
        self.rows = n * math.prod(stage.shape[:-1])
        """Those of the operation: of pictures every pixel is one."""
        self._c = stage.shape[-1]
        xp, dtype = self._ops.xp, self.layer.hyper.dtype
        self._own = xp.zeros((self._shards.each, 2, self._c), dtype=dtype)
        self._every = xp.zeros((self._shards.count, 2, self._c), dtype=dtype)
        self._sums = xp.zeros((2, self._c), dtype=dtype)
        self._join_statistics = self._ops.in_python(self._statistics)
        self._join_sums, self._finish = self._ops.in_python(self._gradients), self._ops.in_python(self._differentiated)

    def forward(self) -> None:
        self._join_statistics()
        for part in self._whole.parts:
            layer: Any = self._layer(part)
            x, y = map(self._matrix, part.program.values[self._place : self._place + 2])
            statistics = layer.batch["running_mean"], layer.batch["running_var"]
            gamma, beta = layer.params["gamma"], layer.params["beta"]
            self._ops.batch_norm_inference(x, gamma, beta, *statistics, layer.hyper, out=y)

    def backward(self, given: Sequence[Array]) -> None:
        """Finish the gradients of the parts' inputs; `given` are those of their outputs."""
        self._join_sums()
        for part, above in zip(self._whole.parts, given, strict=True):
            x = part.program.values[self._place]
            self._finish(self._matrix(above), self._matrix(x), self._matrix(part.dy))

    def _layer(self, part: Part) -> Any:
        return part.lane.stages[self._place].layer

    def _matrix(self, x: Array) -> Array:
        return self._ops.xp.reshape(x, (-1, self._c))

    def _tell(self, numbers: Sequence[tuple[Part, Array, Array]]) -> None:
        """Give all ranks two numbers of each column for each part."""
        for part, first, second in numbers:
            self._own[part.number, 0, :], self._own[part.number, 1, :] = first, second
        reshape = self._ops.xp.reshape
        self._whole.plan.link.all_gather(reshape(self._own, (-1,)), reshape(self._every, (-1,)))

    def _statistics(self) -> None:
        """Make the mean and variance of all rows of the parts'."""
        batches = [(part, self._layer(part).batch) for part in self._whole.parts]
        self._tell([(part, batch["running_mean"], batch["running_var"]) for part, batch in batches])
        shares = list(enumerate(self._whole.shares))
        mean = sum((self._every[i, 0, :] * share for i, share in shares[1:]), self._every[0, 0, :] * shares[0][1])
        var = 0.0
        for i, share in shares:
            away = self._every[i, 0, :] - mean
            var = var + (self._every[i, 1, :] + away * away) * share if share else var
        for batch in (self.layer.batch, *(batch for _, batch in batches)):
            batch["running_mean"][...], batch["running_var"][...] = mean, var

    def _gradients(self) -> None:
        """Add up dbeta and dgamma of all parts."""
        grads = [(part, self._layer(part).grads) for part in self._whole.parts]
        self._tell([(part, grad["beta"], grad["gamma"]) for part, grad in grads])
        self._sums[...] = self._every[0, ...]
        for i in range(1, self._shards.count):
            self._sums += self._every[i, ...]

    def _differentiated(self, dy: Array, x: Array, dx: Array) -> None:
        """Compute `dx` as `batch_norm_backward` does, from the sums over all rows."""
        layer, xp = self.layer, self._ops.xp
        std = xp.sqrt(layer.batch["running_var"] + layer.hyper[0])
        dx[...] = x - layer.batch["running_mean"]
        dx *= self._sums[1, :] / (std * self.rows)
        dx += self._sums[0, :] / self.rows
        dx -= dy
        dx *= -layer.params["gamma"] / std
