// Values of many threads merged into one, always in the same order.
//
// Functions with shared memory are static. A T of the same name is in the modules of both dtypes, and a host that runs
// the kernels of both would give the memory of equal names one place.
#include "columns.cuh"

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const { return a + b; }
};

// The value of the lane whose number differs in the bits of `offset`. T: any struct of whole 32-bit words.
template <class T>
__device__ __forceinline__ T other_lanes(T value, int offset) {
  unsigned words[sizeof(T) / 4];
  memcpy(words, &value, sizeof(T));
#pragma unroll
  for (unsigned &word : words) word = __shfl_xor_sync(~0u, word, offset);
  memcpy(&value, words, sizeof(T));
  return value;
}

// Over groups of `lanes` neighbours, a power of two up to 32; every lane gets its group's.
template <class T, class Merge>
__device__ __forceinline__ T over_lanes(T value, Merge merge, int lanes = 32) {
  for (int offset = 1; offset < lanes; offset *= 2) value = merge(value, other_lanes(value, offset));
  return value;
}

// Over the block, of whole warps, a power of two of them; every thread gets the same.
template <class T, class Merge>
static __device__ __forceinline__ T over_block(T value, Merge merge) {
  __shared__ T of_warp[32];
  value = over_lanes(value, merge);
  __syncthreads();  // an earlier call's values have been read
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();
  int warps = blockDim.x / 32;
  return over_lanes(of_warp[threadIdx.x % warps], merge, warps);
}

// Over the block's threads of the same column; every one of them gets it.
template <class T, class Merge>
static __device__ __forceinline__ T down_column(const Tile &tile, T value, Merge merge) {
  __shared__ T partial[BLOCK];
  __syncthreads();  // an earlier call's values have been read
  partial[threadIdx.x] = value;
  for (int left = tile.rows; left > 1;) {
    int half = (left + 1) / 2;
    __syncthreads();
    if (tile.row + half < left)
      partial[threadIdx.x] = merge(partial[threadIdx.x], partial[threadIdx.x + half * tile.width]);
    left = half;
  }
  __syncthreads();
  return partial[threadIdx.x % tile.width];
}
