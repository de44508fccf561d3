// The steps of a layer. Included within the namespace of each instruction set.

constexpr size_t kAlign = 64;

// Parts of a task's memory, one after the other; with a null start it only counts.
class Carver {
 public:
  explicit Carver(Scratch start) : start_(start) {}

  template <typename T>
  T* take(size_t count) {
    unsigned char* at = start_ + used_;
    used_ += (count * sizeof(T) + kAlign - 1) / kAlign * kAlign;
    return reinterpret_cast<T*>(at);
  }

  size_t used() const { return used_; }

 private:
  Scratch start_;
  size_t used_ = 0;
};

EMBEDGE_INLINE int block_rows(int64_t start, int64_t stop) {
  const int64_t count = stop - start, blocks = (count + kRows - 1) / kRows;
  return static_cast<int>((count + blocks - 1) / blocks);
}

EMBEDGE_INLINE F affine(const float* x, const Affine& a, int i) { return fma(load(x + i), load(a.weight + i), load(a.bias + i)); }

// The row that a product with a LayerNorm before it reads, as codes; returns their scale.
EMBEDGE_INLINE float round_affine(const float* x, const Affine& a, const Rounding& rounding, int width,
                                  Tile::Code* codes) {
  F top{};
  for (int i = 0; i < width; i += kLanes) top = largest(top, magnitude(affine(x, a, i)));
  return round_row(rounding, largest_of(top), width, codes, [&](int i) { return affine(x, a, i); });
}

EMBEDGE_INLINE float round_plain(const float* x, const Rounding& rounding, int width, Tile::Code* codes) {
  F top{};
  for (int i = 0; i < width; i += kLanes) top = largest(top, magnitude(load(x + i)));
  return round_row(rounding, largest_of(top), width, codes, [&](int i) { return load(x + i); });
}

// What comes out of an activation: only its largest value counts.
EMBEDGE_INLINE float round_one_sided(const float* x, const Rounding& rounding, int width, Tile::Code* codes) {
  F top{};
  for (int i = 0; i < width; i += kLanes) top = largest(top, load(x + i));
  return round_row(rounding, largest_of(top), width, codes, [&](int i) { return load(x + i); });
}

struct ProjectScratch {
  Tile::Code* codes;
  float* scales;
};

static ProjectScratch carve_project(Carver& carver, const Layer& layer) {
  return {carver.take<Tile::Code>(static_cast<size_t>(kRows) * layer.hidden), carver.take<float>(kRows)};
}

static size_t project_scratch(const Layer& layer) {
  Carver carver(nullptr);
  carve_project(carver, layer);
  return carver.used();
}

// Rows `start` to `stop` of x (with `offsets`, each text's first), times a matrix, plus its bias.
EMBEDGE_INLINE void project_rows(const LayerCall& call, const Matrix& matrix, const float* bias, const int64_t* offsets,
                                 int64_t start, int64_t stop, float* out, int64_t stride, Scratch memory) {
  const Layer& layer = *call.layer;
  Carver carver(memory);
  const ProjectScratch s = carve_project(carver, layer);
  const int block = block_rows(start, stop);
  for (int64_t first = start; first < stop; first += block) {
    const int count = static_cast<int>(stop - first < block ? stop - first : block);
    for (int row = 0; row < count; ++row) {
      const float* x = call.x + (offsets ? offsets[first + row] : first + row) * layer.hidden;
      s.scales[row] = round_affine(x, layer.input, matrix.rounding, layer.hidden, s.codes + row * layer.hidden);
    }
    float* to = out + first * stride;
    multiply({s.codes, s.scales, count}, matrix, [&](int row, int at, F sums, F scales) {
      store(to + row * stride + at, fma(sums, scales, load(bias + at)));
    });
  }
}

static void project(const LayerCall& call, int64_t start, int64_t stop, Scratch memory) {
  const Layer& layer = *call.layer;
  if (layer.first_only)
    project_rows(call, layer.key_value, layer.key_value_bias, nullptr, start, stop, call.key_values,
                 call.key_value_stride, memory);
  else
    project_rows(call, layer.query, layer.query_bias, nullptr, start, stop, call.queries, call.query_stride, memory);
}

static void project_queries(const LayerCall& call, int64_t start, int64_t stop, Scratch memory) {
  const Layer& layer = *call.layer;
  project_rows(call, layer.query, layer.query_bias, call.offsets, start, stop, call.queries, call.query_stride, memory);
}

struct FeedScratch {
  Tile::Code* codes;  // of the rows that a product reads, at most `inner` wide
  float* scales;
  float* sums;    // (kRows, hidden): a product with the residual
  float* normed;  // (kRows, hidden): after the attention's LayerNorm
  float* inner;   // (kRows, inner)
};

static FeedScratch carve_feed(Carver& carver, const Layer& layer) {
  const size_t hidden = static_cast<size_t>(kRows) * layer.hidden, inner = static_cast<size_t>(kRows) * layer.inner;
  return {carver.take<Tile::Code>(hidden > inner ? hidden : inner), carver.take<float>(kRows),
          carver.take<float>(hidden), carver.take<float>(hidden), carver.take<float>(inner)};
}

static size_t feed_scratch(const Layer& layer) {
  Carver carver(nullptr);
  carve_feed(carver, layer);
  return carver.used();
}

template <Activation kind>
EMBEDGE_INLINE void multiply_inner(const Rows& rows, const Layer& layer, float* inner) {
  multiply(rows, layer.intermediate, [&](int row, int at, F sums, F scales) {
    const F value = activate<kind>(fma(sums, scales, load(layer.intermediate_bias + at)));
    store(inner + static_cast<size_t>(row) * layer.inner + at, value * load(layer.output_factors + at));
  });
}

// The attention's output, the feed-forward part and both LayerNorms of some rows, at most kRows.
static void feed_block(const LayerCall& call, int64_t first, int count, const FeedScratch& s) {
  const Layer& layer = *call.layer;
  const int hidden = layer.hidden;
  const auto x = [&](int row) {
    return call.x + (layer.first_only ? call.offsets[first + row] : first + row) * hidden;
  };
  for (int row = 0; row < count; ++row)
    s.scales[row] = round_plain(call.context + (first + row) * hidden, layer.attention.rounding, hidden,
                                s.codes + row * hidden);
  const Rows rows{s.codes, s.scales, count};
  multiply(rows, layer.attention, [&](int row, int at, F sums, F scales) {
    store(s.sums + row * hidden + at, fma(sums, scales, affine(x(row), layer.residual, at)));
  });
  for (int row = 0; row < count; ++row) {
    float* normed = s.normed + row * hidden;
    normalize_row(s.sums + row * hidden, hidden, layer.epsilon, normed);
    s.scales[row] = round_affine(normed, layer.intermediate_input, layer.intermediate.rounding, hidden,
                                 s.codes + row * hidden);
  }
  switch (layer.activation) {
    case Activation::kGelu:
      multiply_inner<Activation::kGelu>(rows, layer, s.inner);
      break;
    case Activation::kGeluTanh:
      multiply_inner<Activation::kGeluTanh>(rows, layer, s.inner);
      break;
    case Activation::kRelu:
      multiply_inner<Activation::kRelu>(rows, layer, s.inner);
      break;
  }
  for (int row = 0; row < count; ++row) {
    const size_t at = static_cast<size_t>(row) * layer.inner;
    s.scales[row] = round_one_sided(s.inner + at, layer.output.rounding, layer.inner, s.codes + at);
  }
  multiply(rows, layer.output, [&](int row, int at, F sums, F scales) {
    store(s.sums + row * hidden + at, fma(sums, scales, affine(s.normed + row * hidden, layer.output_residual, at)));
  });
  for (int row = 0; row < count; ++row)
    normalize_row(s.sums + row * hidden, hidden, layer.epsilon, call.out + (first + row) * hidden);
}

static void feed(const LayerCall& call, int64_t start, int64_t stop, Scratch memory) {
  Carver carver(memory);
  const FeedScratch s = carve_feed(carver, *call.layer);
  const int block = block_rows(start, stop);
  for (int64_t first = start; first < stop; first += block)
    feed_block(call, first, static_cast<int>(stop - first < block ? stop - first : block), s);
}
