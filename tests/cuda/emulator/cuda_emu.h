// Host emulation of the CUDA C++ subset used by the kernels: one fiber per CUDA thread, one block
// at a time, on one OS thread.  Force-included before the .cu source:  g++ -include cuda_emu.h
#pragma once
#include <setjmp.h>
#include <ucontext.h>
#include <link.h>
#include <sys/mman.h>
// No <random>, <memory>, <string>, <algorithm>: to read them took half the time of compiling a kernel.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

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
static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;
static constexpr int warpSize = 32;
using __half = _Float16;
inline float __half2float(__half h) { return (float)h; }
inline __half __float2half(float f) { return (__half)f; }

namespace emu {
constexpr size_t STACK = 64 << 10;
enum St : char { RUN, BLOCK, WARP, DONE };
struct Fiber {
  jmp_buf jb; St st; unsigned mask; int line; uint3 tid; char *stack = nullptr;
  Fiber() = default; Fiber(Fiber &&f) { *this = f; f.stack = nullptr; }
  ~Fiber() { delete[] stack; }
 private: Fiber &operator=(const Fiber &) = default;
};
struct State {                                       // plain statics: TLS holds __shared__ only
  std::vector<Fiber> f; std::vector<uint64_t> slot; std::vector<int> order;
  jmp_buf sched; ucontext_t boot; int cur, n; void (*body)(void **); void **args;
  char *dyn = nullptr; size_t shmem; const char *fault; char err[512];
};
static State S;

inline char *dynamic_shared(size_t size) {           // whatever reads or writes behind it ends the process
#ifdef __SANITIZE_ADDRESS__
  static std::vector<char> memory; memory = std::vector<char>(size);
  return memory.data();
#else
  constexpr size_t ROOM = 64 << 10;                  // whole pages
  static char *memory = nullptr;
  if (!memory) {
    memory = (char *)mmap(nullptr, 2 * ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(memory + ROOM, ROOM, PROT_NONE);
  }
  return memory + ROOM - (size + 15) / 16 * 16;
#endif
}

inline void suspend(St st, unsigned mask, int line) {  // park this fiber, back to the scheduler
  Fiber &f = S.f[S.cur]; f.st = st; f.mask = mask; f.line = line;
  if (!_setjmp(f.jb)) _longjmp(S.sched, 1);
}
inline void entry() { for (;;) { S.body(S.args); suspend(DONE, 0, 0); } }
inline void resume(int i) {
  Fiber &f = S.f[i]; S.cur = i; threadIdx = f.tid; f.st = RUN;
  if (_setjmp(S.sched)) return;
  if (f.stack) _longjmp(f.jb, 1);
  f.stack = new char[STACK];
  ucontext_t c; getcontext(&c); c.uc_stack.ss_sp = f.stack; c.uc_stack.ss_size = STACK; c.uc_link = nullptr;
  makecontext(&c, entry, 0); setcontext(&c);
}
inline bool fail(const char *what) {
  int n = snprintf(S.err, sizeof S.err, "%s in block (%u,%u,%u):", what, blockIdx.x, blockIdx.y, blockIdx.z), last = -2;
  for (int i = 0; i < S.n; i++) {
    int l = S.f[i].st == DONE ? -1 : S.f[i].line;
    if (l != last && n < 440) n += l < 0 ? snprintf(S.err + n, 60, " t%d.. exited;", i) : snprintf(S.err + n, 60, " t%d.. waits at line %d;", i, l);
    last = l;
  }
  S.f.clear(); return false;                         // abandon the half-run fibers
}
inline void run_warp(int w, int end) {               // as far as it gets alone: exposes missing barriers
  for (bool moved = true; moved;) {
    moved = false;
    for (int j = w; j < end; j++) if (int i = S.order[j]; S.f[i].st == RUN) { resume(i); moved = true; if (S.fault) return; }
    int b = S.order[w] & ~31;
    for (int i = b; i < b + end - w; i++) if (S.f[i].st == WARP) {
      unsigned m = S.f[i].mask; bool ok = m >> (i & 31) & 1;
      for (int l = 0; l < 32 && ok; l++) if (m >> l & 1)
        ok = b + l < S.n && S.f[b + l].st == WARP && S.f[b + l].mask == m && S.f[b + l].line == S.f[i].line;
      if (ok) { moved = true; for (int l = 0; l < 32; l++) if (m >> l & 1) S.f[b + l].st = RUN; }
    }
  }
}
inline int least(int a, int b) { return a < b ? a : b; }
inline bool run_block() {
  for (int i = 0; i < S.n; i++) S.f[i].st = RUN;
  for (;;) {
    for (int w = 0; w < S.n;) { int e = w + least(32, S.n - (S.order[w] & ~31)); run_warp(w, e); w = e; if (S.fault) return fail(S.fault); }
    int done = 0, blk = 0;
    for (int i = 0; i < S.n; i++) { done += S.f[i].st == DONE; blk += S.f[i].st == BLOCK && S.f[i].line == S.f[0].line; }
    if (done == S.n) return true;
    if (blk != S.n) return fail("divergent barrier");
    for (int i = 0; i < S.n; i++) S.f[i].st = RUN;
  }
}
inline void poison() {                               // fill every __shared__ variable with NaN
  [[maybe_unused]] static thread_local volatile char touched; touched = 1;  // an OS thread's TLS is there from then on
  dl_iterate_phdr([](dl_phdr_info *p, size_t, void *) -> int {
    for (int i = 0; i < p->dlpi_phnum; i++) {
      auto &h = p->dlpi_phdr[i]; uintptr_t a = p->dlpi_addr + h.p_vaddr, me = (uintptr_t)&poison;
      if (h.p_type == PT_LOAD && me >= a && me < a + h.p_memsz) {
        for (int j = 0; j < p->dlpi_phnum; j++)
          if (p->dlpi_phdr[j].p_type == PT_TLS && p->dlpi_tls_data) memset(p->dlpi_tls_data, 0xFF, p->dlpi_phdr[j].p_memsz);
        return 1;
      }
    }
    return 0;
  }, nullptr);
  if (S.shmem) memset(S.dyn, 0xFF, S.shmem);
}
inline void shuffle(int *a, int n, unsigned order) {
  uint64_t r = order;
  for (int i = n - 1; i > 0 && order; i--) {           // Fisher and Yates; to swap with the mirror image descends
    r = r * 6364136223846793005u + 1442695040888963407u;
    int j = order == 1 ? n - 1 - i : (int)((r >> 33) % (i + 1));
    if (order > 1 || j < i) std::swap(a[i], a[j]);
  }
}
// order: 0 ascending, 1 descending, blocks too, else a seed of a random warp and lane order
inline const char *launch(void (*body)(void **), void **args, const unsigned *g, const unsigned *b, unsigned shmem, unsigned order, int bound) {
  if (!g[0] || g[0] >> 31 || !g[1] || g[1] > 65535 || !g[2] || g[2] > 65535) return "invalid grid size";
  if (b[0] > 1024 || b[1] > 1024 || b[2] > 64) return "invalid block size";
  S.n = b[0] * b[1] * b[2]; S.body = body; S.args = args; S.err[0] = 0; S.fault = nullptr;
  if (S.n < 1 || S.n > 1024) return "invalid block size";
  if (bound > 1024) return "__launch_bounds__ of more than 1024 threads";  // ptxas would ignore it
  if (S.n > bound) return "more threads than __launch_bounds__";
  if (shmem > 48 << 10) return "more than 48 KiB of dynamic shared memory";
  gridDim = {g[0], g[1], g[2]}; blockDim = {b[0], b[1], b[2]};
  if ((int)S.f.size() < S.n) { S.f.clear(); S.f.resize(S.n); }
  S.slot.assign(S.n + 32, 0); S.dyn = dynamic_shared(S.shmem = shmem);
  S.order.resize(S.n);
  for (int i = 0; i < S.n; i++) S.f[i].tid = {i % b[0], i / b[0] % b[1], i / (b[0] * b[1])};
  int nw = (S.n + 31) / 32, at = 0; std::vector<int> ws(nw); for (int i = 0; i < nw; i++) ws[i] = i;
  shuffle(ws.data(), nw, order);
  for (int w : ws) { int from = at; for (int i = w * 32; i < least(S.n, w * 32 + 32); i++) S.order[at++] = i; shuffle(&S.order[from], at - from, order > 1 ? order + w : order); }
  for (uint64_t k = 0, all = (uint64_t)g[0] * g[1] * g[2]; k < all; k++) {
    uint64_t at = order == 1 ? all - 1 - k : k;
    blockIdx = {(unsigned)(at % g[0]), (unsigned)(at / g[0] % g[1]), (unsigned)(at / g[0] / g[1])}; poison();
    if (!run_block()) return S.err;
  }
  return nullptr;
}
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
