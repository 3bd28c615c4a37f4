// Reductions to one number.
#include "block.cuh"

// partial[block] = its part of sum(x**2).
extern "C" __global__ void __launch_bounds__(BLOCK)
    sum_squares(const REAL *__restrict__ x, REAL *__restrict__ partial, index_t n) {
  index_t packs = aligned(x) ? n / WIDTH : 0;
  REAL sum = 0;
#pragma unroll 4
  for (index_t i = global_thread(); i < packs; i += all_threads()) {
    Pack in = vectors(x)[i];
#pragma unroll
    for (int k = 0; k < WIDTH; k++) sum += in.of[k] * in.of[k];
  }
  for (index_t i = packs * WIDTH + global_thread(); i < n; i += all_threads()) sum += x[i] * x[i];
  sum = over_block(sum, Sum());
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__device__ __forceinline__ REAL sum_by_one_block(const REAL *__restrict__ x, index_t n) {
  REAL sum = 0;
  for (index_t i = threadIdx.x; i < n; i += blockDim.x) sum += x[i];
  return over_block(sum, Sum());
}

// By one block: what the blocks of another launch have left.
extern "C" __global__ void __launch_bounds__(1024)
    total(const REAL *__restrict__ partial, REAL *__restrict__ out, index_t n) {
  REAL sum = sum_by_one_block(partial, n);
  if (threadIdx.x == 0) *out = sum;
}
extern "C" __global__ void __launch_bounds__(1024)
    root_of_total(const REAL *__restrict__ partial, REAL *__restrict__ out, index_t n) {
  REAL sum = sum_by_one_block(partial, n);
  if (threadIdx.x == 0) *out = sqrt(sum);
}

struct Best {
  REAL value;
  index_t at;
};
struct FirstMaximum {  // a NaN counts as the maximum
  __device__ Best operator()(Best a, Best b) const {
    bool nan_a = a.value != a.value, nan_b = b.value != b.value;
    bool equal = a.value == b.value || (nan_a && nan_b);
    bool greater = b.value > a.value || (nan_b && !nan_a);
    return greater || (equal && b.at < a.at) ? b : a;
  }
};

// correct += the rows of y: (n, c) whose first maximum is at the label, or at the first maximum of the row of targets.
// `lanes` threads for each row, no more than it has elements: a power of two up to 32, or the whole block. Counted by
// integers, in any order.
extern "C" __global__ void __launch_bounds__(BLOCK)
    count_correct(const REAL *__restrict__ y, const index_t *__restrict__ labels, const REAL *__restrict__ targets,
                  index_t *correct, index_t n, index_t c, int lanes) {
  int groups = blockDim.x / lanes, group = threadIdx.x / lanes, lane = threadIdx.x % lanes;
  auto first_maximum = [&](const REAL *row) {
    FirstMaximum merge;
    Best best = {row[lane], lane};
    for (index_t j = lane + lanes; j < c; j += lanes) best = merge(best, {row[j], j});
    return (groups == 1 ? over_block(best, merge) : over_lanes(best, merge, lanes)).at;
  };
  index_t count = 0;
  for (index_t base = blockIdx.x * (index_t)groups; base < n; base += gridDim.x * (index_t)groups) {
    index_t row = min(base + group, n - 1);  // the last groups repeat a row: all lanes take part in the merging
    index_t wanted = labels ? labels[row] : first_maximum(targets + row * c);
    count += first_maximum(y + row * c) == wanted && lane == 0 && base + group < n;
  }
  count = over_block(count, Sum());
  if (threadIdx.x == 0) atomicAdd(reinterpret_cast<unsigned long long *>(correct), count);
}
