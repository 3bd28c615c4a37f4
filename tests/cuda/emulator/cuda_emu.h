// Host emulation of the CUDA C++ subset used by the kernels: one fiber per CUDA thread, one block
// at a time, on one OS thread.  Force-included before the .cu source, and linked with what cuda_emu.cpp
// becomes, which is compiled once:  g++ -include cuda_emu.h ... cuda_emu.o
#pragma once
// No <vector>, <memory>, <string>, <algorithm>: to read them took half the time of compiling a kernel.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#define CUDA_EMU 1
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __constant__ static
#define __restrict__ __restrict
#define __align__(n) alignas(n)
#define __shared__ thread_local                       // block-scope thread_local implies static
#define DYN_SHARED(T, name) T *name = (T *)emu::S.dyn  // CUDA: extern __shared__ T name[]

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x = 1, y = 1, z = 1; };
#define EMU_VEC(T, N)                                                             \
  struct alignas(2 * sizeof(T)) N##2 { T x, y; };                                  \
  struct N##3 { T x, y, z; };                                                      \
  struct alignas(4 * sizeof(T) > 16 ? 16 : 4 * sizeof(T)) N##4 { T x, y, z, w; };  \
  inline N##2 make_##N##2(T a, T b) { return {a, b}; }                             \
  inline N##4 make_##N##4(T a, T b, T c, T d) { return {a, b, c, d}; }
EMU_VEC(float, float) EMU_VEC(double, double) EMU_VEC(int, int)
#pragma GCC visibility push(hidden)                    // each library has a state of its own
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
static constexpr int warpSize = 32;
using __half = _Float16;
inline float __half2float(__half h) { return (float)h; }
inline __half __float2half(float f) { return (__half)f; }

namespace emu {
enum St : char { RUN, BLOCK, WARP, DONE };
struct Seen { int cur; uint64_t *slot; char *dyn; const char *fault; };  // what kernels see of a launch
extern Seen S;
void suspend(St st, unsigned mask, int line);        // park this fiber, back to the scheduler
const char *launch(void (*body)(void **), void **args, const unsigned *g, const unsigned *b, unsigned shmem, unsigned order, int bound);
}  // namespace emu
#pragma GCC visibility pop

namespace emu {
template <class T> void code(char *&s) {             // NumPy's name of a parameter type: "f4", "*f4", "i8"
  using U = std::remove_cv_t<T>;
  if constexpr (std::is_pointer_v<U>) { *s++ = '*'; code<std::remove_pointer_t<U>>(s); }
  else if constexpr (std::is_void_v<U>) *s++ = 'V';
  else {
    *s++ = std::is_same_v<U, bool> ? 'b' : std::is_floating_point_v<U> || std::is_same_v<U, _Float16> ? 'f' : !std::is_integral_v<U> ? 'V' : std::is_signed_v<U> ? 'i' : 'u';
    s += snprintf(s, 4, "%zu", sizeof(U));
  }
}
template <auto K> struct Call;                        // unpack cuLaunchKernel-style void *args[]
template <class... A, void (*K)(A...)> struct Call<K> {
  template <size_t... I> static void go(void **a, std::index_sequence<I...>) { K(*(std::remove_cv_t<A> *)a[I]...); }
  static void body(void **a) { go(a, std::index_sequence_for<A...>{}); }
  static const char *sig() { static char text[8 * sizeof...(A) + 1]; char *s = text; ((code<A>(s), *s++ = ' '), ...); *s = 0; return text; }
};
inline int lane() { return S.cur & 31; }
template <class T> T xchg(unsigned m, T v, int src, int line) {
  static_assert(sizeof(T) <= 8); int c = S.cur, w = c & ~31;
  if (!(m >> src & 1)) { S.fault = "shuffle from a lane outside its mask"; suspend(WARP, m, line); }  // for good
  memcpy(&S.slot[c], &v, sizeof v); suspend(WARP, m, line);
  T r; memcpy(&r, &S.slot[w + src], sizeof r); suspend(WARP, m, line);
  return r;
}
}  // namespace emu
#define EMU_EXPORT(k, bound)                                                                                       \
  extern "C" const char *k##__emu(void **a, const unsigned *g, const unsigned *b, unsigned shmem, unsigned order) { \
    return emu::launch(emu::Call<k>::body, a, g, b, shmem, order, bound); }                                              \
  extern "C" const char *k##__sig() { return emu::Call<k>::sig(); }

#define EMU_L int line = __builtin_LINE()
inline void __syncthreads(EMU_L) { emu::suspend(emu::BLOCK, 0, line); }
inline void __syncwarp(unsigned m = ~0u, EMU_L) { emu::suspend(emu::WARP, m, line); }
inline void __threadfence() {}
template <class T> T __shfl_sync(unsigned m, T v, int s, int w = 32, EMU_L) { int l = emu::lane(); return emu::xchg(m, v, (l & ~(w - 1)) | (s & (w - 1)), line); }
template <class T> T __shfl_xor_sync(unsigned m, T v, int x, int w = 32, EMU_L) { int l = emu::lane(), s = l ^ x; return emu::xchg(m, v, (s & ~(w - 1)) > (l & ~(w - 1)) ? l : s, line); }
template <class T> T __shfl_down_sync(unsigned m, T v, unsigned d, int w = 32, EMU_L) { int l = emu::lane(), s = l + d; return emu::xchg(m, v, (l & (w - 1)) + (int)d >= w ? l : s, line); }
template <class T> T __shfl_up_sync(unsigned m, T v, unsigned d, int w = 32, EMU_L) { int l = emu::lane(); return emu::xchg(m, v, (l & (w - 1)) < (int)d ? l : l - (int)d, line); }
inline unsigned __ballot_sync(unsigned m, int p, EMU_L) { unsigned r = 0; int c = emu::S.cur; emu::S.slot[c] = p != 0; emu::suspend(emu::WARP, m, line); for (int l = 0; l < 32; l++) if (m >> l & 1) r |= (unsigned)emu::S.slot[(c & ~31) + l] << l; emu::suspend(emu::WARP, m, line); return r; }
inline int __any_sync(unsigned m, int p, EMU_L) { return __ballot_sync(m, p, line) != 0; }
inline int __all_sync(unsigned m, int p, EMU_L) { return __ballot_sync(m, p, line) == m; }
template <class T> T atomicAdd(T *p, std::type_identity_t<T> v) { T o = *p; *p = o + v; return o; }
template <class T> T atomicMax(T *p, std::type_identity_t<T> v) { T o = *p; *p = o > v ? o : v; return o; }
template <class T> T atomicCAS(T *p, std::type_identity_t<T> c, std::type_identity_t<T> v) { T o = *p; if (o == c) *p = v; return o; }
template <class T> T atomicExch(T *p, std::type_identity_t<T> v) { T o = *p; *p = v; return o; }
template <class T> T __ldg(const T *p) { return *p; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __int_as_float(int i) { float f; memcpy(&f, &i, 4); return f; }
inline int __float_as_int(float f) { int i; memcpy(&i, &f, 4); return i; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (uint64_t)a * b >> 32; }
// Of a number and NaN CUDA's are the number; std's depend on the order.
template <class T> T max(T a, T b) { if constexpr (std::is_floating_point_v<T>) return std::fmax(a, b); else return a < b ? b : a; }
template <class T> T min(T a, T b) { if constexpr (std::is_floating_point_v<T>) return std::fmin(a, b); else return b < a ? b : a; }
using std::isnan; using std::isinf;
using std::exp; using std::log; using std::log1p; using std::sqrt; using std::tanh; using std::erf; using std::fabs; using std::fmax;  // of float in float, as on a GPU
