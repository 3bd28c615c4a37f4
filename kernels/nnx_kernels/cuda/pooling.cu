// The greatest number and the mean of each window, and their gradients.
#include "pictures.cuh"

using Byte = unsigned char;

template <int N>
__device__ __forceinline__ void maxima(const REAL *__restrict__ x, REAL *__restrict__ y, Byte *__restrict__ index,
                                       const Windows &windows, unsigned n) {
  for (unsigned unit = global_thread(); unit < n / N; unit += all_threads()) {
    Clipped<N> window(windows, unit);
    Vector<REAL, N> best;
    Vector<Byte, N> which;
#pragma unroll
    for (int m = 0; m < N; m++) {
      best.of[m] = -1 / REAL(0);
      which.of[m] = window.first_down * windows.size_across + window.first_across;
    }
    for (int i = window.first_down; i < window.end_down; i++)
#pragma unroll 2  // more would take too many registers
      for (int j = window.first_across; j < window.end_across; j++) {
        Vector<REAL, N> in = window.at(x, i, j);
#pragma unroll
        for (int m = 0; m < N; m++) {
          bool nan = in.of[m] != in.of[m] && best.of[m] == best.of[m];  // the first one is greater than all others
          if (nan || in.of[m] > best.of[m]) {
            best.of[m] = in.of[m];
            which.of[m] = i * windows.size_across + j;
          }
        }
      }
    vectors<N>(y)[unit] = best;
    if (index) vectors<N>(index)[unit] = which;
  }
}

// y, and index where not null: n elements.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    max_pooling(const REAL *__restrict__ x, REAL *__restrict__ y, Byte *__restrict__ index, Windows windows, unsigned n) {
  if (windows.by_packs(x, y) && aligned<WIDTH>(index))
    maxima<WIDTH>(x, y, index, windows, n);
  else
    maxima<1>(x, y, index, windows, n);
}

struct OfMaxima {
  const REAL *__restrict__ dy;
  const Byte *__restrict__ index;
  template <int N>
  __device__ __forceinline__ Vector<REAL, N> at(const Windows &windows, int window, int k, int channel) const {
    int first = window * windows.channels.value + channel;
    Vector<REAL, N> part = *vectors<N>(dy + first);
    Vector<Byte, N> which = *vectors<N>(index + first);
#pragma unroll
    for (int m = 0; m < N; m++)
      if (which.of[m] != k) part.of[m] = 0;
    return part;
  }
};

// dx: n elements.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    max_pooling_backward(const REAL *__restrict__ dy, REAL *__restrict__ dx, const Byte *__restrict__ index,
                         Windows windows, unsigned n) {
  if (windows.by_packs(dy, dx) && aligned<WIDTH>(index))
    sum_of_windows<WIDTH>(OfMaxima{dy, index}, windows, dx, n);
  else
    sum_of_windows<1>(OfMaxima{dy, index}, windows, dx, n);
}

template <int N>
__device__ __forceinline__ void means(const REAL *__restrict__ x, REAL *__restrict__ y, const Windows &windows, unsigned n) {
  REAL elements = windows.size_down.value * windows.size_across;
  for (unsigned unit = global_thread(); unit < n / N; unit += all_threads()) {
    Clipped<N> window(windows, unit);
    Vector<REAL, N> sum = {};
    for (int i = window.first_down; i < window.end_down; i++) {
      Vector<REAL, N> row = {};  // of its own: what is rounded grows with rows plus columns, not with their product
#pragma unroll 2  // more would take too many registers
      for (int j = window.first_across; j < window.end_across; j++) {
        Vector<REAL, N> in = window.at(x, i, j);
#pragma unroll
        for (int m = 0; m < N; m++) row.of[m] += in.of[m];
      }
#pragma unroll
      for (int m = 0; m < N; m++) sum.of[m] += row.of[m];
    }
#pragma unroll
    for (int m = 0; m < N; m++) sum.of[m] /= elements;
    vectors<N>(y)[unit] = sum;
  }
}

// y: n elements.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    average_pooling(const REAL *__restrict__ x, REAL *__restrict__ y, Windows windows, unsigned n) {
  if (windows.by_packs(x, y))
    means<WIDTH>(x, y, windows, n);
  else
    means<1>(x, y, windows, n);
}

struct OfMeans {
  const REAL *__restrict__ dy;
  template <int N>
  __device__ __forceinline__ Vector<REAL, N> at(const Windows &windows, int window, int, int channel) const {
    REAL elements = windows.size_down.value * windows.size_across;
    Vector<REAL, N> part = *vectors<N>(dy + window * windows.channels.value + channel);
#pragma unroll
    for (int m = 0; m < N; m++) part.of[m] /= elements;
    return part;
  }
};

// dx: n elements.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    average_pooling_backward(const REAL *__restrict__ dy, REAL *__restrict__ dx, Windows windows, unsigned n) {
  if (windows.by_packs(dy, dx))
    sum_of_windows<WIDTH>(OfMeans{dy}, windows, dx, n);
  else
    sum_of_windows<1>(OfMeans{dy}, windows, dx, n);
}
