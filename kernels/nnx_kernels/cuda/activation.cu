// Activations, element by element, and their backwards: alone, or with the bias gradient of the layer below.
#include "columns.cuh"
#include "elementwise.cuh"

// Forward -------------------------------------------------------------------------------------------------------------

// NaN stays NaN; fmax would make it 0.
extern "C" __global__ void __launch_bounds__(BLOCK) relu(const REAL *__restrict__ x, REAL *__restrict__ y, index_t n) {
  map([](REAL v) { return v < 0 ? REAL(0) : v; }, n, y, x);
}

// Where exp(-x) overflows the result is 0, as it should be.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    sigmoid(const REAL *__restrict__ x, REAL *__restrict__ y, index_t n) {
  map([](REAL v) { return 1 / (1 + exp(-v)); }, n, y, x);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    hyperbolic_tangent(const REAL *__restrict__ x, REAL *__restrict__ y, index_t n) {
  map([](REAL v) { return tanh(v); }, n, y, x);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    scale(const REAL *__restrict__ x, const REAL *__restrict__ factor, REAL *__restrict__ y, index_t n) {
  REAL by = *factor;
  map([=](REAL v) { return v * by; }, n, y, x);
}

// Backward ------------------------------------------------------------------------------------------------------------

// Products, not choices: the gradient's NaN must come through where the activation is 0, too.
__device__ __forceinline__ REAL through_relu(REAL dy, REAL y) { return dy * REAL(y > 0); }
__device__ __forceinline__ REAL through_sigmoid(REAL dy, REAL y) { return dy * y * (1 - y); }
__device__ __forceinline__ REAL through_tanh(REAL dy, REAL y) { return dy * (1 - y * y); }

extern "C" __global__ void __launch_bounds__(BLOCK)
    relu_backward(const REAL *__restrict__ dy, const REAL *__restrict__ y, REAL *__restrict__ dx, index_t n) {
  map(through_relu, n, dx, dy, y);
}
extern "C" __global__ void __launch_bounds__(BLOCK)
    sigmoid_backward(const REAL *__restrict__ dy, const REAL *__restrict__ y, REAL *__restrict__ dx, index_t n) {
  map(through_sigmoid, n, dx, dy, y);
}
extern "C" __global__ void __launch_bounds__(BLOCK)
    tanh_backward(const REAL *__restrict__ dy, const REAL *__restrict__ y, REAL *__restrict__ dx, index_t n) {
  map(through_tanh, n, dx, dy, y);
}

// With `sums`: (gridDim.y, c), whose column sums are dx's.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    relu_backward_sums(const REAL *__restrict__ dy, const REAL *__restrict__ y, REAL *__restrict__ dx,
                       REAL *__restrict__ sums, index_t n, index_t c, int width) {
  map_and_sum(through_relu, dx, sums, n, c, width, dy, y);
}
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    sigmoid_backward_sums(const REAL *__restrict__ dy, const REAL *__restrict__ y, REAL *__restrict__ dx,
                          REAL *__restrict__ sums, index_t n, index_t c, int width) {
  map_and_sum(through_sigmoid, dx, sums, n, c, width, dy, y);
}
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    tanh_backward_sums(const REAL *__restrict__ dy, const REAL *__restrict__ y, REAL *__restrict__ dx,
                       REAL *__restrict__ sums, index_t n, index_t c, int width) {
  map_and_sum(through_tanh, dx, sums, n, c, width, dy, y);
}
