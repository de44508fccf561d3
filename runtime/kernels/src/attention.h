// Attention of one head within one text, in float32. Included within the namespace of each instruction set.
//
// Scores of kQueries queries at a time are kept, not of all: memory grows with the length of a text, not its square.
// Each score, and each number of the context, is a chain of fused multiply-adds in the order of its terms.

// Where the numbers of one task lie.
struct AttentionScratch {
  int width;    // of a head, rounded up to whole vectors
  int64_t keys;  // of the text, rounded up to whole vectors
  float* key_columns;  // (width, keys): the keys, transposed
  float* values;       // (keys, width)
  float* queries;      // (kQueries, width)
  float* scores;       // (kQueries, keys)
};

static AttentionScratch lay_out(const Layer& layer, int64_t length, float* at) {
  AttentionScratch s;
  s.width = round_up(layer.hidden / layer.heads, kLanes);
  s.keys = (length + kLanes - 1) / kLanes * kLanes;
  s.key_columns = at;
  s.values = s.key_columns + s.width * s.keys;
  s.queries = s.values + s.width * s.keys;
  s.scores = s.queries + kQueries * s.width;
  return s;
}

static size_t attend_scratch(const Layer& layer, int64_t longest) {
  const AttentionScratch s = lay_out(layer, longest, nullptr);
  return static_cast<size_t>(2 * s.width * s.keys + kQueries * (s.width + s.keys)) * sizeof(float);
}

#ifdef __clang__
#define EMBEDGE_MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)

// 16 rows of 16 numbers, transposed in four rounds, each of which exchanges halves of half the size.
EMBEDGE_INLINE void transpose(F (&v)[kLanes]) {
  F t[kLanes];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[i] = EMBEDGE_MIX(v[i], v[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
    t[i + 8] = EMBEDGE_MIX(v[i], v[i + 8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i)
    if (!(i & 4)) {
      v[i] = EMBEDGE_MIX(t[i], t[i + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
      v[i + 4] = EMBEDGE_MIX(t[i], t[i + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
    }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i)
    if (!(i & 2)) {
      t[i] = EMBEDGE_MIX(v[i], v[i + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
      t[i + 2] = EMBEDGE_MIX(v[i], v[i + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i)
    if (!(i & 1)) {
      v[i] = EMBEDGE_MIX(t[i], t[i + 1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30);
      v[i + 1] = EMBEDGE_MIX(t[i], t[i + 1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
    }
}
#else
EMBEDGE_INLINE void transpose(F (&v)[kLanes]) {
  for (int i = 0; i < kLanes; ++i)
    for (int j = 0; j < i; ++j) {
      const float kept = v[i][j];
      v[i][j] = v[j][i];
      v[j][i] = kept;
    }
}
#endif

// Keys transposed, and values, with zeros where whole vectors want more.
static void gather(const AttentionScratch& s, const float* keys, const float* values, int64_t stride, int64_t length,
                   int size) {
  if (size % kLanes == 0) {
    for (int64_t token = 0; token < s.keys; token += kLanes)
      for (int start = 0; start < size; start += kLanes) {
        F block[kLanes];
        for (int i = 0; i < kLanes; ++i)
          block[i] = token + i < length ? load(keys + (token + i) * stride + start) : F{};
        transpose(block);
        for (int i = 0; i < kLanes; ++i) store(s.key_columns + (start + i) * s.keys + token, block[i]);
      }
  } else {
    memset(s.key_columns, 0, s.width * s.keys * sizeof(float));
    for (int64_t token = 0; token < length; ++token)
      for (int i = 0; i < size; ++i) s.key_columns[i * s.keys + token] = keys[token * stride + i];
  }
  for (int64_t token = 0; token < length; ++token) {
    float* to = s.values + token * s.width;
    memcpy(to, values + token * stride, size * sizeof(float));
    for (int i = size; i < s.width; ++i) to[i] = 0.0F;
  }
}

template <int kCount, int kColumns>
EMBEDGE_INLINE void score_tile(const AttentionScratch& s, int size, int first, int64_t key) {
  F sums[kCount][kColumns] = {};
  for (int i = 0; i < size; ++i) {
    F columns[kColumns];
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) columns[c] = load(s.key_columns + i * s.keys + key + c * kLanes);
#pragma GCC unroll 8
    for (int q = 0; q < kCount; ++q) {
      const F query = splat(s.queries[(first + q) * s.width + i]);
#pragma GCC unroll 8
      for (int c = 0; c < kColumns; ++c) sums[q][c] = fma(query, columns[c], sums[q][c]);
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < kCount; ++q)
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) store(s.scores + (first + q) * s.keys + key + c * kLanes, sums[q][c]);
}

template <int kCount>
EMBEDGE_INLINE void score(const AttentionScratch& s, int size, int first) {
  int64_t key = 0;
  for (; key + Tile::kKeyVectors * kLanes <= s.keys; key += Tile::kKeyVectors * kLanes)
    score_tile<kCount, Tile::kKeyVectors>(s, size, first, key);
  for (; key < s.keys; key += kLanes) score_tile<kCount, 1>(s, size, first, key);
}

// Scores to exp(score - largest), 0 beyond the text; returns 1 / their sum.
EMBEDGE_INLINE float soften(float* scores, int64_t length, int64_t keys) {
  const int64_t whole = length / kLanes * kLanes;
  const I lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const I inside = lane < static_cast<int32_t>(length - whole);
  F top = splat(-0x1.fffffep127F);
  for (int64_t key = 0; key < whole; key += kLanes) top = largest(load(scores + key), top);
  if (whole < keys) top = largest(inside ? load(scores + whole) : top, top);
  const F highest = splat(largest_of(top));
  F total{};
  for (int64_t key = 0; key < whole; key += kLanes) {
    const F e = exp(load(scores + key) - highest);
    store(scores + key, e);
    total += e;
  }
  if (whole < keys) {
    const F e = inside ? exp(load(scores + whole) - highest) : F{};
    store(scores + whole, e);
    total += e;
  }
  return 1.0F / sum(total);
}

template <int kCount, int kColumns>
EMBEDGE_INLINE void mix_tile(const AttentionScratch& s, int64_t length, int first, int column, const float* factors,
                             int size, float* out, int64_t stride) {
  F sums[kCount][kColumns] = {};
  for (int64_t key = 0; key < length; ++key) {
    F values[kColumns];
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) values[c] = load(s.values + key * s.width + column + c * kLanes);
#pragma GCC unroll 8
    for (int q = 0; q < kCount; ++q) {
      const F weight = splat(s.scores[(first + q) * s.keys + key]);
#pragma GCC unroll 8
      for (int c = 0; c < kColumns; ++c) sums[q][c] = fma(weight, values[c], sums[q][c]);
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < kCount; ++q)
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) {
      const int at = column + c * kLanes;
      const F result = sums[q][c] * splat(factors[first + q]);
      if (at + kLanes <= size)
        store(out + (first + q) * stride + at, result);
      else
        for (int i = 0; i < size - at; ++i) out[(first + q) * stride + at + i] = result[i];
    }
}

template <int kCount>
EMBEDGE_INLINE void attend_tile(const AttentionScratch& s, int64_t length, int first, int size, float* out,
                                int64_t stride) {
  float factors[kQueries];
  score<kCount>(s, size, first);
  for (int q = first; q < first + kCount; ++q) factors[q] = soften(s.scores + q * s.keys, length, s.keys);
  constexpr int kVectors = Tile::kKeyVectors < 2 ? 1 : 2;
  int column = 0;
  for (; column + kVectors * kLanes <= s.width; column += kVectors * kLanes)
    mix_tile<kCount, kVectors>(s, length, first, column, factors, size, out, stride);
  for (; column < s.width; column += kLanes)
    mix_tile<kCount, 1>(s, length, first, column, factors, size, out, stride);
}

static void attend(const LayerCall& call, int64_t text, int head, Scratch scratch) {
  const Layer& layer = *call.layer;
  const int size = layer.hidden / layer.heads;
  const int64_t begin = call.offsets[text], length = call.offsets[text + 1] - begin;
  const AttentionScratch s = lay_out(layer, length, reinterpret_cast<float*>(scratch));
  const int64_t stride = call.key_value_stride;
  const float* keys = call.key_values + begin * stride + head * size;
  gather(s, keys, keys + layer.hidden, stride, length, size);
  const F factor = splat(1.0F / __builtin_sqrtf(static_cast<float>(size)));
  const int64_t row = layer.first_only ? text : begin, stop = layer.first_only ? row + 1 : begin + length;
  for (int64_t start = row; start < stop; start += kQueries) {
    const int count = static_cast<int>(stop - start < kQueries ? stop - start : kQueries);
    for (int q = 0; q < count; ++q) {
      float* to = s.queries + q * s.width;
      memcpy(to, call.queries + (start + q) * call.query_stride + head * size, size * sizeof(float));
      for (int i = size; i < s.width; ++i) to[i] = 0.0F;
      for (int i = 0; i < s.width; i += kLanes) store(to + i, load(to + i) * factor);
    }
    float* out = call.context + start * layer.hidden + head * size;
    for (int first = 0; first < count;) {
      const int left = count - first;
      // As many queries as the registers hold the sums of.
      if (left >= Tile::kQueryRows) {
        attend_tile<Tile::kQueryRows>(s, length, first, size, out, layer.hidden);
        first += Tile::kQueryRows;
      } else if (left >= 2) {
        attend_tile<2>(s, length, first, size, out, layer.hidden);
        first += 2;
      } else {
        attend_tile<1>(s, length, first, size, out, layer.hidden);
        first += 1;
      }
    }
  }
}
