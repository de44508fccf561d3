// Numbers that every instruction set computes with; docs/kernels.md says where each comes from.
#pragma once

#include <cstddef>

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

// exp(x) = 2^n exp(r), n = round(x log2(e)), r = x - n ln(2) in two parts; exp(r) = 1 + r + r^2 p(r).
constexpr float kExpLowest = -87.0F;
constexpr float kExpHighest = 88.0F;
constexpr float kLog2E = 0x1.715476p+0F;
constexpr float kLn2High = 0x1.62e4p-1F;
constexpr float kLn2Low = 0x1.7f7d1cp-20F;
constexpr float kExp[] = {0x1.fffdacp-2F, 0x1.555436p-3F, 0x1.574502p-5F, 0x1.126fdep-7F};

// The normal distribution: Phi(x) = 1/2 + x p(s x^2 - 1) for |x| <= 5.25, beyond which it is 1 (or 0) to 8e-8.
constexpr float kPhiEnd = 5.25F;
constexpr float kPhiScale = 0x1.293726p-4F;
constexpr float kPhi[] = {0x1.13c84p-3F,  -0x1.12f312p-4F, 0x1.96bc98p-5F, -0x1.45e51ep-5F, 0x1.05e1b8p-5F,
                          -0x1.97051cp-6F, 0x1.347f92p-6F, -0x1.bf6522p-7F, 0x1.0301fcp-7F,  -0x1.dabfcep-9F,
                          0x1.95ab44p-9F,  -0x1.71db4cp-9F, 0x1.00e8ep-10F};

// gelu_tanh(x) = x / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
constexpr float kTanhScale = -0x1.988454p+0F;  // -2 sqrt(2 / pi)
constexpr float kTanhCube = 0x1.6e4e26p-5F;    // 0.044715

}  // namespace embedge
