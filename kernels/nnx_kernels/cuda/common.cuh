// What every kernel uses. REAL is float or double, given by the compiler's -D.
#ifndef DYN_SHARED  // the tests' emulator has its own
#define DYN_SHARED(T, name) extern __shared__ T name[]
#endif

typedef long long index_t;  // sizes go beyond 2**31 elements

// Threads, as in nnx_cupy/_launch.py. Kernels with many loads at once have __launch_bounds__(BLOCK, 2): with BLOCK
// alone nvcc may aim at 32 registers, for full occupancy, and make the loads wait for one another, or even spill.
constexpr int BLOCK = 256;

// N neighbours, which are one load or store of up to 16 bytes.
template <class T, int N>
struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Vector {
  T of[N];
};

constexpr int WIDTH = 16 / sizeof(REAL);
using Pack = Vector<REAL, WIDTH>;
static_assert(sizeof(Pack) == 16, "the host counts packs of 16 bytes");

// Vectors may stand in place of elements only where the pointer is aligned: a view starts at any element.
template <int N = WIDTH, class T>
__device__ __forceinline__ bool aligned(const T *p) {
  return reinterpret_cast<unsigned long long>(p) % alignof(Vector<T, N>) == 0;
}
template <int N = WIDTH, class T>
__device__ __forceinline__ Vector<T, N> *vectors(T *p) {
  return reinterpret_cast<Vector<T, N> *>(p);
}
template <int N = WIDTH, class T>
__device__ __forceinline__ const Vector<T, N> *vectors(const T *p) {
  return reinterpret_cast<const Vector<T, N> *>(p);
}

__device__ __forceinline__ index_t global_thread() { return blockIdx.x * (index_t)blockDim.x + threadIdx.x; }
__device__ __forceinline__ index_t all_threads() { return gridDim.x * (index_t)blockDim.x; }
