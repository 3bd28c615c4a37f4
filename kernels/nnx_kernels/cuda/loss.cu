// A loss that is the mean of a formula of each output and its target, with the gradient and its column sums, in one pass.
#include "block.cuh"
#include "functions.cuh"

struct Point {
  REAL loss, gradient;
};

// dz = the gradient at z + bias * weight of the row / n, if given. loss: one part of the mean for each block. sums:
// (gridDim.y, c), with dz's column sums. hyper: the formula's scalars. Four loads at once: with more, exp and log would
// take too many registers.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    loss_$name(const REAL *__restrict__ z, const REAL *__restrict__ t, const REAL *__restrict__ hyper,
               const REAL *__restrict__ weight, const REAL *__restrict__ bias, REAL *__restrict__ dz,
               REAL *__restrict__ loss, REAL *__restrict__ sums, index_t n, index_t c, int width) {
  $scalars
  auto of = [=](REAL z_, REAL t_) {
    $body
    return Point{$results};
  };
  struct Pair { REAL z, t; };
  Tile tile(n, c, width);
  index_t row = blockIdx.y * (index_t)tile.rows + tile.row, rows = gridDim.y * (index_t)tile.rows;
  REAL share = 1 / REAL(n), b = bias && tile.inside ? bias[tile.column] : 0, sum = 0, losses = 0;
  tile.each<4>([&](index_t i) { return Pair{z[i], t[i]}; },
            [&](index_t i, Pair in) {
              Point at = of(in.z + b, in.t);
              REAL w = weight ? weight[row] * share : share;
              row += rows;
              if (dz) dz[i] = at.gradient * w;
              sum += at.gradient * w;
              losses += at.loss * w;
            });
  tile.sum(sum, sums, c);
  losses = over_block(losses, Sum());
  if (threadIdx.x == 0) loss[blockIdx.y * (index_t)gridDim.x + blockIdx.x] = losses;
}
