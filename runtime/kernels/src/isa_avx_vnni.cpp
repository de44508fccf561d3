// x86-64 with AVX-VNNI, which CPUs without AVX-512 have: vpdpbusd on 8 sums.
#include <immintrin.h>

#include <cstring>

#include "constants.h"
#include "kernels.h"

namespace embedge::avx_vnni {

struct Tile {
  using Code = uint8_t;
  static constexpr int kRows = 6, kVectors = 1, kGroup = 4;
  static constexpr int kQueryRows = 3, kKeyVectors = 2;
  static int offset(int) { return 0; }
  static int place(int column, int within) { return column * kGroup + within; }

  template <int kCount, int kColumns, typename Sums>
  __attribute__((always_inline)) static void sums(const Code* rows, int inputs, const unsigned char* packed,
                                                  Sums (&out)[kCount][kColumns]) {
    __m256i acc[kCount][2 * kColumns];
#pragma GCC unroll 8
    for (int c = 0; c < 2 * kColumns; ++c) {
      const __m256i start = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(packed + c * 32));
#pragma GCC unroll 8
      for (int r = 0; r < kCount; ++r) acc[r][c] = start;
    }
    packed += kColumns * 64;
    for (int k = 0; k < inputs; k += kGroup, packed += kColumns * 64) {
      __m256i weights[2 * kColumns];
#pragma GCC unroll 8
      for (int c = 0; c < 2 * kColumns; ++c)
        weights[c] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(packed + c * 32));
#pragma GCC unroll 8
      for (int r = 0; r < kCount; ++r) {
        int32_t group;
        memcpy(&group, rows + static_cast<size_t>(r) * inputs + k, sizeof group);
        const __m256i codes = _mm256_set1_epi32(group);
#pragma GCC unroll 8
        for (int c = 0; c < 2 * kColumns; ++c) acc[r][c] = _mm256_dpbusd_avx_epi32(acc[r][c], codes, weights[c]);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kCount; ++r) memcpy(out[r], acc[r], sizeof acc[r]);
  }
};

// vpdpwssd adds two products of 16-bit codes to each of 8 sums.
__attribute__((always_inline)) static inline __m256i add_pairs_of_8(__m256i sums, __m256i columns, __m256i row) {
  return _mm256_dpwssd_avx_epi32(sums, columns, row);
}

#include "pairs_avx.h"
#include "lanes.h"
#include "product.h"
#include "attention.h"
#include "layer.h"
#include "ends.h"

EMBEDGE_KERNELS("avx_vnni")

}  // namespace embedge::avx_vnni
