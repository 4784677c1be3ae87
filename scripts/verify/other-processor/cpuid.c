// Preloaded by scripts/verify/other-processor.ts (x86-64 Linux): answers the cpuid instructions of a library in which each of
// them has been replaced by ud2, two bytes as well. With HIDE_AVX512 in the environment, the answer has no AVX-512, VNNI or AMX.
#define _GNU_SOURCE
#include <cpuid.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define BIT(n) (1u << (n))

static int hide;
static int (*set_handler)(int, const struct sigaction *, struct sigaction *);

static void on_ud2(int signal_number, siginfo_t *info, void *context) {
  (void)info;
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  const unsigned char *code = (const unsigned char *)registers[REG_RIP];
  if (code[0] != 0x0f || code[1] != 0x0b) {
    signal(signal_number, SIG_DFL);
    return;
  }
  unsigned leaf = registers[REG_RAX], subleaf = registers[REG_RCX], a, b, c, d;
  __cpuid_count(leaf, subleaf, a, b, c, d);
  if (hide && leaf == 7 && subleaf == 0) {
    // F, DQ, IFMA, PF, ER, CD, BW, VL; VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ; 4VNNIW, 4FMAPS, VP2INTERSECT, FP16 and AMX
    b &= ~(BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31));
    c &= ~(BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14));
    d &= ~(BIT(2) | BIT(3) | BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25));
  }
  if (hide && leaf == 7 && subleaf == 1) a &= ~(BIT(4) | BIT(5)); // AVX-VNNI, AVX512-BF16
  registers[REG_RAX] = a;
  registers[REG_RBX] = b;
  registers[REG_RCX] = c;
  registers[REG_RDX] = d;
  registers[REG_RIP] += 2;
}

// Node resets all handlers when it starts; this one stays.
int sigaction(int number, const struct sigaction *action, struct sigaction *before) {
  if (number == SIGILL && action) {
    if (before) memset(before, 0, sizeof *before);
    return 0;
  }
  return set_handler(number, action, before);
}

__attribute__((constructor)) static void install(void) {
  hide = getenv("HIDE_AVX512") != NULL;
  set_handler = dlsym(RTLD_NEXT, "sigaction");
  struct sigaction action = {.sa_sigaction = on_ud2, .sa_flags = SA_SIGINFO | SA_NODEFER};
  set_handler(SIGILL, &action, NULL);
}
