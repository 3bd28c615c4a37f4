// Matrices transposed by tiles, read and written along their rows.
#include "pictures.cuh"

constexpr int TILE = 1056;  // elements of shared memory

// As nnx_cupy/_transpose.py makes it, for matrices (n, a, b): tiles of up to lines * columns, so many of each matrix.
struct Tiles {
  Divisor lines, columns, down, across;
  int a, b;
};

// out: (n, b, a), what becomes of x: (n, a, b), a block for each tile. Row r of a matrix is read at from(r), row r of a
// result is written at to(r). In shared memory lines have an odd distance, so that banks hardly conflict either way.
template <class From, class To>
static __device__ __forceinline__ void transpose(From from, To to, const REAL *__restrict__ x, REAL *__restrict__ out,
                                                 const Tiles &tiles) {
  __shared__ REAL tile[TILE];
  int lines = tiles.lines.value, columns = tiles.columns.value, distance = columns | 1;
  int across = blockIdx.x, down = tiles.across.split(across);
  index_t matrix = tiles.down.split(down) * (index_t)tiles.a * tiles.b;
  int top = down * lines, left = across * columns;
#pragma unroll 2  // more would take too many registers
  for (int k = threadIdx.x; k < lines * columns; k += BLOCK) {
    int column = k, line = tiles.columns.split(column);
    if (top + line < tiles.a && left + column < tiles.b)
      tile[line * distance + column] = x[matrix + from(top + line) * (index_t)tiles.b + left + column];
  }
  __syncthreads();
#pragma unroll 2
  for (int k = threadIdx.x; k < lines * columns; k += BLOCK) {
    int line = k, column = tiles.lines.split(line);
    if (top + line < tiles.a && left + column < tiles.b)
      out[matrix + to(left + column) * (index_t)tiles.a + top + line] = tile[line * distance + column];
  }
}

struct Same {
  __device__ __forceinline__ int operator()(int row) const { return row; }
};

extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    swap_axes(const REAL *__restrict__ x, REAL *__restrict__ out, Tiles tiles) {
  transpose(Same(), Same(), x, out, tiles);
}

// Of a filter's elements, (c, kh * kw), those of one pixel side by side: (kh * kw, c).
struct ByPixel {
  const Divisor &pixels;
  int channels;
  __device__ __forceinline__ int operator()(int element) const {
    int channel = pixels.split(element);
    return element * channels + channel;
  }
};

// out: (kh * kw * c, f), the filters x: (f, c * kh * kw).
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    pack_filters(const REAL *__restrict__ x, REAL *__restrict__ out, Tiles tiles, Divisor pixels, int channels) {
  transpose(Same(), ByPixel{pixels, channels}, x, out, tiles);
}

// out: (f, c * kh * kw), whose packed form is x: (kh * kw * c, f).
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    unpack_filters(const REAL *__restrict__ x, REAL *__restrict__ out, Tiles tiles, Divisor pixels, int channels) {
  transpose(ByPixel{pixels, channels}, Same(), x, out, tiles);
}
