// Squared error with the gradient and its column sums, in one pass.
#include "block.cuh"

// dz = (z + bias - t) / n, if given. loss: one part of it for each block. sums: (gridDim.y, c), with dz's column sums.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    squared_error(const REAL *__restrict__ z, const REAL *__restrict__ t, const REAL *__restrict__ bias,
                  REAL *__restrict__ dz, REAL *__restrict__ loss, REAL *__restrict__ sums, index_t n, index_t c,
                  int width) {
  struct Pair { REAL z, t; };
  Tile tile(n, c, width);
  REAL share = 1 / REAL(n), b = bias && tile.inside ? bias[tile.column] : 0, sum = 0, squares = 0;
  tile.each([&](index_t i) { return Pair{z[i], t[i]}; },
            [&](index_t i, Pair in) {
              REAL difference = in.z + b - in.t;
              if (dz) dz[i] = difference * share;
              sum += difference;
              squares += difference * difference;
            });
  tile.sum(sum * share, sums, c);
  squares = over_block(squares, Sum());
  if (threadIdx.x == 0) loss[blockIdx.y * (index_t)gridDim.x + blockIdx.x] = squares * share / 2;
}
