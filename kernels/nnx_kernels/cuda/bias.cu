// The bias after a matrix product, and its gradient.
#include "columns.cuh"

// y += b, row by row.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    add_bias(REAL *__restrict__ y, const REAL *__restrict__ b, index_t n, index_t c, int width) {
  Tile tile(n, c, width);
  REAL bias = tile.inside ? b[tile.column] : 0;
  tile.each([&](index_t i) { return y[i]; }, [&](index_t i, REAL v) { y[i] = v + bias; });
}

// sums: (gridDim.y, c), whose column sums are x's.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    column_sums(const REAL *__restrict__ x, REAL *__restrict__ sums, index_t n, index_t c, int width) {
  Tile tile(n, c, width);
  REAL sum = 0;
  tile.each([&](index_t i) { return x[i]; }, [&](index_t, REAL v) { sum += v; });
  tile.sum(sum, sums, c);
}
