// Matrix products of shapes that cuBLASLt does not take, such as a single row or column.
#include "common.cuh"

// d = a @ b. a: (n, k), b: (k, m), by strides in elements; d: (n, m), C-contiguous. A warp for each element of d: its
// lanes' sums are added up in a fixed order.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    product(const REAL *__restrict__ a, index_t a_row, index_t a_column, const REAL *__restrict__ b, index_t b_row,
            index_t b_column, REAL *__restrict__ d, index_t n, index_t m, index_t k) {
  int lane = threadIdx.x % 32;
  for (index_t e = global_thread() / 32; e < n * m; e += all_threads() / 32) {
    const REAL *left = a + e / m * a_row, *right = b + e % m * b_column;
    REAL sum = 0;
    for (index_t i = lane; i < k; i += 32) sum += left[i * a_column] * right[i * b_row];
    for (int o = 16; o; o /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, o);
    if (lane == 0) d[e] = sum;
  }
}
