// x86-64 with AVX2 and FMA. The codes are kept as 16-bit numbers, so that vpmaddwd, which adds two products to each of
// 8 sums, is exact; vpmaddubsw on 8-bit ones would overflow. Weights are widened as they are loaded.
#include <immintrin.h>

#include <cstring>

#include "constants.h"
#include "kernels.h"

namespace embedge::avx2 {

struct Tile {
  using Code = int16_t;
  static constexpr int kRows = 6, kVectors = 1, kGroup = 2;
  static constexpr int kQueryRows = 3, kKeyVectors = 2;
  static int offset(int zero_point) { return zero_point; }
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
    for (int k = 0; k < inputs; k += kGroup, packed += kColumns * 32) {
      __m256i weights[2 * kColumns];
#pragma GCC unroll 8
      for (int c = 0; c < 2 * kColumns; ++c)
        weights[c] = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(packed + c * 16)));
#pragma GCC unroll 8
      for (int r = 0; r < kCount; ++r) {
        int32_t group;
        memcpy(&group, rows + static_cast<size_t>(r) * inputs + k, sizeof group);
        const __m256i codes = _mm256_set1_epi32(group);
#pragma GCC unroll 8
        for (int c = 0; c < 2 * kColumns; ++c)
          acc[r][c] = _mm256_add_epi32(acc[r][c], _mm256_madd_epi16(weights[c], codes));
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kCount; ++r) memcpy(out[r], acc[r], sizeof acc[r]);
  }
};

// vpmaddwd adds two products of 16-bit codes for each of 8 sums.
__attribute__((always_inline)) static inline __m256i add_pairs_of_8(__m256i sums, __m256i columns, __m256i row) {
  return _mm256_add_epi32(sums, _mm256_madd_epi16(columns, row));
}

#include "pairs_avx.h"
#include "lanes.h"
#include "product.h"
#include "attention.h"
#include "layer.h"
#include "ends.h"

EMBEDGE_KERNELS("avx2")

}  // namespace embedge::avx2
