// Products of 16-bit codes on ARM: smlal adds a product to each of 4 sums. Included within the namespace of each of
// ARM's instruction sets.
constexpr bool kPairsTogether = false;

struct PairSums {
  int32x4_t part[4];
};

__attribute__((always_inline)) static inline void add_pairs(PairSums& sums, const int32_t* columns, int32_t row) {
  const auto* from = reinterpret_cast<const uint8_t*>(columns);
  const int16x4_t pair = vreinterpret_s16_s32(vdup_n_s32(row));
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    const int16x8_t first = vreinterpretq_s16_u8(vld1q_u8(from + i * 16));
    const int16x8_t second = vreinterpretq_s16_u8(vld1q_u8(from + 32 + i * 16));
    sums.part[2 * i] = vmlal_lane_s16(sums.part[2 * i], vget_low_s16(first), pair, 0);
    sums.part[2 * i + 1] = vmlal_high_lane_s16(sums.part[2 * i + 1], first, pair, 0);
    sums.part[2 * i] = vmlal_lane_s16(sums.part[2 * i], vget_low_s16(second), pair, 1);
    sums.part[2 * i + 1] = vmlal_high_lane_s16(sums.part[2 * i + 1], second, pair, 1);
  }
}
