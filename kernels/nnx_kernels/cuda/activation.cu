// An activation by a formula, element by element: alone, or of what is there and a bias for each column.
#include "columns.cuh"
#include "elementwise.cuh"
#include "functions.cuh"

__device__ __forceinline__ REAL value($values) {
  $body
  return $results;
}

extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    activation_$name($inputs, REAL *__restrict__ out, index_t n) {
  map(value, n, out, $pointers);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    add_bias_$name(REAL *__restrict__ y, const REAL *__restrict__ b, index_t n, index_t c, int width) {
  Tile tile(n, c, width);
  REAL bias = tile.inside ? b[tile.column] : 0;
  tile.each([&](index_t i) { return y[i] + bias; }, [&](index_t i, REAL v) { y[i] = value(v); });
}
