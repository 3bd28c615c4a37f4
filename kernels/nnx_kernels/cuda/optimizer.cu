// Updates of flat parameter buffers, one pass each. The formulas, and what `hyper` holds, are nnx/compose.py's.
#include "elementwise.cuh"

// Whether to update: not with a loss that is infinite or NaN. No guard is a null pointer.
__device__ __forceinline__ bool passes(const REAL *__restrict__ guard) { return !guard || *guard - *guard == 0; }

// g * grad_scale + weight_decay * p, the latter in the leading `decay` elements.
struct Gradient {
  REAL weight_decay, grad_scale;
  index_t decay;
  __device__ Gradient(const REAL *__restrict__ end_of_hyper, index_t decay)
      : weight_decay(end_of_hyper[-2]), grad_scale(end_of_hyper[-1]), decay(decay) {}
  __device__ __forceinline__ REAL operator()(index_t i, REAL g, REAL p) const {
    g *= grad_scale;
    return i < decay ? g + weight_decay * p : g;
  }
};

extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    sgd(REAL *__restrict__ p, const REAL *__restrict__ g, const REAL *__restrict__ hyper,
        const REAL *__restrict__ guard, index_t n, index_t decay) {
  if (!passes(guard)) return;
  REAL lr = hyper[0];
  Gradient gradient(hyper + 3, decay);
  update([=](index_t i, REAL g, REAL &p) { p -= lr * gradient(i, g, p); }, n, g, p);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    momentum(REAL *__restrict__ p, const REAL *__restrict__ g, REAL *__restrict__ v, const REAL *__restrict__ hyper,
             const REAL *__restrict__ guard, index_t n, index_t decay) {
  if (!passes(guard)) return;
  REAL lr = hyper[0], kept = hyper[1];
  Gradient gradient(hyper + 4, decay);
  auto rule = [=](index_t i, REAL g, REAL &p, REAL &v) {
    v = kept * v - lr * gradient(i, g, p);
    p += v;
  };
  update(rule, n, g, p, v);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    nesterov(REAL *__restrict__ p, const REAL *__restrict__ g, REAL *__restrict__ v, const REAL *__restrict__ hyper,
             const REAL *__restrict__ guard, index_t n, index_t decay) {
  if (!passes(guard)) return;
  REAL lr = hyper[0], kept = hyper[1];
  Gradient gradient(hyper + 4, decay);
  auto rule = [=](index_t i, REAL g, REAL &p, REAL &v) {
    REAL step = lr * gradient(i, g, p);
    v = kept * v - step;
    p += kept * v - step;
  };
  update(rule, n, g, p, v);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    adagrad(REAL *__restrict__ p, const REAL *__restrict__ g, REAL *__restrict__ h, const REAL *__restrict__ hyper,
            const REAL *__restrict__ guard, index_t n, index_t decay) {
  if (!passes(guard)) return;
  REAL lr = hyper[0], eps = hyper[1];
  Gradient gradient(hyper + 4, decay);
  auto rule = [=](index_t i, REAL g, REAL &p, REAL &h) {
    g = gradient(i, g, p);
    h += g * g;
    p -= lr * g / (sqrt(h) + eps);
  };
  update(rule, n, g, p, h);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    rmsprop(REAL *__restrict__ p, const REAL *__restrict__ g, REAL *__restrict__ h, const REAL *__restrict__ hyper,
            const REAL *__restrict__ guard, index_t n, index_t decay) {
  if (!passes(guard)) return;
  REAL lr = hyper[0], eps = hyper[1], share = hyper[2];
  Gradient gradient(hyper + 5, decay);
  auto rule = [=](index_t i, REAL g, REAL &p, REAL &h) {
    g = gradient(i, g, p);
    h += share * (g * g - h);
    p -= lr * g / (sqrt(h) + eps);
  };
  update(rule, n, g, p, h);
}

// The step of Adam; m and v are updated.
struct Adam {
  REAL a, b, eps, share1, share2;
  __device__ explicit Adam(const REAL *__restrict__ hyper)
      : a(hyper[0]), b(hyper[1]), eps(hyper[2]), share1(hyper[3]), share2(hyper[4]) {}
  __device__ __forceinline__ REAL operator()(REAL g, REAL &m, REAL &v) const {
    m += share1 * (g - m);
    v += share2 * (g * g - v);
    return a * m / (b * sqrt(v) + eps);
  }
};

extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    adam(REAL *__restrict__ p, const REAL *__restrict__ g, REAL *__restrict__ m, REAL *__restrict__ v,
         const REAL *__restrict__ hyper, const REAL *__restrict__ guard, index_t n, index_t decay) {
  if (!passes(guard)) return;
  Adam step(hyper);
  Gradient gradient(hyper + 7, decay);
  auto rule = [=](index_t i, REAL g, REAL &p, REAL &m, REAL &v) { p -= step(gradient(i, g, p), m, v); };
  update(rule, n, g, p, m, v);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    adamw(REAL *__restrict__ p, const REAL *__restrict__ g, REAL *__restrict__ m, REAL *__restrict__ v,
          const REAL *__restrict__ hyper, const REAL *__restrict__ guard, index_t n, index_t decay) {
  if (!passes(guard)) return;
  Adam step(hyper);
  REAL weight_decay = hyper[5], grad_scale = hyper[6];
  auto rule = [=](index_t i, REAL g, REAL &p, REAL &m, REAL &v) {
    REAL start = i < decay ? p - weight_decay * p : p;
    p = start - step(g * grad_scale, m, v);
  };
  update(rule, n, g, p, m, v);
}

// running = momentum * running + (1 - momentum) * batch. hyper: [eps, momentum, 1 - momentum].
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    running_average(REAL *__restrict__ running, const REAL *__restrict__ batch, const REAL *__restrict__ hyper,
                    const REAL *__restrict__ guard, index_t n) {
  if (!passes(guard)) return;
  REAL old_share = hyper[1], new_share = hyper[2];
  auto rule = [=](index_t, REAL batch, REAL &running) { running = old_share * running + new_share * batch; };
  update(rule, n, batch, running);
}

// Lower grad_scale, the last of `hyper`, so that grad_scale * norm is at most `limit`. NaN stays NaN. One thread.
extern "C" __global__ void clip(REAL *__restrict__ hyper, const REAL *__restrict__ norm,
                                const REAL *__restrict__ limit, int length) {
  REAL grad_scale = hyper[length - 1], scaled = *norm * grad_scale;
  hyper[length - 1] = grad_scale * (*limit / (scaled <= *limit ? *limit : scaled));
}
