// x86-64 with AVX-512 and its VNNI: vpdpbusd adds four products of unsigned by signed codes to each of 16 sums, exactly.
#include <immintrin.h>

#include <cstring>

#include "constants.h"
#include "kernels.h"

namespace embedge::avx512_vnni {

struct Tile {
  using Code = uint8_t;
  static constexpr int kRows = 6, kVectors = 4, kGroup = 4;
  static constexpr int kQueryRows = 6, kKeyVectors = 4;
  static int offset(int) { return 0; }
  static int place(int column, int within) { return column * kGroup + within; }

  template <int kCount, int kColumns, typename Sums>
  __attribute__((always_inline)) static void sums(const Code* rows, int inputs, const unsigned char* packed,
                                                  Sums (&out)[kCount][kColumns]) {
    __m512i acc[kCount][kColumns];
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) {
      const __m512i start = _mm512_loadu_si512(packed + c * 64);
#pragma GCC unroll 8
      for (int r = 0; r < kCount; ++r) acc[r][c] = start;
    }
    packed += kColumns * 64;
    for (int k = 0; k < inputs; k += kGroup, packed += kColumns * 64) {
      __m512i weights[kColumns];
#pragma GCC unroll 8
      for (int c = 0; c < kColumns; ++c) weights[c] = _mm512_loadu_si512(packed + c * 64);
#pragma GCC unroll 8
      for (int r = 0; r < kCount; ++r) {
        int32_t group;
        memcpy(&group, rows + static_cast<size_t>(r) * inputs + k, sizeof group);
        const __m512i codes = _mm512_set1_epi32(group);
#pragma GCC unroll 8
        for (int c = 0; c < kColumns; ++c) acc[r][c] = _mm512_dpbusd_epi32(acc[r][c], codes, weights[c]);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kCount; ++r)
#pragma GCC unroll 8
      for (int c = 0; c < kColumns; ++c) memcpy(&out[r][c], &acc[r][c], sizeof acc[r][c]);
  }
};

// vpdpwssd adds two products of 16-bit codes to each of 16 sums.
constexpr bool kPairsTogether = true;

struct PairSums {
  __m512i part;
};

__attribute__((always_inline)) static inline void add_pairs(PairSums& sums, const int32_t* columns, int32_t row) {
  sums.part = _mm512_dpwssd_epi32(sums.part, _mm512_set1_epi32(row), _mm512_loadu_si512(columns));
}

#include "lanes.h"
#include "product.h"
#include "attention.h"
#include "layer.h"
#include "ends.h"

EMBEDGE_KERNELS("avx512_vnni")

}  // namespace embedge::avx512_vnni
