// The reference's functions of a number and of a row, as docs/kernels.md defines them. Only isa_scalar.cpp includes it.
#pragma once

#include <cstring>

#include "constants.h"
#include "kernels.h"

namespace embedge::scalar {

namespace {

template <typename To, typename From>
To same_bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}

// a b + c, rounded once. The product is exact in double. The sum is rounded there to odd, that is to the one of its two
// neighbours whose last bit is 1, so that rounding it to float does what rounding the exact sum would have done. Not
// fmaf: some C libraries round it twice.
float fma(float a, float b, float c) {
  const double product = static_cast<double>(a) * b, sum = product + c;
  const double back = sum - product, error = (product - (sum - back)) + (c - back);
  auto whole = same_bits<int64_t>(sum);
  if ((error < 0 || error > 0) && !(whole & 1)) whole += (error > 0) == (sum > 0) ? 1 : -1;
  return static_cast<float>(same_bits<double>(whole));
}

float largest(float a, float b) { return a > b ? a : b; }
float smallest(float a, float b) { return a < b ? a : b; }
float magnitude(float x) { return same_bits<float>(same_bits<int32_t>(x) & 0x7fffffff); }

// To an integer, half to even, between `low` and `high`, which NaN become.
int32_t round_within(float x, float low, float high) {
  return static_cast<int32_t>((largest(smallest(x, high), low) + kRound) - kRound);
}

// What a row comes to: its numbers go to 16 parts by turns, and the parts are put together in halves.
struct Parts {
  float part[kLanes];

  explicit Parts(float start) {
    for (float& each : part) each = start;
  }

  template <typename Join>
  float join(Join join) {
    for (int half = kLanes / 2; half; half /= 2)
      for (int i = 0; i < half; ++i) part[i] = join(part[i], part[i + half]);
    return part[0];
  }

  float sum() {
    return join([](float a, float b) { return a + b; });
  }
};

float exp(float x) {
  x = largest(smallest(x, kExpHighest), kExpLowest);
  const float shifted = fma(x, kLog2E, kRound), n = shifted - kRound;
  const float r = fma(n, -kLn2Low, fma(n, -kLn2High, x));
  float p = kExp[3];
  for (int i = 2; i >= 0; --i) p = fma(p, r, kExp[i]);
  const float e = fma(p, r * r, r) + 1.0F;
  // The lowest bits of `shifted` are n; they move to the exponent.
  return same_bits<float>(same_bits<uint32_t>(e) + (same_bits<uint32_t>(shifted) << 23));
}

int32_t weight_code(float x) {
  x = largest(x, kWeightLowest);
  const float shifted = x + kRound, r = x - (shifted - kRound);
  float w = kWeight[3];
  for (int i = 2; i >= 0; --i) w = fma(w, r, kWeight[i]);
  w = same_bits<float>(same_bits<uint32_t>(w) + (same_bits<uint32_t>(shifted) << 23));
  return static_cast<int32_t>((w + kRound) - kRound);
}

float gelu(float x) {
  const float near = largest(smallest(x, kPhiEnd), -kPhiEnd);
  const float u = fma(near * near, kPhiScale, -1.0F);
  float p = kPhi[kPhiDegree];
  for (int i = kPhiDegree - 1; i >= 0; --i) p = fma(p, u, kPhi[i]);
  return x * fma(near, p, 0.5F);
}

float gelu_tanh(float x) {
  const float cube = fma(x * x, x * kTanhCube, x);
  return x / (1.0F + exp(cube * kTanhScale));
}

float activate(Activation kind, float x) {
  if (kind == Activation::kGelu) return gelu(x);
  if (kind == Activation::kGeluTanh) return gelu_tanh(x);
  return largest(x, 0.0F);
}

void normalize_row(const float* x, int width, float epsilon, float* out) {
  const float share = 1.0F / static_cast<float>(width);
  Parts total(0.0F), squares(0.0F);
  for (int i = 0; i < width; ++i) total.part[i % kLanes] += x[i];
  const float mean = total.sum() * share;
  for (int i = 0; i < width; ++i) {
    float& part = squares.part[i % kLanes];
    part = fma(x[i] - mean, x[i] - mean, part);
  }
  const float variance = squares.sum() * share;
  const float factor = 1.0F / __builtin_sqrtf(variance + epsilon);
  for (int i = 0; i < width; ++i) out[i] = (x[i] - mean) * factor;
}

float affine(const float* x, const Affine& a, int i) { return fma(x[i], a.weight[i], a.bias[i]); }

// A row as codes less their zero point; returns their scale. The largest value counts, or the largest magnitude.
template <typename Read>
float round_row(const Rounding& rounding, int width, bool one_sided, int32_t* codes, Read read) {
  Parts tops(0.0F);
  for (int i = 0; i < width; ++i) {
    float& part = tops.part[i % kLanes];
    part = largest(part, one_sided ? read(i) : magnitude(read(i)));
  }
  const float zero = static_cast<float>(rounding.zero_point);
  const float scale = largest(tops.join(largest) * (1.0F / (255.0F - zero)), rounding.smallest_scale);
  const float inverse = 1.0F / scale;
  for (int i = 0; i < width; ++i) codes[i] = round_within(read(i) * inverse, -zero, 255.0F - zero);
  return scale;
}

float round_affine(const float* x, const Affine& a, const Matrix& matrix, int32_t* codes) {
  return round_row(matrix.rounding, matrix.inputs, false, codes, [&](int i) { return affine(x, a, i); });
}

}  // namespace

}  // namespace embedge::scalar
