// Batch normalization by tiles of columns. hyper: [eps, ...].
//
// A matrix of few rows takes one launch: a block does all rows of its columns, and finds them in a cache the second
// time. A tall one takes two of the same grid: in the first the blocks leave what they know of their rows as `parts`:
// (gridDim.y, c), and the second begins with merging them.
#include "block.cuh"

template <class T>
__device__ __forceinline__ void leave(const Tile &tile, T part, REAL *__restrict__ parts, index_t c) {
  if (tile.inside && tile.row == 0) reinterpret_cast<T *>(parts)[blockIdx.y * c + tile.column] = part;
}

// The parts merged down the column: each of the column's threads starts with every tile.rows-th.
template <class T, class Merge>
__device__ __forceinline__ T merged(const Tile &tile, const REAL *__restrict__ parts, index_t c, Merge merge) {
  T own = {};
  if (tile.inside)
    for (index_t i = tile.row; i < gridDim.y; i += tile.rows)
      own = merge(own, reinterpret_cast<const T *>(parts)[i * c + tile.column]);
  return down_column(tile, own, merge);
}

// Forward -------------------------------------------------------------------------------------------------------------

// The mean, first + offset, and the sum of squared deviations from it. `first` is one of the elements: so the squares
// lose nothing by cancellation, and the offset keeps the digits that a large mean would take from it.
struct Moments {
  REAL count, first, offset, squares;
};
struct MergeMoments {  // Chan, Golub & LeVeque 1979
  __device__ Moments operator()(Moments a, Moments b) const {
    if (b.count == 0) return a;
    if (a.count == 0) return b;
    REAL count = a.count + b.count, share = b.count / count, apart = (b.first - a.first) + (b.offset - a.offset);
    return {count, a.first, a.offset + apart * share, a.squares + b.squares + apart * apart * a.count * share};
  }
};

__device__ __forceinline__ Moments moments(const Tile &tile, const REAL *__restrict__ x) {
  REAL count = 0, first = 0, sum = 0, squares = 0;
  tile.each([&](index_t i) { return x[i]; },
            [&](index_t, REAL v) {
              if (count == 0) first = v;
              count += 1;
              sum += v - first;
              squares += (v - first) * (v - first);
            });
  REAL offset = count == 0 ? 0 : sum / count;
  return down_column(tile, Moments{count, first, offset, squares - sum * offset}, MergeMoments());
}

extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    batch_norm_parts(const REAL *__restrict__ x, REAL *__restrict__ parts, index_t n, index_t c, int width) {
  Tile tile(n, c, width);
  leave(tile, moments(tile, x), parts, c);
}

// y = gamma * (x - mean) / sqrt(var + eps) + beta.
__device__ __forceinline__ void normalize(const Tile &tile, const REAL *__restrict__ x, const REAL *__restrict__ gamma,
                                          const REAL *__restrict__ beta, REAL mean, REAL var, REAL eps,
                                          REAL *__restrict__ y) {
  REAL factor = gamma[tile.column] / sqrt(var + eps), shift = beta[tile.column];
  tile.each([&](index_t i) { return x[i]; }, [&](index_t i, REAL v) { y[i] = (v - mean) * factor + shift; });
}

extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    batch_norm(const REAL *__restrict__ x, const REAL *__restrict__ gamma, const REAL *__restrict__ beta,
               const REAL *__restrict__ hyper, REAL *__restrict__ y, REAL *__restrict__ mean, REAL *__restrict__ var,
               const REAL *__restrict__ parts, index_t n, index_t c, int width) {
  Tile tile(n, c, width);
  Moments all = parts ? merged<Moments>(tile, parts, c, MergeMoments()) : moments(tile, x);
  if (!tile.inside) return;
  REAL batch_mean = all.first + all.offset, batch_var = all.squares / REAL(n);
  if (tile.row == 0 && blockIdx.y == 0) {
    if (mean) mean[tile.column] = batch_mean;
    if (var) var[tile.column] = batch_var;
  }
  normalize(tile, x, gamma, beta, batch_mean, batch_var, hyper[0], y);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    batch_norm_inference(const REAL *__restrict__ x, const REAL *__restrict__ gamma, const REAL *__restrict__ beta,
                         const REAL *__restrict__ mean, const REAL *__restrict__ var,
                         const REAL *__restrict__ hyper, REAL *__restrict__ y, index_t n, index_t c, int width) {
  Tile tile(n, c, width);
  if (tile.inside) normalize(tile, x, gamma, beta, mean[tile.column], var[tile.column], hyper[0], y);
}

// Backward ------------------------------------------------------------------------------------------------------------

struct Pair {
  REAL dy, x;
};
struct Gradients {  // the sums of dy and of dy * (x - mean)
  REAL shift, slope;
};
struct AddGradients {
  __device__ Gradients operator()(Gradients a, Gradients b) const { return {a.shift + b.shift, a.slope + b.slope}; }
};

__device__ __forceinline__ Gradients gradients(const Tile &tile, const REAL *__restrict__ dy,
                                               const REAL *__restrict__ x, const REAL *__restrict__ mean) {
  Gradients own = {};
  REAL centre = tile.inside ? mean[tile.column] : 0;
  tile.each([&](index_t i) { return Pair{dy[i], x[i]}; },
            [&](index_t, Pair in) {
              own.shift += in.dy;
              own.slope += in.dy * (in.x - centre);
            });
  return down_column(tile, own, AddGradients());
}

extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    batch_norm_backward_parts(const REAL *__restrict__ dy, const REAL *__restrict__ x, const REAL *__restrict__ mean,
                              REAL *__restrict__ parts, index_t n, index_t c, int width) {
  Tile tile(n, c, width);
  leave(tile, gradients(tile, dy, x, mean), parts, c);
}

// dx = gamma / std * (dy - dbeta / n - normalised * dgamma / n).
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    batch_norm_backward(const REAL *__restrict__ dy, const REAL *__restrict__ x, const REAL *__restrict__ gamma,
                        const REAL *__restrict__ mean, const REAL *__restrict__ var, const REAL *__restrict__ hyper,
                        REAL *__restrict__ dx, REAL *__restrict__ dgamma, REAL *__restrict__ dbeta,
                        REAL *__restrict__ db, const REAL *__restrict__ parts, index_t n, index_t c, int width) {
  Tile tile(n, c, width);
  Gradients all = parts ? merged<Gradients>(tile, parts, c, AddGradients()) : gradients(tile, dy, x, mean);
  if (!tile.inside) return;
  REAL centre = mean[tile.column], inverse_std = 1 / sqrt(var[tile.column] + hyper[0]);
  if (tile.row == 0 && blockIdx.y == 0) {
    if (dgamma) dgamma[tile.column] = all.slope * inverse_std;
    if (dbeta) dbeta[tile.column] = all.shift;
    if (db) db[tile.column] = 0;  // the normalisation takes a bias below it out again
  }
  REAL factor = gamma[tile.column] * inverse_std, shift = all.shift / REAL(n);
  REAL slope = all.slope * inverse_std * inverse_std / REAL(n);
  tile.each([&](index_t i) { return Pair{dy[i], x[i]}; },
            [&](index_t i, Pair in) { dx[i] = factor * (in.dy - shift - (in.x - centre) * slope); });
}
