// Numbers that every instruction set computes with; docs/kernels.md says where each comes from.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef __FAST_MATH__
#error "the kernels' arithmetic is exact: compile without -ffast-math, and with -ffp-contract=off"
#endif

namespace embedge {

// Sums along a row are 16 partial ones, of every 16th number, added in halves: 0 + 8, 1 + 9, ..., then 0 + 4, and so on.
constexpr int kLanes = 16;

// Scores are kept for this many queries of a text at a time.
constexpr int kQueries = 12;
// Rows that go through the feed-forward part together: few enough that what lies between its products stays in the cache.
constexpr int kRows = 72;

// Adding and subtracting it rounds to an integer, half to even.
constexpr float kRound = 0x1.8p23F;
constexpr int kRoundBits = 0x4b400000;

// Attention multiplies codes of up to 16 bits. A score is less than 2^30 in magnitude, so that the difference of two
// fits into 32 bits. So does the sum of kMixed weights, of at most 2^13, by values.
constexpr float kScoreBound = 0x1.fffp29F;
constexpr float kValueLimit = 4095.0F;
constexpr int kMixed = 64;
constexpr float kSmallestScale = 0x1p-100F;
constexpr float kLargestScale = 0x1p96F;
// The sum of all weights of a text fits as well, up to this many tokens.
constexpr int64_t kLongestText = 65536;

// The largest code of a query or a key in a head of `size` numbers.
static inline float score_limit(int size) {
  return static_cast<float>(static_cast<int>(__builtin_sqrtf(kScoreBound / static_cast<float>(size))));
}

// exp(x) = 2^n exp(r), n = round(x log2(e)), r = x - n ln(2) in two parts; exp(r) = 1 + r + r^2 p(r).
constexpr float kExpLowest = -87.0F;
constexpr float kExpHighest = 88.0F;
constexpr float kLog2E = 0x1.715476p+0F;
constexpr float kLn2High = 0x1.62e4p-1F;
constexpr float kLn2Low = 0x1.7f7d1cp-20F;
constexpr float kExp[] = {0x1.fffdacp-2F, 0x1.555436p-3F, 0x1.574502p-5F, 0x1.126fdep-7F};

// Weights: 2^13 2^x = 2^n w(r), n = round(x), r = x - n.
constexpr float kWeightLowest = -64.0F;
constexpr float kWeight[] = {0x1p13F, 0x1.62f5fap+12F, 0x1.f00c4cp+10F, 0x1.c2a218p+8F};

// The normal distribution: Phi(x) = 1/2 + x p(s x^2 - 1) for |x| <= 4.5, beyond which it is 1 (or 0) to 3e-8. Its fit
// leaves errors that are thousandths of a code's step.
constexpr float kPhiEnd = 4.5F;
constexpr float kPhiScale = 0x1.948b1p-4F;
constexpr int kPhiDegree = 9;
constexpr float kPhi[] = {0x1.415702p-3F,  -0x1.3c1d3ap-4F, 0x1.c0454ap-5F,  -0x1.4b2eb8p-5F, 0x1.cf989p-6F,
                          -0x1.1f189cp-6F, 0x1.628828p-7F,  -0x1.fe0806p-8F, 0x1.153a54p-8F,  -0x1.f1e502p-11F};

// gelu_tanh(x) = x / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
constexpr float kTanhScale = -0x1.988454p+0F;  // -2 sqrt(2 / pi)
constexpr float kTanhCube = 0x1.6e4e26p-5F;    // 0.044715

}  // namespace embedge
