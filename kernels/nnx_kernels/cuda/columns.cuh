// A row-major matrix by tiles of columns: what is the same, or is summed, down each column.
#include "common.cuh"

// A block's threads as `width` columns by as many rows as there is room for: neighbours in memory are neighbours among
// the threads, even in a matrix narrower than a warp. There are gridDim.x tiles; gridDim.y blocks take turns down each.
struct Tile {
  index_t column, begin, end, step;  // the thread's column, and its elements: from begin to below end
  int row, rows, width;              // its row among the rows that the block does at once
  bool inside;                       // whether there is anything in its place

  __device__ Tile(index_t n, index_t c, int width) : width(width) {
    rows = blockDim.x / width;
    row = threadIdx.x / width;
    column = blockIdx.x * (index_t)width + threadIdx.x % width;
    inside = row < rows && column < c;
    begin = (blockIdx.y * (index_t)rows + row) * c + column;
    end = inside ? n * c : 0;
    step = gridDim.y * (index_t)rows * c;
  }

  // use(i, load(i)) for each element i of the thread's, from above to below; `load` may be called again, before `use`.
  // AHEAD: loads under way at once: the compiler would not move one above a store of `use`.
  template <int AHEAD = 8, class Load, class Use>
  __device__ __forceinline__ void each(Load load, Use use) const {
#pragma unroll 1
    for (index_t i = begin; i < end; i += AHEAD * step) {
      decltype(load(i)) loaded[AHEAD];
#pragma unroll
      for (int k = 0; k < AHEAD; k++) loaded[k] = load(i + k * step < end ? i + k * step : i);
#pragma unroll
      for (int k = 0; k < AHEAD; k++)
        if (i + k * step < end) use(i + k * step, loaded[k]);
    }
  }

  // sums[blockIdx.y, column] = the block's sum of `value` down the column, always in the same order.
  __device__ __forceinline__ void sum(REAL value, REAL *__restrict__ sums, index_t c) const {
    __shared__ REAL partial[BLOCK];
    partial[threadIdx.x] = value;
    for (int left = rows; left > 1;) {
      int half = (left + 1) / 2;
      __syncthreads();
      if (row + half < left) partial[threadIdx.x] += partial[threadIdx.x + half * width];
      left = half;
    }
    if (inside && row == 0) sums[blockIdx.y * c + column] = partial[threadIdx.x];
  }
};

// y = f(a, b), and the blocks' sums of y's columns.
template <class F, class A, class B>
__device__ __forceinline__ void map_and_sum(F f, REAL *__restrict__ y, REAL *__restrict__ sums, index_t n, index_t c,
                                            int width, const A *__restrict__ a, const B *__restrict__ b) {
  struct Pair { A a; B b; };
  Tile tile(n, c, width);
  REAL sum = 0;
  tile.each([&](index_t i) { return Pair{a[i], b[i]}; },
            [&](index_t i, Pair in) { sum += y[i] = f(in.a, in.b); });
  tile.sum(sum, sums, c);
}
