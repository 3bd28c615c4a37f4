// Matrix products of shapes that cuBLASLt does not take, such as a single row or column.
#include "common.cuh"

// d = a @ b. a: (n, k), b: (k, m), by strides in elements; d: (n, m), C-contiguous. A warp for each element of d: its
// lanes' sums are added up in a fixed order.
template <class T, class Widen>
static __device__ __forceinline__ void multiply(Widen widen, const T *__restrict__ a, index_t a_row, index_t a_column,
                                                const T *__restrict__ b, index_t b_row, index_t b_column,
                                                REAL *__restrict__ d, index_t n, index_t m, index_t k) {
  int lane = threadIdx.x % 32;
  for (index_t e = global_thread() / 32; e < n * m; e += all_threads() / 32) {
    const T *left = a + e / m * a_row, *right = b + e % m * b_column;
    REAL sum = 0;
    for (index_t i = lane; i < k; i += 32) sum += widen(left[i * a_column]) * widen(right[i * b_row]);
    for (int o = 16; o; o /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, o);
    if (lane == 0) d[e] = sum;
  }
}

extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    product(const REAL *__restrict__ a, index_t a_row, index_t a_column, const REAL *__restrict__ b, index_t b_row,
            index_t b_column, REAL *__restrict__ d, index_t n, index_t m, index_t k) {
  multiply([](REAL v) { return v; }, a, a_row, a_column, b, b_row, b_column, d, n, m, k);
}

// Of 16 bits, as narrow.cu writes them.
using Bits = unsigned short;

__device__ __forceinline__ float float_of(unsigned bits) {
  float v;
  memcpy(&v, &bits, sizeof(v));
  return v;
}

__device__ __forceinline__ REAL of_bfloat16(Bits bits) { return float_of((unsigned)bits << 16); }

// 2**112 makes up for the exponents' biases, 127 and 15, below 2**-14 as well.
__device__ __forceinline__ REAL of_float16(Bits bits) {
  unsigned sign = (bits & 0x8000u) << 16, size = (bits & 0x7fffu) << 13;
  if (size >= 0x0f800000) return float_of(sign | size | 0x7f800000);  // infinity, NaN
  float v = float_of(size + 0x38000000);
  if (size < 0x00800000) v = float_of(size + 0x38800000) - 0x1p-14f;  // multiples of 2**-24
  return float_of(sign | 0x3f800000) * v;
}

extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    product_bfloat16(const Bits *__restrict__ a, index_t a_row, index_t a_column, const Bits *__restrict__ b,
                     index_t b_row, index_t b_column, REAL *__restrict__ d, index_t n, index_t m, index_t k) {
  multiply(of_bfloat16, a, a_row, a_column, b, b_row, b_column, d, n, m, k);
}
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    product_float16(const Bits *__restrict__ a, index_t a_row, index_t a_column, const Bits *__restrict__ b,
                    index_t b_row, index_t b_column, REAL *__restrict__ d, index_t n, index_t m, index_t k) {
  multiply(of_float16, a, a_row, a_column, b, b_row, b_column, d, n, m, k);
}
