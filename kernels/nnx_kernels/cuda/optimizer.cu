// Updates of flat buffers by a formula, in one pass. The arrays are those of its inputs, `hyper` holds its scalars.
#include "elementwise.cuh"
#include "functions.cuh"

// Not with a loss that is infinite or NaN. No guard is a null pointer. Weight decay is that of the leading elements.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    update_$name($buffers, const REAL *__restrict__ hyper, const REAL *__restrict__ guard, index_t n, index_t decay) {
  if (guard && !(*guard - *guard == 0)) return;
  $scalars
  auto rule = [=](index_t i, $elements) {
    $body
    $stores
  };
  update(rule, n, $updated);
}
