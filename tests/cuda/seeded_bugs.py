"""Bugs to sow into the kernels and the code that launches them, one at a time: the kit has to find every one of them.

As in tests/conformance/seeded_bugs.py, each replaces a snippet, found exactly once in a file, by a wrong one. None
reads or writes far outside an array: the emulator runs in the tests' own process.
"""

from typing import NamedTuple


class Bug(NamedTuple):
    op: str
    what: str
    file: str  # a kernel source, or a module of nnx_cupy
    right: str
    wrong: str


BUGS = [
    # What kernels share
    Bug("sum_squares", "warps not waited for", "block.cuh", "= value;\n  __syncthreads();", "= value;"),
    Bug(
        "count_correct",
        "an earlier call's values overwritten",
        "block.cuh",
        "  __syncthreads();  // an earlier call's values have been read\n  if (threadIdx.x % 32 == 0)",
        "  if (threadIdx.x % 32 == 0)",
    ),
    Bug("softmax", "neighbouring lanes not merged", "block.cuh", "int offset = 1; offset", "int offset = 2; offset"),
    Bug("mean_squared_error", "sums of the first warp only", "block.cuh", "of_warp[threadIdx.x % warps]", "of_warp[0]"),
    Bug(
        "batch_norm",
        "barrier missing in the tree",
        "block.cuh",
        "    __syncthreads();\n    if (tile.row + half",
        "    if (tile.row + half",
    ),
    Bug(
        "batch_norm_backward",
        "read before it is merged",
        "block.cuh",
        "  __syncthreads();\n  return partial",
        "  return partial",
    ),
    Bug("batch_norm", "odd rows lost", "block.cuh", "(left + 1) / 2", "left / 2"),
    Bug(
        "relu_backward",
        "barrier missing in the column sums",
        "columns.cuh",
        "      __syncthreads();\n      if (row + half",
        "      if (row + half",
    ),
    Bug("sigmoid_backward", "odd rows lost", "columns.cuh", "(left + 1) / 2", "left / 2"),
    Bug(
        "tanh_backward",
        "one row too many",
        "columns.cuh",
        "if (i + k * step < end) use",
        "if (i + k * step <= end) use",
    ),
    Bug("relu_backward", "columns beyond the last", "columns.cuh", "row < rows && column < c", "row < rows"),
    Bug(
        "sigmoid",
        "last element left out",
        "elementwise.cuh",
        "i < n; i += all_threads()) y[i]",
        "i < n - 1; i += all_threads()) y[i]",
    ),
    Bug("momentum_", "packs counted as elements", "elementwise.cuh", "f(i * WIDTH + k,", "f(i + k,"),
    Bug("philox", "the keys' increments swapped", "philox.cuh", "k1 += 0xBB67AE85", "k1 += 0x9E3779B9"),
    Bug("philox", "counter in the wrong order", "philox.cuh", "c1 = layer, c2 = step_low", "c1 = step_low, c2 = layer"),
    # Element by element
    Bug("relu", "NaN becomes 0", "activation.cu", "v < 0 ? REAL(0) : v", "v > 0 ? v : REAL(0)"),
    Bug("sigmoid", "overflow", "activation.cu", "1 / (1 + exp(-v))", "exp(v) / (1 + exp(v))"),
    Bug("affine", "bias of the wrong sign", "bias.cu", "y[i] = v + bias", "y[i] = v - bias"),
    Bug("affine_relu", "bias after ReLU", "bias.cu", "v < 0 ? 0 : v", "v - bias < 0 ? bias : v"),
    Bug("dropout", "threshold dropped", "dropout.cu", "words.of[k] >= threshold", "words.of[k] > threshold"),
    Bug("dropout", "written beyond the end", "dropout.cu", "aligned<4>(y) && first + 4 <= n", "aligned<4>(y)"),
    Bug("philox_uniform", "one bit lost", "dropout.cu", "words.of[k] >> 8", "words.of[k] >> 9 << 1"),
    Bug("take", "a unit that is no divisor", "gather.cu", "all % 8 == 0", "all % 4 == 0"),
    Bug("take", "vectors across rows", "gather.cu", "length % WIDTH == 0 && aligned(data)", "aligned(data)"),
    Bug("affine", "half of the lanes not added", "product.cu", "int o = 16; o;", "int o = 8; o;"),
    # Mixed precision
    Bug("narrow", "ties away from zero", "narrow.cu", "0x7fff + (bits >> 16 & 1)", "0x8000"),
    Bug("narrow", "ties of float16 away from zero", "narrow.cu", "0xfff + (size >> 13 & 1)", "0x1000"),
    Bug("narrow", "the least numbers become 0", "narrow.cu", "(bits_of(fabsf(v) + 0.5f) - bits_of(0.5f))", "0"),
    Bug("narrow", "infinity too late", "narrow.cu", "size >= 0x477ff000", "size >= 0x7f800000"),
    Bug(
        "narrow",
        "last element left out",
        "narrow.cu",
        "i < n; i += all_threads()) y[i]",
        "i < n - 1; i += all_threads()) y[i]",
    ),
    Bug("narrow", "products of the bits", "product.cu", "return float_of((unsigned)bits << 16)", "return bits"),
    Bug("narrow", "sign lost", "product.cu", "return float_of(sign | 0x3f800000) * v", "return v"),
    Bug("narrow", "the wrong format", "_precision", 'f"narrow_{precision}"', '"narrow_bfloat16"'),
    Bug(
        "rescale_",
        "one block only",
        "scaling.cu",
        "i < n; i += all_threads()) x[i] *=",
        "i < blockDim.x; i += n) x[i] *=",
    ),
    Bug("unscale_", "one step late", "scaling.cu", "++scaling[1] >= scaling[2]", "scaling[1]++ >= scaling[2]"),
    Bug("unscale_", "below 1", "scaling.cu", "fmax(scale / 2, REAL(1))", "scale / 2"),
    Bug("unscale_", "the wrong entry", "scaling.cu", "hyper[length - 1] /=", "hyper[length - 2] /="),
    Bug("unscale_", "arguments swapped", "_precision", "(hyper, norm, scaling,", "(norm, hyper, scaling,"),
    # Optimizers
    Bug("sgd_", "an infinite guard passes", "optimizer.cu", "*guard - *guard == 0", "*guard == *guard"),
    Bug("nesterov_", "decay one too far", "optimizer.cu", "return i < decay ?", "return i <= decay ?"),
    Bug("adam_", "the first moment's share", "optimizer.cu", "v += share2", "v += share1"),
    Bug("adamw_", "decay has no effect", "optimizer.cu", "p = start - step", "p -= step"),
    Bug(
        "clip_",
        "the wrong entry",
        "optimizer.cu",
        "  hyper[length - 1] = grad_scale",
        "  hyper[length - 2] = grad_scale",
    ),
    # Losses, normalization, counts
    Bug("softmax_cross_entropy", "one row too many", "softmax.cu", "row < end ? c : 0", "row <= end ? c : 0"),
    Bug(
        "softmax_cross_entropy",
        "rows left out of the column sums",
        "softmax.cu",
        "i < n; i += 32) column",
        "i < n; i += 64) column",
    ),
    Bug("softmax_cross_entropy", "label c counts as one", "softmax.cu", "|| label >= c) sum", "|| label > c) sum"),
    Bug(
        "softmax",
        "not rescaled to a new maximum",
        "softmax.cu",
        "    if (top > all.top) all.sum *= exp(all.top - top);\n",
        "",
    ),
    Bug(
        "softmax",
        "the rest of a row left out",
        "softmax.cu",
        "if (in_row(j + k, c)) row[j + k] =",
        "if (j + WIDTH <= c) row[j + k] =",
    ),
    Bug("softmax", "the first of a row left out", "softmax.cu", "return j >= 0 && j < c", "return j > 0 && j < c"),
    Bug("softmax", "the row before written", "softmax.cu", "packs && j >= 0 && j + WIDTH <= c) *", "j + WIDTH <= c) *"),
    Bug("softmax", "kept in the wrong place", "softmax.cu", "held[(j + skew) / WIDTH] = v", "held[j / WIDTH] = v"),
    Bug("softmax_cross_entropy", "the first row's weight", "softmax.cu", "weight[blockIdx.x]", "weight[0]"),
    Bug("softmax_cross_entropy", "weights of other rows", "softmax.cu", "? weight[row] *", "? weight[base] *"),
    Bug("mean_squared_error", "not halved", "loss.cu", "difference * difference / 2", "difference * difference"),
    Bug("mean_squared_error", "weights of the first rows", "loss.cu", "weight[row]", "weight[tile.row]"),
    Bug(
        "mean_squared_error",
        "weights not in the column sums",
        "loss.cu",
        "sum += at.gradient * w",
        "sum += at.gradient * share",
    ),
    Bug("sigmoid_cross_entropy", "overflow", "loss.cu", "exp(-fabs(y))", "exp(-y)"),
    Bug("poisson_deviance", "logarithm of 0", "loss.cu", "log(t > 0 ? t : REAL(1))", "log(t)"),
    Bug(
        "mean_squared_error",
        "blocks overwrite each other's part",
        "loss.cu",
        "loss[blockIdx.y * (index_t)gridDim.x + blockIdx.x]",
        "loss[blockIdx.y]",
    ),
    Bug("batch_norm", "squares around the first row", "batch_norm.cu", "squares - sum * offset", "squares"),
    Bug(
        "batch_norm",
        "merged with the wrong weight",
        "batch_norm.cu",
        "apart * apart * a.count * share",
        "apart * apart * share",
    ),
    Bug("batch_norm_backward", "not centred", "batch_norm.cu", "- (in.x - centre) * slope", "- in.x * slope"),
    Bug(
        "batch_norm_inference",
        "mean not subtracted",
        "batch_norm.cu",
        "y[i] = (v - mean) * factor",
        "y[i] = v * factor",
    ),
    Bug(
        "global_norm",
        "first part left out",
        "reduce.cu",
        "index_t i = threadIdx.x; i < n",
        "index_t i = threadIdx.x + 1; i < n",
    ),
    Bug(
        "sum_squares",
        "tail left out",
        "reduce.cu",
        "packs * WIDTH + global_thread(); i < n",
        "packs * WIDTH + global_thread(); i < packs",
    ),
    Bug("count_correct", "the last maximum", "reduce.cu", "equal && b.at < a.at", "equal && b.at > a.at"),
    Bug("count_correct", "the last row counted again", "reduce.cu", "&& lane == 0 && base + group < n", "&& lane == 0"),
    # Launches
    Bug("relu_backward", "arguments swapped", "_activation", "name, (dy, y), out", "name, (y, dy), out"),
    Bug(
        "dropout_backward",
        "last columns left out",
        "_bias",
        "= -(-c // width) or 1, chunks",
        "= c // width or 1, chunks",
    ),
    Bug("take", "elements for bytes", "_gather", "size(row_bytes)", "size(length)"),
    Bug("take", "the last rows left out", "_gather", "-(-n // (BLOCK // lanes)) or 1", "n // (BLOCK // lanes) or 1"),
    Bug("take", "arguments swapped", "_gather", "(data, index, scale, rows,", "(data, index, rows, scale,"),
    Bug("rmsprop_", "one element short", "_optimizers", "size(p.size)", "size(p.size - 1)"),
    Bug("softmax", "grid rounded down", "_losses", "(-(-n // rows),), (threads,)", "(n // rows,), (threads,)"),
    Bug(
        "softmax_cross_entropy",
        "arguments swapped",
        "_losses",
        "(z, bias, labels, targets, weight, dz, loss)",
        "(z, bias, targets, labels, weight, dz, loss)",
    ),
    Bug(
        "softmax_cross_entropy",
        "sums of another array",
        "_losses",
        "self._column_sums(dz, db)",
        "self._column_sums(z, db)",
    ),
    Bug("mean_squared_error", "a Python number", "_losses", "size(c), np.int32(width))", "size(c), width)"),
    Bug(
        "batch_norm_backward",
        "arguments swapped",
        "_batch_norm",
        "gamma, mean, var, hyper, dx",
        "gamma, var, mean, hyper, dx",
    ),
    Bug(
        "global_norm",
        "one part short",
        "_reduce",
        "(parts, out, size(parts.size))",
        "(parts, out, size(parts.size - 1))",
    ),
]
