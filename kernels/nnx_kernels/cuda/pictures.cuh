// Windows on pictures: (n, h, w, c), the channels last. The host sees to it that what a launch counts, padding
// included, is below 2**31.
#include "common.cuh"

// Division of n below 2**31 by what the host knows: by a product with `inverse`, 2**63 / value rounded up (Granlund and
// Montgomery 1994). It takes a third of the instructions of n / value.
struct Divisor {
  unsigned long long inverse;
  int value;

  __device__ __forceinline__ int under(int n) const {
    unsigned long long high = (inverse >> 32) * (unsigned)n, low = (inverse & 0xffffffff) * (unsigned)n;
    return (high + (low >> 32)) >> 31;
  }
  // n / value, of which n keeps the rest.
  __device__ __forceinline__ int split(int &n) const {
    int quotient = under(n);
    n -= quotient * value;
    return quotient;
  }
};

// As nnx_cupy/_windows.py makes it.
struct Windows {
  Divisor h, w, channels, packs;         // of the pictures; the channels in packs, where they are a multiple
  Divisor places_down, places_across;    // of windows on a picture
  Divisor stride_down, stride_across;
  Divisor size_down, row;                // of a window: its rows, and the elements of one
  int size_across, pad_down, pad_across;

  // Channels come in packs where there are whole packs of them in aligned memory.
  template <class... T>
  __device__ __forceinline__ bool by_packs(const T *...p) const {
    return channels.value % WIDTH == 0 && (aligned<WIDTH>(p) && ...);
  }
  template <int N>
  __device__ __forceinline__ const Divisor &units() const { return N == 1 ? channels : packs; }
};

// A window clipped to its picture, and N channels in it.
template <int N>
struct Clipped {
  int first_down, end_down, first_across, end_across;  // its rows and columns on the picture, from 0 in the window
  int corner, channel;                                 // where the window's first element lies, or would lie
  const Windows &windows;

  // unit: counts the windows of all pictures, N channels at a time.
  __device__ __forceinline__ Clipped(const Windows &windows, int unit) : windows(windows) {
    channel = unit;
    int across = windows.units<N>().split(channel);
    int down = windows.places_across.split(across);
    int picture = windows.places_down.split(down);
    channel *= N;
    int top = down * windows.stride_down.value - windows.pad_down;
    int left = across * windows.stride_across.value - windows.pad_across;
    first_down = max(0, -top), end_down = min(windows.size_down.value, windows.h.value - top);
    first_across = max(0, -left), end_across = min(windows.size_across, windows.w.value - left);
    corner = (picture * windows.h.value + top) * windows.w.value + left;
  }
  __device__ __forceinline__ Vector<REAL, N> at(const REAL *__restrict__ x, int down, int across) const {
    int pixel = corner + down * windows.w.value + across;
    return *vectors<N>(x + pixel * windows.channels.value + channel);
  }
};

// Along one axis, the places of windows over one pixel: from `last` down to `first`, so that the pixel's own place in
// them rises; none if last < first.
struct Covering {
  int first, last;

  // pixel: with the padding before it.
  __device__ __forceinline__ Covering(int pixel, int size, const Divisor &stride, int places)
      : first(pixel < size ? 0 : stride.under(pixel - size) + 1), last(min(stride.under(pixel), places - 1)) {}
};

// dx = for each element of the pictures the sum of of<N>(windows, window, k, channel) over the windows that it is in,
// as their element k: always in the same order, by rows of the window.
template <int N, class Of>
__device__ __forceinline__ void sum_of_windows(Of of, const Windows &windows, REAL *__restrict__ dx, unsigned n) {
  for (unsigned unit = global_thread(); unit < n / N; unit += all_threads()) {
    int channel = unit;
    int across = windows.units<N>().split(channel);
    int down = windows.w.split(across);
    int picture = windows.h.split(down);
    down += windows.pad_down, across += windows.pad_across, channel *= N;
    Covering rows(down, windows.size_down.value, windows.stride_down, windows.places_down.value);
    Covering columns(across, windows.size_across, windows.stride_across, windows.places_across.value);
    Vector<REAL, N> sum = {};
    for (int i = rows.last; i >= rows.first; i--)
#pragma unroll 2  // more would take too many registers
      for (int j = columns.last; j >= columns.first; j--) {
        int window = (picture * windows.places_down.value + i) * windows.places_across.value + j;
        int k = (down - i * windows.stride_down.value) * windows.size_across +
                across - j * windows.stride_across.value;
        Vector<REAL, N> part = of.template at<N>(windows, window, k, channel);
#pragma unroll
        for (int m = 0; m < N; m++) sum.of[m] += part.of[m];
      }
    vectors<N>(dx)[unit] = sum;
  }
}
