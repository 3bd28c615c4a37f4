"""How sharp is the kit? A wrong method for every operation, as implementations go wrong: the kit has to name each.

The exhaustive proof runs at night: `tests/mutants` makes thousands of small mistakes in the sources themselves.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from nnx import testing
from nnx.ops import Ops, spec

from .conftest import MembersOnly

pytestmark = pytest.mark.slow

WRONG: list[tuple[str, Callable[..., Any]]] = []


def wrong(op: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add a method that is wrong; its first argument is the right operation."""

    def add(method: Callable[..., Any]) -> Callable[..., Any]:
        WRONG.append((op, method))
        return method

    return add


@wrong("allocate")
def not_zeroed(right, size, dtype):
    return np.ones(size, dtype)


@wrong("take")
def the_row_before_the_last(right, data, index, scale=None, *, out=None):
    return right(data, np.minimum(index, len(data) - 2), scale, out=out)


@wrong("take")
def scaled_in_the_data_s_dtype(right, data, index, scale=None, *, out=None):
    if scale is None:
        return right(data, index, out=out)
    return right((data * scale).astype(data.dtype), index, scale / scale, out=out)


@wrong("capture")
def the_warm_up_is_an_extra_step(right, step, example_inputs):
    step(*example_inputs)
    return right(step, example_inputs)


@wrong("capture")
def inputs_frozen(right, step, example_inputs):
    return lambda *inputs: right(step, example_inputs)(*example_inputs)


@wrong("affine")
def the_activation_before_the_bias(right, x, w, b=None, *, activation=None, out=None):
    if b is None:
        return right(x, w, activation=activation, out=out)
    return np.add(right(x, w, activation=activation), b, out=out)


@wrong("affine_backward")
def the_mean_for_the_sum(right, dy, x, w, *, dx=None, dw=None, db=None):
    right(dy, x, w, dx=dx, dw=dw)
    if db is not None:
        np.mean(dy, axis=0, out=db)


@wrong("affine_backward")
def db_alone_forgotten(right, dy, x, w, *, dx=None, dw=None, db=None):
    if dx is not None or dw is not None:
        right(dy, x, w, dx=dx, dw=dw, db=db)


@wrong("activation")
def nan_becomes_zero(right, formula, x, *, out=None):
    return np.nan_to_num(right(formula, x, out=out), copy=False)


@wrong("activation")
def a_copy_for_out(right, formula, x, *, out=None):
    return right(formula, x, out=out).copy()


@wrong("activation_backward")
def negative_gradients_lost(right, formula, dy, x, y, *, out=None, db=None):
    return right(formula, np.where(dy > 0, dy, 0), x, y, out=out, db=db)


@wrong("activation_backward")
def db_of_all_rows_but_one(right, formula, dy, x, y, *, out=None, db=None):
    dx = right(formula, dy, x, y, out=out)
    if db is not None:
        np.sum(dx[1:], axis=0, out=db)
    return dx


@wrong("batch_norm")
def the_variance_in_one_pass(right, x, gamma, beta, hyper, *, out=None, mean=None, var=None):
    m = np.mean(x, axis=0)
    v = np.maximum(np.mean(x * x, axis=0) - m * m, 0)
    right(x, gamma, beta, hyper, mean=mean)
    if var is not None:
        var[...] = v
    y = (x - m) * (gamma / np.sqrt(v + hyper[0])) + beta
    return np.positive(y, out=out)


@wrong("batch_norm")
def the_unbiased_variance(right, x, gamma, beta, hyper, *, out=None, mean=None, var=None):
    y = right(x, gamma, beta, hyper, out=out, mean=mean, var=var)
    if var is not None:
        var *= x.dtype.type(len(x) / max(len(x) - 1, 1))
    return y


@wrong("batch_norm_backward")
def db_is_rounding_noise(right, *args, db=None, **kwargs):
    dx = right(*args, **kwargs)
    if db is not None:
        np.sum(dx, axis=0, out=db)
    return dx


@wrong("batch_norm_backward")
def added_to_dgamma(right, *args, dgamma=None, **kwargs):
    if dgamma is None:
        return right(*args, **kwargs)
    new = np.empty_like(dgamma)
    dx = right(*args, dgamma=new, **kwargs)
    dgamma += new
    return dx


@wrong("batch_norm_inference")
def eps_outside_the_root(right, x, gamma, beta, mean, var, hyper, *, out=None):
    return np.add((x - mean) * (gamma / (np.sqrt(var) + hyper[0])), beta, out=out)


@wrong("convolution")
def filters_turned_around(right, x, w, b=None, **settings):
    return right(x, w[:, :, ::-1, ::-1], b, **settings)


@wrong("convolution_backward")
def pixels_beyond_the_last_stride_unwritten(right, dy, x, w, *, stride=(1, 1), pad=(0, 0), dx=None, dw=None, db=None):
    before = None if dx is None else dx.copy()
    right(dy, x, w, stride=stride, pad=pad, dx=dx, dw=dw, db=db)
    if dx is not None:
        reached = (dy.shape[1] - 1) * stride[0] + w.shape[2] - pad[0]
        dx[:, reached:] = before[:, reached:]


@wrong("max_pooling")
def padded_with_zeros(right, x, *, size, stride, pad=(0, 0), out=None, index=None):
    if pad == (0, 0):
        return right(x, size=size, stride=stride, out=out, index=index)
    padded = np.pad(x, ((0, 0), (pad[0],) * 2, (pad[1],) * 2, (0, 0)))
    return right(padded, size=size, stride=stride, out=out, index=index)


@wrong("max_pooling")
def the_last_of_equals(right, x, *, size, stride, pad=(0, 0), out=None, index=None):
    y = right(x, size=size, stride=stride, pad=pad, out=out)
    if index is not None:
        right(x[:, ::-1, ::-1], size=size, stride=stride, pad=pad, index=index)
        index[...] = size[0] * size[1] - 1 - index[:, ::-1, ::-1]
    return y


@wrong("max_pooling")
def padding_where_all_is_minus_infinity(right, x, *, size, stride, pad=(0, 0), out=None, index=None):
    y = right(x, size=size, stride=stride, pad=pad, out=out, index=index)
    if index is not None:
        index[np.isneginf(y)] = 0
    return y


@wrong("max_pooling")
def no_index_of_nan(right, x, *, size, stride, pad=(0, 0), out=None, index=None):
    y = right(x, size=size, stride=stride, pad=pad, out=out, index=index)
    if index is not None:
        index[np.isnan(y)] = 0
    return y


@wrong("max_pooling_backward")
def overlapping_windows_overwritten(right, dy, index, *, shape, size, stride, pad=(0, 0), out=None):
    dx = right(dy, index, shape=shape, size=size, stride=stride, pad=pad, out=out)
    return np.minimum(dx, dy.max(), out=dx)


@wrong("average_pooling")
def padding_not_counted(right, x, *, size, stride, pad=(0, 0), out=None):
    settings = {"size": size, "stride": stride, "pad": pad}
    return np.divide(right(x, **settings), right(np.ones_like(x), **settings), out=out)


@wrong("average_pooling_backward")
def divided_by_the_width_alone(right, dy, *, shape, size, stride, pad=(0, 0), out=None):
    dx = right(dy, shape=shape, size=size, stride=stride, pad=pad, out=out)
    dx *= size[0]
    return dx


@wrong("swap_axes")
def reshaped_alone(right, x, *, out=None):
    y = x.reshape(x.shape[0], x.shape[2], x.shape[1])
    return np.positive(y, out=out)


@wrong("philox")
def the_key_s_high_word_unused(right, rng, size, row=1):
    return right(np.where(np.arange(len(rng)) == 1, 0, rng).astype(rng.dtype), size, row)


@wrong("philox")
def blocks_that_count_from_zero(right, rng, size, row=1):
    return np.resize(right(rng, min(size, 256), row), size)


@wrong("philox")
def every_part_begins_with_a_block(right, rng, size, row=1):
    first = int(rng[6]) * row // 4 * 4
    return right(np.array([*rng[:6], first], rng.dtype), size, 1) if first < 2**32 else right(rng, size, row)


@wrong("dropout")
def the_first_row_unread(right, x, rng, factor, *, out=None, mask=None):
    return right(x, np.array([*rng[:6], 0], rng.dtype), factor, out=out, mask=mask)


@wrong("dropout")
def the_word_at_the_threshold_dropped(right, x, rng, factor, *, out=None, mask=None):
    return right(x, rng + (np.arange(len(rng)) == 5).astype(rng.dtype), factor, out=out, mask=mask)


@wrong("dropout_backward")
def the_mask_inverted(right, dy, mask, factor, *, out=None, db=None):
    return right(dy, ~mask, factor, out=out, db=db)


@wrong("softmax")
def the_maximum_of_all_rows(right, x, *, out=None):
    e = np.exp(x - np.max(x))
    return np.divide(e, np.sum(e, axis=1, keepdims=True), out=out)


@wrong("softmax_cross_entropy")
def labels_cut_to_32_bits(right, z, t, **kwargs):
    return right(z, t.astype(np.int32).astype(np.int64) if t.ndim == 1 else t, **kwargs)


@wrong("softmax_cross_entropy")
def labels_below_zero_counted_from_the_end(right, z, t, **kwargs):
    return right(z, np.where((t < 0) & (t >= -z.shape[1]), t + z.shape[1], t) if t.ndim == 1 else t, **kwargs)


@wrong("softmax_cross_entropy")
def the_log_of_an_underflow(right, z, t, *, weight=None, bias=None, dz=None, db=None):
    loss = right(z, t, weight=weight, bias=bias, dz=dz, db=db)
    if t.ndim == 1 or weight is not None:
        return loss
    y = z if bias is None else z + bias
    e = np.exp(y - np.max(y, axis=1, keepdims=True))
    return -np.sum(t * np.log(e / np.sum(e, axis=1, keepdims=True))) / z.dtype.type(len(z))


@wrong("loss")
def weights_not_in_the_gradient(right, formula, z, t, hyper=None, *, weight=None, dz=None, db=None, **kwargs):
    right(formula, z, t, hyper, dz=dz, db=db, **kwargs)
    return right(formula, z, t, hyper, weight=weight, **kwargs)


@wrong("loss")
def the_mean_over_all_elements(right, formula, z, t, hyper=None, **kwargs):
    return right(formula, z, t, hyper, **kwargs) / z.dtype.type(z.shape[1])


@wrong("count_correct")
def the_last_maximum(right, y, t):
    last = y.shape[1] - 1
    return right(y[:, ::-1], last - (t if t.ndim == 1 else np.argmax(t, axis=1)))


@wrong("sum_squares")
def the_tail_skipped(right, x):
    return right(x[: max(1, x.size // 4 * 4)])


@wrong("global_norm")
def the_root_missing(right, x):
    return np.sum(x * x)


@wrong("narrow")
def cut_off_instead_of_rounded(right, x, precision, *, out=None):
    toward_zero = (x.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    return right(toward_zero if precision == "bfloat16" else x, precision, out=out)


@wrong("rescale_")
def by_the_count_of_steps(right, x, scaling):
    right(x, scaling[::-1].copy())


@wrong("rescale_")
def one_element_too_far(right, x, scaling):
    right(x, scaling)
    if x.ndim == 1 and x.flags.c_contiguous:
        beyond = np.lib.stride_tricks.as_strided(x, (x.size + 1,))
        beyond[x.size :] *= scaling[0]


@wrong("unscale_")
def one_step_late(right, hyper, norm, scaling):
    scaling[2] += 1
    right(hyper, norm, scaling)
    scaling[2] -= 1


@wrong("clip_")
def small_gradients_made_larger(right, hyper, norm, limit):
    hyper[-1] = limit / np.maximum(norm, np.finfo(norm.dtype).tiny)


@wrong("update_")
def decay_one_too_far(right, formula, hyper, *arrays, decay=0, guard=None):
    right(formula, hyper, *arrays, decay=decay + 1, guard=guard)


@wrong("update_")
def an_infinite_guard_passes(right, formula, hyper, *arrays, decay=0, guard=None):
    right(formula, hyper, *arrays, decay=decay, guard=guard if guard is None or np.isnan(guard) else None)


@wrong("update_")
def the_state_forgotten(right, formula, hyper, *arrays, decay=0, guard=None):
    right(formula, hyper, arrays[0], arrays[1], *[a.copy() for a in arrays[2:]], decay=decay, guard=guard)


@wrong("update_")
def strided_arrays_updated_in_a_copy(right, formula, hyper, *arrays, decay=0, guard=None):
    right(formula, hyper, *map(np.ascontiguousarray, arrays), decay=decay, guard=guard)


def test_every_operation_has_a_wrong_method():
    assert {op for op, _ in WRONG} == set(spec.OPERATIONS)


def check_all(ops: Ops, op: str) -> None:
    for check in testing.checks([op]):
        check.run(ops)


@pytest.mark.filterwarnings("ignore")  # what is wrong may overflow
@pytest.mark.parametrize(("op", "method"), [pytest.param(op, m, id=f"{op}-{m.__name__}") for op, m in WRONG])
def test_the_kit_finds_and_names(op, method):
    right = partial(getattr(spec, op), Ops(MembersOnly()))
    backend = type("Wrong", (MembersOnly,), {op: lambda self, *args, **kwargs: method(right, *args, **kwargs)})()
    ops = Ops(backend)
    with pytest.raises(AssertionError, match=rf"^{op}\["):
        check_all(ops, op)


@pytest.mark.long
def test_the_compositions_pass_as_a_backend_of_their_own():
    backend = MembersOnly()
    for op in spec.OPERATIONS:
        setattr(backend, op, partial(getattr(spec, op), Ops(MembersOnly())))
    report = testing.run(backend)
    assert report.ok, str(report)
    assert report.explanation.fused == spec.OPERATIONS
