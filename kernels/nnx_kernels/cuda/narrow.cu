// float32 rounded to 16 bits, to the nearest, ties to even: by whole numbers, so that no CUDA header is needed.
#include "common.cuh"

using Bits = unsigned short;

__device__ __forceinline__ unsigned bits_of(float v) {
  unsigned bits;
  memcpy(&bits, &v, sizeof(bits));
  return bits;
}

// The upper half of the float. A carry into the exponent is right, up to infinity.
__device__ __forceinline__ Bits bfloat16(float v) {
  unsigned bits = bits_of(v);
  if (v != v) return bits >> 16 | 0x40;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

__device__ __forceinline__ Bits float16(float v) {
  unsigned bits = bits_of(v), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
  if (v != v) return sign | 0x7e00;
  if (size >= 0x477ff000) return sign | 0x7c00;  // from 65520 on, infinity
  if (size < 0x38800000) return sign | (bits_of(fabsf(v) + 0.5f) - bits_of(0.5f));  // below 2**-14: multiples of 2**-24
  return sign | ((size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13);  // the exponent's bias: 15 for 127
}

template <class F>
static __device__ __forceinline__ void narrow(F f, const REAL *__restrict__ x, Bits *__restrict__ y, index_t n) {
  index_t packs = aligned(x) && aligned<WIDTH>(y) ? n / WIDTH : 0;
  for (index_t i = global_thread(); i < packs; i += all_threads()) {
    Pack in = vectors(x)[i];
    Vector<Bits, WIDTH> out;
#pragma unroll
    for (int k = 0; k < WIDTH; k++) out.of[k] = f(in.of[k]);
    vectors<WIDTH>(y)[i] = out;
  }
  for (index_t i = packs * WIDTH + global_thread(); i < n; i += all_threads()) y[i] = f(x[i]);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    narrow_bfloat16(const REAL *__restrict__ x, Bits *__restrict__ y, index_t n) {
  narrow(bfloat16, x, y, n);
}
extern "C" __global__ void __launch_bounds__(BLOCK)
    narrow_float16(const REAL *__restrict__ x, Bits *__restrict__ y, index_t n) {
  narrow(float16, x, y, n);
}
