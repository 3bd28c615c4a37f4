// The backward of an activation by a formula: alone, or with the bias gradient of the layer below.
#include "columns.cuh"
#include "elementwise.cuh"
#include "functions.cuh"

__device__ __forceinline__ REAL value($values) {
  $body
  return $results;
}

extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    ${name}_backward($inputs, REAL *__restrict__ out, index_t n) {
  map(value, n, out, $pointers);
}

// With `sums`: (gridDim.y, c), whose column sums are those of `out`. Where there are functions, four loads at once: with
// more, they would take too many registers.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    ${name}_backward_sums($inputs, REAL *__restrict__ out, REAL *__restrict__ sums, index_t n, index_t c, int width) {
  struct Element { REAL $variables; };
  Tile tile(n, c, width);
  REAL sum = 0;
  tile.each<$ahead>([&](index_t i) { return Element{$loads}; },
                    [&](index_t i, Element at) { sum += out[i] = value($members); });
  tile.sum(sum, sums, c);
}
