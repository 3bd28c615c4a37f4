// Philox4x32-10 (Salmon et al. 2011): four random words from a counter and a key.
#include "common.cuh"

using Words = Vector<unsigned, 4>;

// The stream of `rng`: [seed low, seed high, layer, step low, step high, any, first row].
struct Philox {
  unsigned key0, key1, layer, step_low, step_high;

  __device__ explicit Philox(const unsigned *__restrict__ rng)
      : key0(rng[0]), key1(rng[1]), layer(rng[2]), step_low(rng[3]), step_high(rng[4]) {}

  // The words 4 * block ... 4 * block + 3.
  __device__ __forceinline__ Words operator()(index_t block) const {
    unsigned c0 = block, c1 = layer, c2 = step_low, c3 = step_high, k0 = key0, k1 = key1;
#pragma unroll
    for (int round = 0; round < 10; round++) {
      unsigned long long p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
      c0 = unsigned(p1 >> 32) ^ c1 ^ k0;
      c1 = unsigned(p1);
      c2 = unsigned(p0 >> 32) ^ c3 ^ k1;
      c3 = unsigned(p0);
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
    return {c0, c1, c2, c3};
  }

  // The words first ... first + 3; of two blocks, unless `first` is a multiple of 4.
  __device__ __forceinline__ Words from(index_t first) const {
    Words words = (*this)(first / 4);
    int skipped = first % 4;
    if (skipped == 0) return words;
    Words next = (*this)(first / 4 + 1);
    unsigned both[8];
#pragma unroll
    for (int k = 0; k < 4; k++) {
      both[k] = words.of[k];
      both[4 + k] = next.of[k];
    }
#pragma unroll
    for (int k = 0; k < 4; k++)  // choices, not an index: the words stay in registers
      words.of[k] = skipped == 1 ? both[k + 1] : skipped == 2 ? both[k + 2] : both[k + 3];
    return words;
  }
};
