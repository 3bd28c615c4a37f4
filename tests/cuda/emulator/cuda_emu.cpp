// The scheduler of the emulator's fibers, the same for every kernel:  g++ -include cuda_emu.h -c cuda_emu.cpp
#include <link.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emu {
constexpr size_t STACK = 64 << 10;
struct Fiber {
  jmp_buf jb; St st; unsigned mask; int line; uint3 tid; char *stack = nullptr;
  Fiber() = default; Fiber(Fiber &&f) { *this = f; f.stack = nullptr; }
  ~Fiber() { delete[] stack; }
 private: Fiber &operator=(const Fiber &) = default;
};
struct State {                                       // plain statics: TLS holds __shared__ only
  std::vector<Fiber> f; std::vector<uint64_t> slot; std::vector<int> order;
  jmp_buf sched; int n; void (*body)(void **); void **args; size_t shmem, size; void *shared; char err[512];
};
Seen S;
static State s;

static char *dynamic_shared(size_t size) {           // whatever reads or writes behind it ends the process
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

void suspend(St st, unsigned mask, int line) {
  Fiber &f = s.f[S.cur]; f.st = st; f.mask = mask; f.line = line;
  if (!_setjmp(f.jb)) _longjmp(s.sched, 1);
}
static void entry() { for (;;) { s.body(s.args); suspend(DONE, 0, 0); } }
static void resume(int i) {
  Fiber &f = s.f[i]; S.cur = i; threadIdx = f.tid; f.st = RUN;
  if (_setjmp(s.sched)) return;
  if (f.stack) _longjmp(f.jb, 1);
  f.stack = new char[STACK];
  ucontext_t c; getcontext(&c); c.uc_stack.ss_sp = f.stack; c.uc_stack.ss_size = STACK; c.uc_link = nullptr;
  makecontext(&c, entry, 0); setcontext(&c);
}
static bool fail(const char *what) {
  int n = snprintf(s.err, sizeof s.err, "%s in block (%u,%u,%u):", what, blockIdx.x, blockIdx.y, blockIdx.z), last = -2;
  for (int i = 0; i < s.n; i++) {
    int l = s.f[i].st == DONE ? -1 : s.f[i].line;
    if (l != last && n < 440) n += l < 0 ? snprintf(s.err + n, 60, " t%d.. exited;", i) : snprintf(s.err + n, 60, " t%d.. waits at line %d;", i, l);
    last = l;
  }
  s.f.clear(); return false;                         // abandon the half-run fibers
}
static void run_warp(int w, int end) {               // as far as it gets alone: exposes missing barriers
  for (bool moved = true; moved;) {
    moved = false;
    for (int j = w; j < end; j++) if (int i = s.order[j]; s.f[i].st == RUN) { resume(i); moved = true; if (S.fault) return; }
    int b = s.order[w] & ~31;
    for (int i = b; i < b + end - w; i++) if (s.f[i].st == WARP) {
      unsigned m = s.f[i].mask; bool ok = m >> (i & 31) & 1;
      for (int l = 0; l < 32 && ok; l++) if (m >> l & 1)
        ok = b + l < s.n && s.f[b + l].st == WARP && s.f[b + l].mask == m && s.f[b + l].line == s.f[i].line;
      if (ok) { moved = true; for (int l = 0; l < 32; l++) if (m >> l & 1) s.f[b + l].st = RUN; }
    }
  }
}
static int least(int a, int b) { return a < b ? a : b; }
static bool run_block() {
  for (int i = 0; i < s.n; i++) s.f[i].st = RUN;
  for (;;) {
    for (int w = 0; w < s.n;) { int e = w + least(32, s.n - (s.order[w] & ~31)); run_warp(w, e); w = e; if (S.fault) return fail(S.fault); }
    int done = 0, blk = 0;
    for (int i = 0; i < s.n; i++) { done += s.f[i].st == DONE; blk += s.f[i].st == BLOCK && s.f[i].line == s.f[0].line; }
    if (done == s.n) return true;
    if (blk != s.n) return fail("divergent barrier");
    for (int i = 0; i < s.n; i++) s.f[i].st = RUN;
  }
}
static void find_shared() {                          // every __shared__ variable, in this OS thread's TLS
  [[maybe_unused]] static thread_local volatile char touched; touched = 1;  // which is there from then on
  s.shared = nullptr;
  dl_iterate_phdr([](dl_phdr_info *p, size_t, void *) -> int {
    for (int i = 0; i < p->dlpi_phnum; i++) {
      auto &h = p->dlpi_phdr[i]; uintptr_t a = p->dlpi_addr + h.p_vaddr, me = (uintptr_t)&find_shared;
      if (h.p_type == PT_LOAD && me >= a && me < a + h.p_memsz) {
        for (int j = 0; j < p->dlpi_phnum; j++)
          if (p->dlpi_phdr[j].p_type == PT_TLS) { s.shared = p->dlpi_tls_data; s.size = p->dlpi_phdr[j].p_memsz; }
        return 1;
      }
    }
    return 0;
  }, nullptr);
}
static void poison() {                               // fill shared memory with NaN
  if (s.shared) memset(s.shared, 0xFF, s.size);
  if (s.shmem) memset(S.dyn, 0xFF, s.shmem);
}
static void shuffle(int *a, int n, unsigned order) {
  uint64_t r = order;
  for (int i = n - 1; i > 0 && order; i--) {           // Fisher and Yates; to swap with the mirror image descends
    r = r * 6364136223846793005u + 1442695040888963407u;
    int j = order == 1 ? n - 1 - i : (int)((r >> 33) % (i + 1));
    if (order > 1 || j < i) std::swap(a[i], a[j]);
  }
}
// order: 0 ascending, 1 descending, blocks too, else a seed of a random warp and lane order
const char *launch(void (*body)(void **), void **args, const unsigned *g, const unsigned *b, unsigned shmem, unsigned order, int bound) {
  if (!g[0] || g[0] >> 31 || !g[1] || g[1] > 65535 || !g[2] || g[2] > 65535) return "invalid grid size";
  if (b[0] > 1024 || b[1] > 1024 || b[2] > 64) return "invalid block size";
  s.n = b[0] * b[1] * b[2]; s.body = body; s.args = args; s.err[0] = 0; S.fault = nullptr;
  if (s.n < 1 || s.n > 1024) return "invalid block size";
  if (bound > 1024) return "__launch_bounds__ of more than 1024 threads";  // ptxas would ignore it
  if (s.n > bound) return "more threads than __launch_bounds__";
  if (shmem > 48 << 10) return "more than 48 KiB of dynamic shared memory";
  gridDim = {g[0], g[1], g[2]}; blockDim = {b[0], b[1], b[2]};
  if ((int)s.f.size() < s.n) { s.f.clear(); s.f.resize(s.n); }
  s.slot.assign(s.n + 32, 0); S.slot = s.slot.data(); S.dyn = dynamic_shared(s.shmem = shmem);
  s.order.resize(s.n); find_shared();
  for (int i = 0; i < s.n; i++) s.f[i].tid = {i % b[0], i / b[0] % b[1], i / (b[0] * b[1])};
  int nw = (s.n + 31) / 32, at = 0; std::vector<int> ws(nw); for (int i = 0; i < nw; i++) ws[i] = i;
  shuffle(ws.data(), nw, order);
  for (int w : ws) { int from = at; for (int i = w * 32; i < least(s.n, w * 32 + 32); i++) s.order[at++] = i; shuffle(&s.order[from], at - from, order > 1 ? order + w : order); }
  for (uint64_t k = 0, all = (uint64_t)g[0] * g[1] * g[2]; k < all; k++) {
    uint64_t at = order == 1 ? all - 1 - k : k;
    blockIdx = {(unsigned)(at % g[0]), (unsigned)(at / g[0] % g[1]), (unsigned)(at / g[0] / g[1])}; poison();
    if (!run_block()) return s.err;
  }
  return nullptr;
}
}  // namespace emu
