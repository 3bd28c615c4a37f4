// Rows of a data set: the gather of a batch.
#include "common.cuh"

// visit(row, unit) for a batch's rows of `units` each, `lanes` threads to a row; lanes divides BLOCK.
template <class Visit>
__device__ __forceinline__ void each_unit(index_t n, index_t units, int lanes, Visit visit) {
  index_t row = blockIdx.x * (index_t)(BLOCK / lanes) + threadIdx.x / lanes;
  if (row >= n) return;
#pragma unroll 1  // unrolled, a 64-bit division would count the rounds
  for (index_t i = blockIdx.y * (index_t)lanes + threadIdx.x % lanes; i < units; i += gridDim.y * (index_t)lanes)
    visit(row, i);
}

template <class Unit>
__device__ __forceinline__ void copy(const void *data, const index_t *__restrict__ index, void *out, index_t n,
                                     index_t row_bytes, int lanes) {
  const Unit *__restrict__ from = static_cast<const Unit *>(data);
  Unit *__restrict__ to = static_cast<Unit *>(out);
  index_t units = row_bytes / sizeof(Unit);
  each_unit(n, units, lanes, [&](index_t row, index_t i) { to[row * units + i] = from[index[row] * units + i]; });
}

// out = data[index], whatever the dtype: in the largest unit that rows and pointers are multiples of.
extern "C" __global__ void __launch_bounds__(BLOCK)
    take(const void *__restrict__ data, const index_t *__restrict__ index, void *__restrict__ out, index_t n,
         index_t row_bytes, int lanes) {
  unsigned long long all =
      reinterpret_cast<unsigned long long>(data) | reinterpret_cast<unsigned long long>(out) | row_bytes;
  if (all % 16 == 0)
    copy<Vector<unsigned, 4>>(data, index, out, n, row_bytes, lanes);
  else if (all % 8 == 0)
    copy<unsigned long long>(data, index, out, n, row_bytes, lanes);
  else if (all % 4 == 0)
    copy<unsigned>(data, index, out, n, row_bytes, lanes);
  else
    copy<unsigned char>(data, index, out, n, row_bytes, lanes);
}

// out = data[index] * scale, from bytes or REAL.
template <class T>
__device__ __forceinline__ void scaled(const T *__restrict__ data, const index_t *__restrict__ index, REAL scale,
                                       REAL *__restrict__ out, index_t n, index_t length, int lanes) {
  if (length % WIDTH == 0 && aligned(data) && aligned(out)) {
    index_t packs = length / WIDTH;
    each_unit(n, packs, lanes, [&](index_t row, index_t i) {
      Vector<T, WIDTH> in = vectors(data)[index[row] * packs + i];
      Pack pack;
#pragma unroll
      for (int k = 0; k < WIDTH; k++) pack.of[k] = REAL(in.of[k]) * scale;
      vectors(out)[row * packs + i] = pack;
    });
  } else {
    each_unit(n, length, lanes, [&](index_t row, index_t i) {
      out[row * length + i] = REAL(data[index[row] * length + i]) * scale;
    });
  }
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    take_scaled(const REAL *__restrict__ data, const index_t *__restrict__ index, const REAL *__restrict__ scale,
                REAL *__restrict__ out, index_t n, index_t length, int lanes) {
  scaled(data, index, *scale, out, n, length, lanes);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    take_scaled_bytes(const unsigned char *__restrict__ data, const index_t *__restrict__ index,
                      const REAL *__restrict__ scale, REAL *__restrict__ out, index_t n, index_t length, int lanes) {
  scaled(data, index, *scale, out, n, length, lanes);
}
