// ARM without dot products of 8-bit numbers. smull multiplies 8 codes by 8 weights, both signed, to 16 bits, which hold
// even -128 * -128; sadalp adds two such products to each of 4 sums.
#include <arm_neon.h>

#include <cstring>

#include "constants.h"
#include "kernels.h"

namespace embedge::neon {

struct Tile {
  using Code = int8_t;
  static constexpr int kRows = 5, kVectors = 1, kGroup = 2;
  static constexpr int kQueryRows = 6, kKeyVectors = 1;
  static int offset(int) { return 128; }
  static int place(int column, int within) { return column * kGroup + within; }

  template <int kCount, int kColumns, typename Sums>
  __attribute__((always_inline)) static void sums(const Code* rows, int inputs, const unsigned char* packed,
                                                  Sums (&out)[kCount][kColumns]) {
    int32x4_t acc[kCount][4 * kColumns];
#pragma GCC unroll 8
    for (int c = 0; c < 4 * kColumns; ++c) {
      const int32x4_t start = vreinterpretq_s32_u8(vld1q_u8(packed + c * 16));
#pragma GCC unroll 8
      for (int r = 0; r < kCount; ++r) acc[r][c] = start;
    }
    packed += kColumns * 64;
    for (int k = 0; k < inputs; k += kGroup, packed += kColumns * 32) {
      int8x16_t weights[2 * kColumns];
#pragma GCC unroll 8
      for (int c = 0; c < 2 * kColumns; ++c) weights[c] = vreinterpretq_s8_u8(vld1q_u8(packed + c * 16));
#pragma GCC unroll 8
      for (int r = 0; r < kCount; ++r) {
        int16_t group;
        memcpy(&group, rows + static_cast<size_t>(r) * inputs + k, sizeof group);
        const int8x16_t codes = vreinterpretq_s8_s16(vdupq_n_s16(group));
#pragma GCC unroll 8
        for (int c = 0; c < 2 * kColumns; ++c) {
          const int16x8_t low = vmull_s8(vget_low_s8(weights[c]), vget_low_s8(codes));
          const int16x8_t high = vmull_high_s8(weights[c], codes);
          acc[r][2 * c] = vpadalq_s16(acc[r][2 * c], low);
          acc[r][2 * c + 1] = vpadalq_s16(acc[r][2 * c + 1], high);
        }
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kCount; ++r) memcpy(out[r], acc[r], sizeof acc[r]);
  }
};

#include "pairs_neon.h"
#include "lanes.h"
#include "product.h"
#include "attention.h"
#include "layer.h"
#include "ends.h"

EMBEDGE_KERNELS("neon")

}  // namespace embedge::neon
