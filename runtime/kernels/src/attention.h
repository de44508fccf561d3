// Attention of one head within one text. Queries, keys, weights and values are codes of up to 16 bits, so that all sums
// of products are exact integers. Included within the namespace of each instruction set, which has given `add_pairs`.
//
// Codes lie in pairs, two of 16 bits in 32: a number and the one that is 16 further on in its head for scores, two
// tokens' values for contexts. Scores of kQueries queries at a time are kept, not of all: memory grows with the length
// of a text, not its square.

static_assert(sizeof(PairSums) == sizeof(I), "PairSums are 16 sums of 32 bits, in the order of their columns");

// Keys lie in panels of as many as the registers hold the sums of; the last ones in panels of 16.
constexpr int kKeyPanel = Tile::kKeyVectors * kLanes;

// Where the numbers of one task lie.
struct AttentionScratch {
  int width;             // of a head, rounded up to whole vectors
  int pairs;             // of a head's numbers, rounded up to whole vectors
  int64_t keys;          // of the text, rounded up to whole vectors
  int32_t* key_pairs;    // panels of (pairs, kKeyPanel), then of (pairs, 16)
  int32_t* value_pairs;  // (keys / 2, width)
  float* key_scales;     // (width), by 1 / sqrt(size)
  float* value_scales;   // (width)
  int32_t* query_pairs;  // (kQueries, pairs)
  int32_t* scores;       // (kQueries, keys); then weights, in the first half of each row
};

static AttentionScratch lay_out(const Layer& layer, int64_t length, int32_t* at) {
  AttentionScratch s;
  const int size = layer.hidden / layer.heads;
  s.width = round_up(size, kLanes);
  s.pairs = round_up(size, 2 * kLanes) / 2;
  s.keys = (length + kLanes - 1) / kLanes * kLanes;
  s.key_pairs = at;
  s.value_pairs = s.key_pairs + s.pairs * s.keys;
  s.key_scales = reinterpret_cast<float*>(s.value_pairs + s.keys / 2 * s.width);
  s.value_scales = s.key_scales + s.width;
  s.query_pairs = reinterpret_cast<int32_t*>(s.value_scales + s.width);
  s.scores = s.query_pairs + kQueries * s.pairs;
  return s;
}

static size_t attend_scratch(const Layer& layer, int64_t longest) {
  const AttentionScratch s = lay_out(layer, longest, nullptr);
  return static_cast<size_t>(s.keys * (s.pairs + s.width / 2) + 2 * s.width + kQueries * (s.pairs + s.keys)) *
         sizeof(int32_t);
}

#ifdef __clang__
#define EMBEDGE_MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)

// 16 rows of 16 numbers, transposed in four rounds, each of which exchanges halves of half the size.
EMBEDGE_INLINE void transpose(I (&v)[kLanes]) {
  I t[kLanes];
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
EMBEDGE_INLINE void transpose(I (&v)[kLanes]) {
  for (int i = 0; i < kLanes; ++i)
    for (int j = 0; j < i; ++j) {
      const int32_t kept = v[i][j];
      v[i][j] = v[j][i];
      v[j][i] = kept;
    }
}
#endif

EMBEDGE_INLINE I round_to(float limit, F ratio) { return round_within(ratio, splat(-limit), splat(limit)); }

EMBEDGE_INLINE I join(I low, I high) { return (low & 0xffff) | (high << 16); }

// 16 columns' pairs, in the form in which an instruction set takes them: each pair together, or the first of all pairs
// and then the second of all.
EMBEDGE_INLINE void store_pairs(int32_t* to, I pairs) {
  if constexpr (kPairsTogether) {
    store(to, pairs);
  } else {
    auto* halves = reinterpret_cast<int16_t*>(to);
    store_codes(halves, pairs << 16 >> 16);
    store_codes(halves + kLanes, pairs >> 16);
  }
}

// The numbers of a head from `start` on in pairs, each with the one that is 16 further on.
template <typename Ratio>
EMBEDGE_INLINE I pair_up(int start, int size, float limit, Ratio ratio) {
  const I low = round_to(limit, ratio(start));
  return join(low, start + kLanes < size ? round_to(limit, ratio(start + kLanes)) : I{});
}

// One scale for each column, by the largest magnitude of the text's tokens.
EMBEDGE_INLINE void scale_columns(const float* rows, int64_t stride, int64_t length, int size, float limit,
                                  float* scales) {
  for (int start = 0; start < size; start += kLanes) {
    F top{};
    for (int64_t token = 0; token < length; ++token)
      top = largest(top, magnitude(load_some(rows + token * stride + start, size - start)));
    store(scales + start, largest(top * splat(1.0F / limit), splat(kSmallestScale)));
  }
}

// Keys as codes, transposed, with zeros where whole vectors want more.
static void gather_keys(const AttentionScratch& s, const float* keys, int64_t stride, int64_t length, int size) {
  const float limit = score_limit(size);
  scale_columns(keys, stride, length, size, limit, s.key_scales);
  for (int start = 0; start < size; start += 2 * kLanes) {
    const F low = 1.0F / load(s.key_scales + start);
    const F high = start + kLanes < size ? 1.0F / load(s.key_scales + start + kLanes) : F{};
    for (int64_t token = 0; token < s.keys; token += kLanes) {
      I block[kLanes];
      for (int i = 0; i < kLanes; ++i) {
        const float* row = keys + (token + i) * stride;
        const auto ratio = [&](int at) { return load_some(row + at, size - at) * (at == start ? low : high); };
        block[i] = token + i < length ? pair_up(start, size, limit, ratio) : I{};
      }
      transpose(block);
      const bool whole = token < s.keys / kKeyPanel * kKeyPanel;
      const int64_t panel = whole ? token / kKeyPanel * kKeyPanel : token;
      const int columns = whole ? kKeyPanel : kLanes;
      int32_t* to = s.key_pairs + panel * s.pairs + (token - panel);
      for (int i = 0; i < kLanes; ++i) store_pairs(to + (start / 2 + i) * columns, block[i]);
    }
  }
  const F factor = splat(1.0F / __builtin_sqrtf(static_cast<float>(size)));
  for (int i = 0; i < s.width; i += kLanes) store(s.key_scales + i, load(s.key_scales + i) * factor);
}

static void gather_values(const AttentionScratch& s, const float* values, int64_t stride, int64_t length, int size) {
  scale_columns(values, stride, length, size, kValueLimit, s.value_scales);
  for (int start = 0; start < size; start += kLanes) {
    const F inverse = 1.0F / load(s.value_scales + start);
    const auto codes = [&](int64_t token) {
      return round_to(kValueLimit, load_some(values + token * stride + start, size - start) * inverse);
    };
    for (int64_t token = 0; token < length; token += 2)
      store_pairs(s.value_pairs + token / 2 * s.width + start,
                  join(codes(token), token + 1 < length ? codes(token + 1) : I{}));
  }
}

// A query times the keys' scales, as codes; returns their scale.
EMBEDGE_INLINE float gather_query(const AttentionScratch& s, const float* query, int size, int32_t* pairs) {
  const auto scaled = [&](int at) { return load_some(query + at, size - at) * load(s.key_scales + at); };
  F top{};
  for (int i = 0; i < size; i += kLanes) top = largest(top, magnitude(scaled(i)));
  const float limit = score_limit(size), scale = largest_of(top) * (1.0F / limit);
  const float bounded = scale > kSmallestScale ? scale < kLargestScale ? scale : kLargestScale : kSmallestScale;
  const F inverse = splat(1.0F / bounded);
  for (int i = 0; i < size; i += 2 * kLanes)
    store(pairs + i / 2, pair_up(i, size, limit, [&](int at) { return scaled(at) * inverse; }));
  return bounded;
}

// The sums of kCount rows of pairs by kColumns vectors of columns, over `steps` pairs.
template <int kCount, int kColumns>
EMBEDGE_INLINE void multiply_pairs(const int32_t* rows, int64_t row_stride, const int32_t* columns,
                                   int64_t column_stride, int64_t steps, I (&out)[kCount][kColumns]) {
  PairSums sums[kCount][kColumns] = {};
  for (int64_t step = 0; step < steps; ++step, columns += column_stride) {
#pragma GCC unroll 8
    for (int r = 0; r < kCount; ++r) {
      int32_t pair;
      memcpy(&pair, rows + r * row_stride + step, sizeof pair);
#pragma GCC unroll 8
      for (int c = 0; c < kColumns; ++c) add_pairs(sums[r][c], columns + c * kLanes, pair);
    }
  }
  memcpy(out, sums, sizeof out);
}

template <int kCount, int kColumns>
EMBEDGE_INLINE void score_tile(const AttentionScratch& s, int first, int64_t key) {
  I sums[kCount][kColumns];
  multiply_pairs<kCount, kColumns>(s.query_pairs + first * s.pairs, s.pairs, s.key_pairs + key * s.pairs,
                                   kColumns * kLanes, s.pairs, sums);
#pragma GCC unroll 8
  for (int q = 0; q < kCount; ++q)
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) store(s.scores + (first + q) * s.keys + key + c * kLanes, sums[q][c]);
}

template <int kCount>
EMBEDGE_INLINE void score(const AttentionScratch& s, int first) {
  int64_t key = 0;
  for (; key + kKeyPanel <= s.keys; key += kKeyPanel) score_tile<kCount, Tile::kKeyVectors>(s, first, key);
  for (; key < s.keys; key += kLanes) score_tile<kCount, 1>(s, first, key);
}

// Scores to codes of their weights, 0 beyond the text; returns 1 / the sum of the codes.
EMBEDGE_INLINE float soften(int32_t* scores, float scale, int64_t length, int64_t keys) {
  const int64_t whole = length / kLanes * kLanes;
  const I lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const I inside = lane < static_cast<int32_t>(length - whole);
  I top = I{} + INT32_MIN;
  for (int64_t key = 0; key < whole; key += kLanes) top = largest(load(scores + key), top);
  if (whole < keys) top = largest(inside ? load(scores + whole) : top, top);
  const I highest = I{} + largest_of(top);
  const F factor = splat(scale * kLog2E);
  const auto weights = [&](I some) { return weight_bits(to_float(some - highest) * factor); };
  // A code takes half the place of a score, so none is overwritten before it is read.
  auto* codes = reinterpret_cast<int16_t*>(scores);
  U total{};  // with kRoundBits for each, which may wrap around
  for (int64_t key = 0; key < whole; key += kLanes) {
    const I some = weights(load(scores + key));
    store_codes(codes + key, some);
    total += (U)some;
  }
  if (whole < keys) {
    const I some = inside ? weights(inside ? load(scores + whole) : highest) : I{} + kRoundBits;
    store_codes(codes + whole, some);
    total += (U)some;
  }
  total -= static_cast<uint32_t>(keys / kLanes) * kRoundBits;
  return 1.0F / static_cast<float>(sum((I)total));
}

template <int kCount, int kColumns>
EMBEDGE_INLINE void mix_tile(const AttentionScratch& s, int64_t length, int first, int column, const float* shares,
                             int size, float* out, int64_t stride) {
  F totals[kCount][kColumns] = {};
  for (int64_t key = 0; key < length; key += kMixed) {
    const int64_t tokens = length - key < kMixed ? length - key : kMixed;
    I sums[kCount][kColumns];
    multiply_pairs<kCount, kColumns>(s.scores + first * s.keys + key / 2, s.keys,
                                     s.value_pairs + key / 2 * s.width + column, s.width, (tokens + 1) / 2, sums);
#pragma GCC unroll 8
    for (int q = 0; q < kCount; ++q)
#pragma GCC unroll 8
      for (int c = 0; c < kColumns; ++c) totals[q][c] += to_float(sums[q][c]);
  }
#pragma GCC unroll 8
  for (int q = 0; q < kCount; ++q)
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) {
      const int at = column + c * kLanes;
      const F result = totals[q][c] * splat(shares[q]) * load(s.value_scales + at);
      memcpy(out + q * stride + at, &result, (size - at < kLanes ? size - at : kLanes) * sizeof(float));
    }
}

template <int kCount>
EMBEDGE_INLINE void attend_tile(const AttentionScratch& s, const float* scales, int64_t length, int first, int size,
                                float* out, int64_t stride) {
  float shares[kCount];
  score<kCount>(s, first);
  for (int q = 0; q < kCount; ++q)
    shares[q] = soften(s.scores + (first + q) * s.keys, scales[first + q], length, s.keys);
  constexpr int kVectors = Tile::kKeyVectors < 2 ? 1 : 2;
  int column = 0;
  for (; column + kVectors * kLanes <= s.width; column += kVectors * kLanes)
    mix_tile<kCount, kVectors>(s, length, first, column, shares, size, out + first * stride, stride);
  for (; column < s.width; column += kLanes)
    mix_tile<kCount, 1>(s, length, first, column, shares, size, out + first * stride, stride);
}

static void attend(const LayerCall& call, int64_t text, int head, Scratch scratch) {
  const Layer& layer = *call.layer;
  const int size = layer.hidden / layer.heads;
  const int64_t begin = call.offsets[text], length = call.offsets[text + 1] - begin;
  const AttentionScratch s = lay_out(layer, length, reinterpret_cast<int32_t*>(scratch));
  const float* keys = call.key_values + begin * call.key_value_stride + head * size;
  gather_keys(s, keys, call.key_value_stride, length, size);
  gather_values(s, keys + layer.hidden, call.key_value_stride, length, size);
  const int64_t row = layer.first_only ? text : begin, stop = layer.first_only ? row + 1 : begin + length;
  for (int64_t start = row; start < stop; start += kQueries) {
    const int count = static_cast<int>(stop - start < kQueries ? stop - start : kQueries);
    float scales[kQueries];
    // The next queries lie pages apart, where no CPU looks ahead by itself.
    for (int64_t next = start + count; next < stop && next < start + count + kQueries; ++next)
      for (int i = 0; i < size; i += kLanes)
        __builtin_prefetch(call.queries + next * call.query_stride + head * size + i);
    for (int q = 0; q < count; ++q)
      scales[q] = gather_query(s, call.queries + (start + q) * call.query_stride + head * size, size,
                               s.query_pairs + q * s.pairs);
    float* out = call.context + start * layer.hidden + head * size;
    for (int first = 0; first < count;) {
      const int left = count - first;
      // As many queries as the registers hold the sums of.
      if (left >= Tile::kQueryRows) {
        attend_tile<Tile::kQueryRows>(s, scales, length, first, size, out, layer.hidden);
        first += Tile::kQueryRows;
      } else if (left >= 2) {
        attend_tile<2>(s, scales, length, first, size, out, layer.hidden);
        first += 2;
      } else {
        attend_tile<1>(s, scales, length, first, size, out, layer.hidden);
        first += 1;
      }
    }
  }
}
