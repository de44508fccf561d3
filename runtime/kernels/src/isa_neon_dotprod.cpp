// ARM with dot products: sdot adds four products of signed codes and weights to each of 4 sums, exactly. It takes four
// codes out of 16 that a register holds.
#include <arm_neon.h>

#include <cstring>

#include "constants.h"
#include "kernels.h"

namespace embedge::neon_dotprod {

struct Tile {
  using Code = int8_t;
  static constexpr int kRows = 6, kVectors = 1, kGroup = 4;
  static constexpr int kQueryRows = 6, kKeyVectors = 1;
  static int offset(int) { return 128; }
  static int place(int column, int within) { return column * kGroup + within; }

  // The products of group `kAt` of the four in `codes`.
  template <int kAt, int kCount, int kColumns>
  __attribute__((always_inline)) static void add(int32x4_t (&acc)[kCount][kColumns], const unsigned char* packed,
                                                 const int8x16_t (&codes)[kCount]) {
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) {
      const int8x16_t weights = vreinterpretq_s8_u8(vld1q_u8(packed + (kAt * kColumns + c) * 16));
#pragma GCC unroll 8
      for (int r = 0; r < kCount; ++r) acc[r][c] = vdotq_laneq_s32(acc[r][c], weights, codes[r], kAt);
    }
  }

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
    for (int k = 0; k < inputs; k += 4 * kGroup, packed += kColumns * 256) {
      int8x16_t codes[kCount];
#pragma GCC unroll 8
      for (int r = 0; r < kCount; ++r) codes[r] = vld1q_s8(rows + static_cast<size_t>(r) * inputs + k);
      add<0>(acc, packed, codes);
      add<1>(acc, packed, codes);
      add<2>(acc, packed, codes);
      add<3>(acc, packed, codes);
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

EMBEDGE_KERNELS("neon_dotprod")

}  // namespace embedge::neon_dotprod
