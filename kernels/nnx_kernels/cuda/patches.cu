// What lies under the windows of a convolution, as rows of a matrix, and the gradient of that.
#include "pictures.cuh"

// An element of that matrix, (n * places, rows of the window * its columns and channels): where it comes from.
struct Patch {
  int picture, down, across;   // the window's picture and place
  int row, at;                 // the window's row, and the element in it
  int line, along;             // the picture's row, and the element in it: perhaps none of the picture's

  __device__ __forceinline__ Patch(const Windows &windows, int element) {
    at = element;
    row = windows.row.split(at);
    across = windows.size_down.split(row);
    down = windows.places_across.split(across);
    picture = windows.places_down.split(down);
    line = down * windows.stride_down.value - windows.pad_down + row;
    along = (across * windows.stride_across.value - windows.pad_across) * windows.channels.value + at;
  }
  __device__ __forceinline__ void next(const Windows &windows) {
    at++, along++;
    if (at < windows.row.value) return;
    at = 0, along -= windows.row.value;
    row++, line++;
    if (row < windows.size_down.value) return;
    row = 0, line -= windows.size_down.value;
    across++, along += windows.stride_across.value * windows.channels.value;
    if (across < windows.places_across.value) return;
    across = 0, along = -windows.pad_across * windows.channels.value;
    down++, line += windows.stride_down.value;
    if (down < windows.places_down.value) return;
    down = 0, line = -windows.pad_down;
    picture++;
  }
  __device__ __forceinline__ bool inside(const Windows &windows) const {
    return line >= 0 && line < windows.h.value && along >= 0 && along < windows.w.value * windows.channels.value;
  }
  __device__ __forceinline__ int source(const Windows &windows) const {
    return (picture * windows.h.value + line) * windows.w.value * windows.channels.value + along;
  }
};

// rows: n elements, 16 bytes of them for each thread; 0 beyond the pictures' borders.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    patches(const REAL *__restrict__ x, REAL *__restrict__ rows, Windows windows, unsigned n) {
  bool whole = windows.by_packs(x), to_packs = aligned(rows);
  for (unsigned first = WIDTH * global_thread(); first < n; first += WIDTH * all_threads()) {
    Patch patch(windows, first);
    Pack pack = {};
    if (whole) {
      if (patch.inside(windows)) pack = *vectors(x + patch.source(windows));
    } else {
#pragma unroll
      for (int k = 0; k < WIDTH; k++) {
        if (patch.inside(windows) && first + k < n) pack.of[k] = x[patch.source(windows)];
        patch.next(windows);
      }
    }
    if (to_packs && first + WIDTH <= n) {
      *vectors(rows + first) = pack;
    } else {
#pragma unroll
      for (int k = 0; k < WIDTH; k++)
        if (first + k < n) rows[first + k] = pack.of[k];
    }
  }
}

struct OfRows {
  const REAL *__restrict__ rows;
  template <int N>
  __device__ __forceinline__ Vector<REAL, N> at(const Windows &windows, int window, int k, int channel) const {
    int elements = windows.size_down.value * windows.size_across;
    return *vectors<N>(rows + (window * elements + k) * windows.channels.value + channel);
  }
};

// dx: n elements, each the sum of its own in `rows`.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    patches_backward(const REAL *__restrict__ rows, REAL *__restrict__ dx, Windows windows, unsigned n) {
  if (windows.by_packs(rows, dx))
    sum_of_windows<WIDTH>(OfRows{rows}, windows, dx, n);
  else
    sum_of_windows<1>(OfRows{rows}, windows, dx, n);
}
