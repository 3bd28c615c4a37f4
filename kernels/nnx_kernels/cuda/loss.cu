// Losses that are sums over the elements, with the gradient and its column sums, in one pass.
#include "block.cuh"

struct Point {
  REAL loss, gradient;
};

// of(z + bias, t) for each element. dz = its gradient * weight of the row / n, if given. loss: one part of the mean for
// each block. sums: (gridDim.y, c), with dz's column sums. Four loads at once: with more, exp and
// log would take too many registers.
template <class Loss>
static __device__ __forceinline__ void mean_loss(Loss of, const REAL *__restrict__ z, const REAL *__restrict__ t,
                                                 const REAL *__restrict__ weight, const REAL *__restrict__ bias,
                                                 REAL *__restrict__ dz, REAL *__restrict__ loss,
                                                 REAL *__restrict__ sums, index_t n, index_t c, int width) {
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

extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    squared_error(const REAL *__restrict__ z, const REAL *__restrict__ t, const REAL *__restrict__ weight,
                  const REAL *__restrict__ bias, REAL *__restrict__ dz, REAL *__restrict__ loss,
                  REAL *__restrict__ sums, index_t n, index_t c, int width) {
  auto of = [](REAL y, REAL t) {
    REAL difference = y - t;
    return Point{difference * difference / 2, difference};
  };
  mean_loss(of, z, t, weight, bias, dz, loss, sums, n, c, width);
}

// log(1 + exp(y)) - t * y and sigmoid(y) - t, in a form in which nothing overflows and nothing is lost.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    sigmoid_cross_entropy(const REAL *__restrict__ z, const REAL *__restrict__ t, const REAL *__restrict__ weight,
                          const REAL *__restrict__ bias, REAL *__restrict__ dz, REAL *__restrict__ loss,
                          REAL *__restrict__ sums, index_t n, index_t c, int width) {
  auto of = [](REAL y, REAL t) {
    REAL e = exp(-fabs(y));
    return Point{(y > 0 ? y : 0) - t * y + log1p(e), (y < 0 ? e : 1) / (1 + e) - t};
  };
  mean_loss(of, z, t, weight, bias, dz, loss, sums, n, c, width);
}

// t * log(t / exp(y)) - t + exp(y), where 0 * log(0) is 0.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    poisson_deviance(const REAL *__restrict__ z, const REAL *__restrict__ t, const REAL *__restrict__ weight,
                     const REAL *__restrict__ bias, REAL *__restrict__ dz, REAL *__restrict__ loss,
                     REAL *__restrict__ sums, index_t n, index_t c, int width) {
  auto of = [](REAL y, REAL t) {
    REAL mean = exp(y);
    return Point{t * (log(t > 0 ? t : REAL(1)) - y) - t + mean, mean - t};
  };
  mean_loss(of, z, t, weight, bias, dz, loss, sums, n, c, width);
}
