// Softmax, and its cross-entropy with the gradient, which is softmax - target: one pass for both.
//
// The row is z + bias. Its target: one at the label, or a row of probabilities, or none. Written, each only if given:
// dz = (softmax - target) * share, with share = 1 / n, times the row's weight if there are any, beside a loss and 1
// without; loss, one part of it for each block.
// A label outside 0..c-1 makes the loss NaN, and is no index.
#include "block.cuh"

// As in nnx_cupy/_losses.py: threads of the largest block, and what a lane holds of a row of few classes.
constexpr int WIDEST = 4096 / sizeof(REAL), HELD = 32 / sizeof(REAL);

struct Maximum {  // of the numbers: it leaves NaN out
  __device__ REAL operator()(REAL a, REAL b) const { return fmax(a, b); }
};

// The lowest number, where a maximum starts: from -inf on, exp(-inf - -inf) would be NaN.
constexpr REAL LOWEST = sizeof(REAL) == 4 ? -3.4028234663852886e38 : -1.7976931348623157e308;

// Few classes ---------------------------------------------------------------------------------------------------------

// `lanes` threads, a power of two up to 32, hold a row in their registers; a block does `rows` rows. db, the column
// sums of dz, is for one block that does all, beside a loss.
extern "C" __global__ void __launch_bounds__(WIDEST)
    softmax_few(const REAL *__restrict__ z, const REAL *__restrict__ bias, const index_t *__restrict__ labels,
                const REAL *__restrict__ targets, const REAL *__restrict__ weight, REAL *__restrict__ dz,
                REAL *__restrict__ db, REAL *__restrict__ loss, index_t n, index_t c, int lanes, index_t rows) {
  int groups = blockDim.x / lanes, lane = threadIdx.x % lanes;
  index_t end = min((blockIdx.x + 1) * rows, n);
  REAL of_rows = loss ? 1 / REAL(n) : REAL(1), sum = 0;
  for (index_t base = blockIdx.x * rows; base < end; base += groups) {
    index_t row = base + threadIdx.x / lanes, label = labels && row < end ? labels[row] : 0;
    int held = row < end ? c : 0;  // rows beyond the end are empty: all lanes take part in the merging
    const REAL *in = z + row * c;
    REAL share = weight && row < end ? weight[row] * of_rows : of_rows;
    REAL v[HELD], e[HELD], top = LOWEST, total = 0;
#pragma unroll
    for (int k = 0; k < HELD; k++) {
      int j = lane + k * lanes;
      v[k] = j < held ? in[j] : 0;
      if (bias && j < held) v[k] += bias[j];
      if (j < held) top = fmax(top, v[k]);
    }
    top = over_lanes(top, Maximum(), lanes);
#pragma unroll
    for (int k = 0; k < HELD; k++) {
      v[k] -= top;
      e[k] = lane + k * lanes < held ? exp(v[k]) : 0;
      total += e[k];
    }
    total = over_lanes(total, Sum(), lanes);
    REAL scale = share / total, log_total = log(total);
#pragma unroll
    for (int k = 0; k < HELD; k++) {
      int j = lane + k * lanes;
      if (j >= held) break;
      REAL target = targets ? targets[row * c + j] : REAL(labels && j == label);
      // log(softmax) would be -inf where softmax underflows
      if (target != 0) sum += target * (log_total - v[k]) * share;
      if (dz) dz[row * c + j] = e[k] * scale - target * share;
    }
    if (label < 0 || label >= c) sum = nan("");
  }
  if (!loss) return;
  sum = over_block(sum, Sum());
  if (threadIdx.x == 0) loss[blockIdx.x] = sum;
  if (!db) return;
  for (int j = threadIdx.x / 32; j < c; j += blockDim.x / 32) {  // dz is complete: over_block has waited for all
    REAL column = 0;
    for (index_t i = threadIdx.x % 32; i < n; i += 32) column += dz[i * c + j];
    column = over_lanes(column, Sum());
    if (threadIdx.x % 32 == 0) db[j] = column;
  }
}

// Many classes --------------------------------------------------------------------------------------------------------

// How many elements after a multiple of 16 bytes.
__device__ __forceinline__ int skew_of(const REAL *p) {
  return int(reinterpret_cast<unsigned long long>(p) / sizeof(REAL) % WIDTH);
}
__device__ __forceinline__ bool in_row(index_t j, index_t c) { return j >= 0 && j < c; }

// The row's elements from j on, which may be before or beyond its ends: one load where `packs` are aligned.
__device__ __forceinline__ Pack load(const REAL *__restrict__ row, index_t j, index_t c, bool packs) {
  if (packs && j >= 0 && j + WIDTH <= c) return *vectors(row + j);
  Pack out;
#pragma unroll
  for (int k = 0; k < WIDTH; k++) out.of[k] = in_row(j + k, c) ? row[j + k] : 0;
  return out;
}
__device__ __forceinline__ void store(REAL *__restrict__ row, index_t j, index_t c, bool packs, Pack value) {
  if (packs && j >= 0 && j + WIDTH <= c) *vectors(row + j) = value;
  else
#pragma unroll
    for (int k = 0; k < WIDTH; k++)
      if (in_row(j + k, c)) row[j + k] = value.of[k];
}

// sum(exp(z - top)) of what has been seen, top its maximum (Milakov & Gimelshein 2018).
struct Exponentials {
  REAL top, sum;
};
struct SumExponentials {
  __device__ Exponentials operator()(Exponentials a, Exponentials b) const {
    REAL top = fmax(a.top, b.top);
    REAL sum = a.sum * exp(a.top - top) + b.sum * exp(b.top - top);
    return {top, sum};
  }
};

// A block for each row; loss: (n,). staged: the shared memory has room for the row, which then is read but once. The
// packs begin where memory is aligned, up to WIDTH - 1 elements before the row: a row of any length starts anywhere.
extern "C" __global__ void __launch_bounds__(WIDEST)
    softmax_many(const REAL *__restrict__ z, const REAL *__restrict__ bias, const index_t *__restrict__ labels,
                 const REAL *__restrict__ targets, const REAL *__restrict__ weight, REAL *__restrict__ dz,
                 REAL *__restrict__ loss, index_t n, index_t c, int staged) {
  DYN_SHARED(Pack, held);
  index_t start = blockIdx.x * c;
  z += start;
  if (targets) targets += start;
  if (dz) dz += start;
  int skew = skew_of(z);
  index_t first = threadIdx.x * (index_t)WIDTH - skew, step = blockDim.x * (index_t)WIDTH;
  bool bias_packs = skew_of(bias) == skew, target_packs = skew_of(targets) == skew, dz_packs = skew_of(dz) == skew;
  auto logits = [&](index_t j) {
    Pack v = load(z, j, c, true);
    if (bias) {
      Pack b = load(bias, j, c, bias_packs);
#pragma unroll
      for (int k = 0; k < WIDTH; k++) v.of[k] += b.of[k];
    }
    return v;
  };

  Exponentials all = {LOWEST, 0};
  for (index_t j = first; j < c; j += step) {
    Pack v = logits(j);
    if (staged) held[(j + skew) / WIDTH] = v;
    REAL top = all.top;
#pragma unroll
    for (int k = 0; k < WIDTH; k++)
      if (in_row(j + k, c)) top = fmax(top, v.of[k]);
    if (top > all.top) all.sum *= exp(all.top - top);
    all.top = top;
#pragma unroll
    for (int k = 0; k < WIDTH; k++)
      if (in_row(j + k, c)) all.sum += exp(v.of[k] - top);
  }
  all = over_block(all, SumExponentials());

  REAL share = loss ? 1 / REAL(n) : REAL(1), log_total = log(all.sum), part = 0;
  if (weight) share *= weight[blockIdx.x];
  REAL scale = share / all.sum;
  index_t label = labels ? labels[blockIdx.x] : -1;
  for (index_t j = first; j < c; j += step) {
    Pack v = staged ? held[(j + skew) / WIDTH] : logits(j), target = {};
    if (targets) target = load(targets, j, c, target_packs);
    Pack gradient;
#pragma unroll
    for (int k = 0; k < WIDTH; k++) {
      REAL shifted = v.of[k] - all.top, t = targets ? target.of[k] : REAL(j + k == label);
      if (t != 0) part += t * (log_total - shifted);  // log(softmax) would be -inf where softmax underflows
      gradient.of[k] = exp(shifted) * scale - t * share;
    }
    if (dz) store(dz, j, c, dz_packs, gradient);
  }
  if (!loss) return;
  part = over_block(part, Sum());
  if (labels && (label < 0 || label >= c)) part = nan("");
  if (threadIdx.x == 0) loss[blockIdx.x] = part * share;
}
