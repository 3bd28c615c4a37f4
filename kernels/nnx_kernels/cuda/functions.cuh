// The functions of formulas that are not CUDA's own.
#include "common.cuh"

__device__ __forceinline__ REAL sigmoid(REAL x) {
  REAL e = exp(-fabs(x));
  return (x < 0 ? e : 1) / (1 + e);
}
__device__ __forceinline__ REAL softplus(REAL x) { return (x < 0 ? 0 : x) + log1p(exp(-fabs(x))); }

// NaN where one is NaN; fmax and fmin would give the other.
__device__ __forceinline__ REAL maximum(REAL a, REAL b) { return a < b || b != b ? b : a; }
__device__ __forceinline__ REAL minimum(REAL a, REAL b) { return a > b || b != b ? b : a; }
