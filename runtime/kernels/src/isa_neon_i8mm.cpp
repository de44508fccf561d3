// ARM with products of 8-bit matrices: smmla adds, exactly, the products of two rows of 8 codes by two outputs' 8
// weights to 2 x 2 sums.
#include <arm_neon.h>

#include <cstring>

#include "constants.h"
#include "kernels.h"

namespace embedge::neon_i8mm {

struct Tile {
  using Code = int8_t;
  static constexpr int kRows = 6, kVectors = 1, kGroup = 8, kRowStep = 2;
  static constexpr int kQueryRows = 6, kKeyVectors = 1;
  static int offset(int) { return 128; }
  static int place(int column, int within) { return column * kGroup + within; }

  template <int kCount, int kColumns, typename Sums>
  __attribute__((always_inline)) static void sums(const Code* rows, int inputs, const unsigned char* packed,
                                                  Sums (&out)[kCount][kColumns]) {
    constexpr int kPairs = (kCount + 1) / 2, kBlocks = 8 * kColumns;
    int32x4_t acc[kPairs][kBlocks];
#pragma GCC unroll 16
    for (int c = 0; c < kBlocks; ++c) {
      const int32x2_t start = vreinterpret_s32_u8(vld1_u8(packed + c * 8));
#pragma GCC unroll 8
      for (int p = 0; p < kPairs; ++p) acc[p][c] = vcombine_s32(start, start);
    }
    packed += kColumns * 64;
    for (int k = 0; k < inputs; k += kGroup, packed += kColumns * 128) {
      int8x16_t codes[kPairs];
#pragma GCC unroll 8
      for (int p = 0; p < kPairs; ++p) {
        // A row without a second one makes a pair with itself.
        const Code* first = rows + static_cast<size_t>(2 * p) * inputs + k;
        const Code* second = 2 * p + 1 < kCount ? first + inputs : first;
        codes[p] = vcombine_s8(vld1_s8(first), vld1_s8(second));
      }
#pragma GCC unroll 16
      for (int c = 0; c < kBlocks; ++c) {
        const int8x16_t weights = vreinterpretq_s8_u8(vld1q_u8(packed + c * 16));
#pragma GCC unroll 8
        for (int p = 0; p < kPairs; ++p) acc[p][c] = vmmlaq_s32(acc[p][c], codes[p], weights);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kCount; ++r) {
      int64x2_t row[kBlocks / 2];
#pragma GCC unroll 16
      for (int c = 0; c < kBlocks; c += 2) {
        const int64x2_t left = vreinterpretq_s64_s32(acc[r / 2][c]), right = vreinterpretq_s64_s32(acc[r / 2][c + 1]);
        row[c / 2] = r % 2 ? vzip2q_s64(left, right) : vzip1q_s64(left, right);
      }
      memcpy(out[r], row, sizeof row);
    }
  }
};

#include "pairs_neon.h"
#include "lanes.h"
#include "product.h"
#include "attention.h"
#include "layer.h"
#include "ends.h"

EMBEDGE_KERNELS("neon_i8mm")

}  // namespace embedge::neon_i8mm
