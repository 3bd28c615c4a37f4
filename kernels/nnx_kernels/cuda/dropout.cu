// Random words, and dropout by them (Srivastava et al. 2014). A thread has the four words of a block.
#include "columns.cuh"
#include "elementwise.cuh"
#include "philox.cuh"

// Four elements of an array of n, from `first` on: a vector where the array is aligned, but for its end.
template <class T>
__device__ __forceinline__ Vector<T, 4> load_four(const T *__restrict__ x, index_t first, index_t n) {
  if (aligned<4>(x) && first + 4 <= n) return *vectors<4>(x + first);
  Vector<T, 4> four;
#pragma unroll
  for (int k = 0; k < 4; k++) four.of[k] = first + k < n ? x[first + k] : T(0);
  return four;
}
template <class T>
__device__ __forceinline__ void store_four(Vector<T, 4> four, T *__restrict__ y, index_t first, index_t n) {
  if (aligned<4>(y) && first + 4 <= n) {
    *vectors<4>(y + first) = four;
  } else {
#pragma unroll
    for (int k = 0; k < 4; k++)
      if (first + k < n) y[first + k] = four.of[k];
  }
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    philox(const unsigned *__restrict__ rng, unsigned *__restrict__ words, index_t row, index_t n) {
  Philox stream(rng);
  index_t first = rng[6] * row;
  for (index_t i = global_thread(); 4 * i < n; i += all_threads()) store_four(stream.from(first + 4 * i), words, 4 * i, n);
}

// Products, not choices: NaN stays NaN where it is dropped, too.
__device__ __forceinline__ REAL dropped(REAL x, bool kept, REAL factor) { return x * (kept ? factor : REAL(0)); }

// kept = word >= rng[5], y = x * kept * factor. mask, where not null, receives what was kept. A row has so many elements;
// the first is that of the row rng[6].
extern "C" __global__ void __launch_bounds__(BLOCK)
    dropout(const REAL *__restrict__ x, const unsigned *__restrict__ rng, const REAL *__restrict__ factor,
            REAL *__restrict__ y, bool *__restrict__ mask, index_t row, index_t n) {
  Philox stream(rng);
  unsigned threshold = rng[5];
  index_t first = rng[6] * row;
  REAL by = *factor;
  for (index_t i = global_thread(); 4 * i < n; i += all_threads()) {
    Vector<REAL, 4> four = load_four(x, 4 * i, n);
    Words words = stream.from(first + 4 * i);
    Vector<bool, 4> kept;
#pragma unroll
    for (int k = 0; k < 4; k++) {
      kept.of[k] = words.of[k] >= threshold;
      four.of[k] = dropped(four.of[k], kept.of[k], by);
    }
    store_four(four, y, 4 * i, n);
    if (mask) store_four(kept, mask, 4 * i, n);
  }
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    dropout_backward(const REAL *__restrict__ dy, const bool *__restrict__ mask, const REAL *__restrict__ factor,
                     REAL *__restrict__ dx, index_t n) {
  REAL by = *factor;
  map([=](REAL v, bool kept) { return dropped(v, kept, by); }, n, dx, dy, mask);
}

// With `sums`: (gridDim.y, c), whose column sums are dx's.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    dropout_backward_sums(const REAL *__restrict__ dy, const bool *__restrict__ mask, const REAL *__restrict__ factor,
                          REAL *__restrict__ dx, REAL *__restrict__ sums, index_t n, index_t c, int width) {
  REAL by = *factor;
  map_and_sum([=](REAL v, bool kept) { return dropped(v, kept, by); }, dx, sums, n, c, width, dy, mask);
}
