// What gradients are multiplied by: clipping, and the loss scale of float16, which is [scale, finite steps in succession,
// steps until it is doubled].
#include "common.cuh"

// x *= the scale.
extern "C" __global__ void __launch_bounds__(BLOCK)
    rescale(REAL *__restrict__ x, const REAL *__restrict__ scaling, index_t n) {
  REAL scale = *scaling;
  for (index_t i = global_thread(); i < n; i += all_threads()) x[i] *= scale;
}

// Take the scale out of grad_scale, the last of `hyper`, and adapt it to the norm of the scaled gradients. One thread.
extern "C" __global__ void unscale(REAL *__restrict__ hyper, const REAL *__restrict__ norm,
                                   REAL *__restrict__ scaling, int length) {
  REAL scale = scaling[0];
  hyper[length - 1] /= scale;
  if (*norm - *norm != 0) {  // infinite or NaN
    scaling[0] = fmax(scale / 2, REAL(1));
    scaling[1] = 0;
  } else if (++scaling[1] >= scaling[2]) {
    scaling[0] = fmin(scale * 2, REAL(1 << 24));
    scaling[1] = 0;
  }
}

// Lower grad_scale, the last of `hyper`, so that grad_scale * norm is at most `limit`. NaN stays NaN. One thread.
extern "C" __global__ void clip(REAL *__restrict__ hyper, const REAL *__restrict__ norm,
                                const REAL *__restrict__ limit, int length) {
  REAL grad_scale = hyper[length - 1], scaled = *norm * grad_scale;
  hyper[length - 1] = grad_scale * (*limit / (scaled <= *limit ? *limit : scaled));
}
