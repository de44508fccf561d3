// Which kernels this CPU runs.
#include <cstdlib>
#include <cstring>

#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace embedge {

namespace scalar {
extern const Kernels kKernels;
}

#if defined(__x86_64__)

namespace avx2 {
extern const Kernels kKernels;
}
namespace avx_vnni {
extern const Kernels kKernels;
}
namespace avx512_vnni {
extern const Kernels kKernels;
}

namespace {

// Whether the system keeps the registers of `mask` when it switches threads.
bool keeps_registers(unsigned mask) {
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & mask) == mask;
}

struct Cpu {
  bool avx2 = false, avx_vnni = false, avx512_vnni = false;

  Cpu() {
    constexpr unsigned kFma = 1U << 12, kOsxsave = 1U << 27, kYmm = 0x6, kZmm = 0xe6;
    constexpr unsigned kAvx2 = 1U << 5, kAvx512 = 1U << 16 | 1U << 17 | 1U << 30 | 1U << 31;  // F, DQ, BW, VL
    constexpr unsigned kAvx512Vnni = 1U << 11, kAvxVnni = 1U << 4;
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & kOsxsave) || !(c & kFma) || !keeps_registers(kYmm)) return;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & kAvx2)) return;
    avx2 = true;
    avx512_vnni = (b & kAvx512) == kAvx512 && (c & kAvx512Vnni) && keeps_registers(kZmm);
    avx_vnni = a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & kAvxVnni);
  }
};

}  // namespace

// The fastest first.
static size_t list(const Kernels* (&found)[4]) {
  const Cpu cpu;
  size_t count = 0;
  if (cpu.avx512_vnni) found[count++] = &avx512_vnni::kKernels;
  if (cpu.avx_vnni) found[count++] = &avx_vnni::kKernels;
  if (cpu.avx2) found[count++] = &avx2::kKernels;
  found[count++] = &scalar::kKernels;
  return count;
}

#elif defined(__aarch64__)

namespace neon {
extern const Kernels kKernels;
}
namespace neon_dotprod {
extern const Kernels kKernels;
}
namespace neon_i8mm {
extern const Kernels kKernels;
}

static size_t list(const Kernels* (&found)[4]) {
  size_t count = 0;
#if defined(__linux__)
  constexpr unsigned long kDotprod = 1UL << 20, kI8mm = 1UL << 13;
  const bool dotprod = getauxval(AT_HWCAP) & kDotprod;
  if (dotprod && (getauxval(AT_HWCAP2) & kI8mm)) found[count++] = &neon_i8mm::kKernels;
  if (dotprod) found[count++] = &neon_dotprod::kKernels;
#elif defined(__APPLE__)
  found[count++] = &neon_dotprod::kKernels;  // every Mac with an ARM processor has it
#endif
  found[count++] = &neon::kKernels;
  found[count++] = &scalar::kKernels;
  return count;
}

#else

static size_t list(const Kernels* (&found)[4]) {
  found[0] = &scalar::kKernels;
  return 1;
}

#endif

const Kernels* find_kernels() {
  const Kernels* found[4];
  const size_t count = list(found);
  const char* asked = getenv("EMBEDGE_ISA");
  if (!asked || !*asked) return found[0];
  for (size_t i = 0; i < count; ++i)
    if (!strcmp(found[i]->name, asked)) return found[i];
  return nullptr;
}

}  // namespace embedge
