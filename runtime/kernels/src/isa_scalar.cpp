#include <cstring>

#include "constants.h"
#include "kernels.h"

namespace embedge::scalar {

struct Tile {
  using Code = int16_t;
  static constexpr int kRows = 2, kVectors = 1, kGroup = 1;
  static constexpr int kQueryRows = 2, kKeyVectors = 1;
  static int offset(int zero_point) { return zero_point; }
  static int place(int column, int) { return column; }

  template <int kCount, int kColumns, typename Sums>
  static void sums(const Code* rows, int inputs, const unsigned char* packed, Sums (&out)[kCount][kColumns]) {
    int32_t acc[kCount][16 * kColumns];
    for (int r = 0; r < kCount; ++r) memcpy(acc[r], packed, sizeof acc[r]);
    packed += kColumns * 64;
    for (int k = 0; k < inputs; ++k, packed += kColumns * 16)
      for (int r = 0; r < kCount; ++r)
        for (int c = 0; c < 16 * kColumns; ++c)
          acc[r][c] += rows[static_cast<size_t>(r) * inputs + k] * static_cast<int8_t>(packed[c]);
    memcpy(out, acc, sizeof acc);
  }
};

#include "lanes.h"
#include "product.h"
#include "attention.h"
#include "layer.h"

EMBEDGE_KERNELS("scalar")

}  // namespace embedge::scalar
