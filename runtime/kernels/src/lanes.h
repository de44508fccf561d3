// 16 numbers at a time, as the compiler lays them out for an instruction set, and the functions that docs/kernels.md
// defines. Included within the namespace of each instruction set, after <cstring>.

typedef float F __attribute__((vector_size(64)));
typedef int32_t I __attribute__((vector_size(64)));
typedef uint32_t U __attribute__((vector_size(64)));
typedef uint8_t U8 __attribute__((vector_size(16)));
typedef int8_t S8 __attribute__((vector_size(16)));
typedef int16_t S16 __attribute__((vector_size(32)));

#define EMBEDGE_INLINE static inline __attribute__((always_inline))

EMBEDGE_INLINE F load(const float* from) {
  F v;
  memcpy(&v, from, sizeof v);
  return v;
}

EMBEDGE_INLINE I load(const int32_t* from) {
  I v;
  memcpy(&v, from, sizeof v);
  return v;
}

// The first `count` of a vector, then zeros.
EMBEDGE_INLINE F load_some(const float* from, int count) {
  if (count >= kLanes) return load(from);
  F v{};
  memcpy(&v, from, count * sizeof(float));
  return v;
}

EMBEDGE_INLINE void store(float* to, F v) { memcpy(to, &v, sizeof v); }
EMBEDGE_INLINE void store(int32_t* to, I v) { memcpy(to, &v, sizeof v); }

// Subtracting 0 changes no number, not even -0.
EMBEDGE_INLINE F splat(float x) { return x - F{}; }

EMBEDGE_INLINE I bits(F v) {
  I out;
  memcpy(&out, &v, sizeof out);
  return out;
}

EMBEDGE_INLINE F as_float(I v) {
  F out;
  memcpy(&out, &v, sizeof out);
  return out;
}

EMBEDGE_INLINE F to_float(I v) { return __builtin_convertvector(v, F); }

EMBEDGE_INLINE F fma(F a, F b, F c) {
#ifdef __clang__
  return __builtin_elementwise_fma(a, b, c);
#else
  F out;
  for (int i = 0; i < kLanes; ++i) out[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return out;
#endif
}

EMBEDGE_INLINE F largest(F a, F b) { return a > b ? a : b; }
EMBEDGE_INLINE I largest(I a, I b) { return a > b ? a : b; }
EMBEDGE_INLINE F smallest(F a, F b) { return a < b ? a : b; }
EMBEDGE_INLINE F magnitude(F v) { return as_float(bits(v) & 0x7fffffff); }

// To integers, half to even, between `low` and `high`, which NaN become.
EMBEDGE_INLINE I round_within(F x, F low, F high) {
  return bits(largest(smallest(x, high), low) + splat(kRound)) - kRoundBits;
}

// Lanes 0 + 8, 1 + 9, ..., then 0 + 4, ..., 0 + 2, 0 + 1.
EMBEDGE_INLINE float sum(F v) {
  float part[kLanes];
  store(part, v);
  for (int half = kLanes / 2; half; half /= 2)
    for (int i = 0; i < half; ++i) part[i] += part[i + half];
  return part[0];
}

EMBEDGE_INLINE float largest_of(F v) {
  float part[kLanes];
  store(part, v);
  for (int half = kLanes / 2; half; half /= 2)
    for (int i = 0; i < half; ++i) part[i] = part[i] > part[i + half] ? part[i] : part[i + half];
  return part[0];
}

EMBEDGE_INLINE int32_t sum(I v) {
  int32_t total = 0;
  for (int i = 0; i < kLanes; ++i) total += v[i];
  return total;
}

EMBEDGE_INLINE int32_t largest_of(I v) {
  int32_t top = v[0];
  for (int i = 1; i < kLanes; ++i) top = v[i] > top ? v[i] : top;
  return top;
}

EMBEDGE_INLINE F exp(F x) {
  x = largest(smallest(x, splat(kExpHighest)), splat(kExpLowest));
  F shifted = fma(x, splat(kLog2E), splat(kRound));
  F n = shifted - splat(kRound);
  F r = fma(n, splat(-kLn2High), x);
  r = fma(n, splat(-kLn2Low), r);
  F p = fma(splat(kExp[3]), r, splat(kExp[2]));
  p = fma(p, r, splat(kExp[1]));
  p = fma(p, r, splat(kExp[0]));
  F e = fma(p, r * r, r) + splat(1.0F);
  return as_float(bits(e) + (bits(shifted) << 23));
}

// kRoundBits and the code of a weight 2^x, for x <= 0. The 16 lowest bits are those of the code.
EMBEDGE_INLINE I weight_bits(F x) {
  x = largest(x, splat(kWeightLowest));
  F shifted = x + splat(kRound);
  F r = x - (shifted - splat(kRound));
  F w = fma(splat(kWeight[3]), r, splat(kWeight[2]));
  w = fma(w, r, splat(kWeight[1]));
  w = fma(w, r, splat(kWeight[0]));
  return bits(as_float(bits(w) + (bits(shifted) << 23)) + splat(kRound));
}

EMBEDGE_INLINE F gelu(F x) {
  F end = splat(kPhiEnd);
  F near = largest(smallest(x, end), -end);
  F u = fma(near * near, splat(kPhiScale), splat(-1.0F));
  F p = splat(kPhi[kPhiDegree]);
#pragma GCC unroll 12
  for (int i = kPhiDegree - 1; i >= 0; --i) p = fma(p, u, splat(kPhi[i]));
  return x * fma(near, p, splat(0.5F));
}

EMBEDGE_INLINE F gelu_tanh(F x) {
  F cube = fma(x * x, x * splat(kTanhCube), x);
  return x / (splat(1.0F) + exp(cube * splat(kTanhScale)));
}

template <Activation kind>
EMBEDGE_INLINE F activate(F x) {
  if constexpr (kind == Activation::kGelu) return gelu(x);
  if constexpr (kind == Activation::kGeluTanh) return gelu_tanh(x);
  return largest(x, F{});
}

// Mean 0 and variance 1, before a LayerNorm's weight and bias. `width` is a multiple of 16.
EMBEDGE_INLINE void normalize_row(const float* x, int width, float epsilon, float* out) {
  F total{};
  for (int i = 0; i < width; i += kLanes) total += load(x + i);
  const float share = 1.0F / static_cast<float>(width);
  const F mean = splat(sum(total) * share);
  F squares{};
  for (int i = 0; i < width; i += kLanes) {
    F centred = load(x + i) - mean;
    squares = fma(centred, centred, squares);
  }
  const F factor = splat(1.0F / __builtin_sqrtf(sum(squares) * share + epsilon));
  for (int i = 0; i < width; i += kLanes) store(out + i, (load(x + i) - mean) * factor);
}

EMBEDGE_INLINE void store_codes(uint8_t* to, I codes) {
  const U8 narrow = __builtin_convertvector(codes, U8);
  memcpy(to, &narrow, sizeof narrow);
}

EMBEDGE_INLINE void store_codes(int8_t* to, I codes) {
  const S8 narrow = __builtin_convertvector(codes, S8);
  memcpy(to, &narrow, sizeof narrow);
}

EMBEDGE_INLINE void store_codes(int16_t* to, I codes) {
  const S16 narrow = __builtin_convertvector(codes, S16);
  memcpy(to, &narrow, sizeof narrow);
}

// Round a row, whose largest magnitude (zero point 128) or value is `top`, to codes, less `Tile::offset`, the form
// in which an instruction set takes them; returns the scale.
template <typename Read>
EMBEDGE_INLINE float round_row(const Rounding& rounding, float top, int width, Tile::Code* codes, Read read) {
  const float zero = static_cast<float>(rounding.zero_point);
  float scale = top * (1.0F / (255.0F - zero));
  scale = scale > rounding.smallest_scale ? scale : rounding.smallest_scale;
  const F inverse = splat(1.0F / scale), low = splat(-zero), high = splat(255.0F - zero);
  const int32_t shift = rounding.zero_point - Tile::offset(rounding.zero_point);
  for (int i = 0; i < width; i += kLanes) store_codes(codes + i, round_within(read(i) * inverse, low, high) + shift);
  return scale;
}
