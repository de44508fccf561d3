// Products of 16-bit codes on x86-64 without AVX-512, which takes 16 sums in halves. Included within the namespace of
// each such instruction set, which has given `add_pairs_of_8`.
constexpr bool kPairsTogether = true;

struct PairSums {
  __m256i part[2];
};

__attribute__((always_inline)) static inline void add_pairs(PairSums& sums, const int32_t* columns, int32_t row) {
  const auto* halves = reinterpret_cast<const __m256i*>(columns);
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i)
    sums.part[i] = add_pairs_of_8(sums.part[i], _mm256_loadu_si256(halves + i), _mm256_set1_epi32(row));
}
