// One element of each array at a time, whatever the shape; memory-bound, so by packs where all arrays are aligned.
#include "common.cuh"

// y = f(x...).
template <class F, class... X>
__device__ __forceinline__ void map(F f, index_t n, REAL *__restrict__ y, const X *__restrict__... x) {
  index_t packs = aligned(y) && (aligned(x) && ...) ? n / WIDTH : 0;
  auto of_packs = [&](auto... in) {
    Pack out;
#pragma unroll
    for (int k = 0; k < WIDTH; k++) out.of[k] = f(in.of[k]...);
    return out;
  };
  for (index_t i = global_thread(); i < packs; i += all_threads()) vectors(y)[i] = of_packs(vectors(x)[i]...);
#pragma unroll 1  // unrolled, a 64-bit division would count the rounds
  for (index_t i = packs * WIDTH + global_thread(); i < n; i += all_threads()) y[i] = f(x[i]...);
}

// f(i, g[i], p[i]...) for each place i; it changes p...
template <class F, class... P>
__device__ __forceinline__ void update(F f, index_t n, const REAL *__restrict__ g, P *__restrict__... p) {
  index_t packs = aligned(g) && (aligned(p) && ...) ? n / WIDTH : 0;
  for (index_t i = global_thread(); i < packs; i += all_threads()) {
    Pack in = vectors(g)[i];
    auto by_packs = [&](auto... pack) {
#pragma unroll
      for (int k = 0; k < WIDTH; k++) f(i * WIDTH + k, in.of[k], pack.of[k]...);
      ((vectors(p)[i] = pack), ...);
    };
    by_packs(vectors(p)[i]...);
  }
#pragma unroll 1  // unrolled, a 64-bit division would count the rounds
  for (index_t i = packs * WIDTH + global_thread(); i < n; i += all_threads()) f(i, g[i], p[i]...);
}
