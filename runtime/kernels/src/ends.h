// What comes before and after the layers: embeddings, pooling and normalising; and the table of all that an instruction
// set computes. Included within the namespace of each instruction set.

static void embed(const EmbeddingsCall& call) {
  const int hidden = static_cast<int>(call.hidden);
  for (int64_t text = 0; text < call.texts; ++text) {
    int64_t counted = 0;
    for (int64_t token = call.offsets[text]; token < call.offsets[text + 1]; ++token) {
      const int64_t id = call.ids[token];
      int64_t position = token - call.offsets[text];
      if (call.pad_id >= 0) position = id == call.pad_id ? 0 : ++counted;
      const bool second = call.second && id >= call.vocabulary;
      const int64_t word = second ? id - call.vocabulary : id;
      const int8_t* codes = call.words + word * hidden;
      const float* place = call.position_table + position * hidden;
      const F scale = splat(call.word_scales[word]);
      float* out = call.out + token * hidden;
      for (int i = 0; i < hidden; i += kLanes) {
        S8 narrow;
        memcpy(&narrow, codes + i, sizeof narrow);
        const F value = __builtin_convertvector(narrow, F) * scale;
        F offset = load(place + i);
        if (second) offset = offset + load(call.second + i);
        store(out + i, value + offset);
      }
      normalize_row(out, hidden, call.epsilon, out);
    }
  }
}

static void pool(const PoolingCall& call) {
  const int hidden = static_cast<int>(call.hidden);
  for (int64_t text = 0; text < call.texts; ++text) {
    const int64_t begin = call.first_only ? text : call.offsets[text];
    const int64_t stop = call.first_only ? text + 1 : call.offsets[text + 1];
    const float count = static_cast<float>(call.offsets[text + 1] - call.offsets[text]);
    float* out = call.out + text * hidden;
    for (int i = 0; i < hidden; i += kLanes) {
      const auto row = [&](int64_t token) { return affine(call.x + token * hidden, call.norm, i); };
      F value = row(call.pool == Pool::kLastToken ? stop - 1 : begin);
      switch (call.pool) {
        case Pool::kCls:
        case Pool::kLastToken:
          break;
        case Pool::kMax:
          for (int64_t token = begin + 1; token < stop; ++token) value = largest(value, row(token));
          break;
        case Pool::kMean:
        case Pool::kMeanSqrtLength:
          for (int64_t token = begin + 1; token < stop; ++token) value += row(token);
          value = value / splat(call.pool == Pool::kMean ? count : __builtin_sqrtf(count));
          break;
        case Pool::kWeightedMean:
          for (int64_t token = begin + 1; token < stop; ++token)
            value = fma(row(token), splat(static_cast<float>(token - begin + 1)), value);
          value = value / splat(count * 0.5F * (count + 1.0F));
          break;
      }
      store(out + i, value);
    }
  }
}

static void normalize(const float* x, int64_t rows, int64_t width, float* out) {
  for (int64_t row = 0; row < rows; ++row, x += width, out += width) {
    const int64_t whole = width / kLanes * kLanes;
    float rest[kLanes] = {};
    memcpy(rest, x + whole, (width - whole) * sizeof(float));
    F squares{};
    for (int64_t i = 0; i < whole; i += kLanes) squares = fma(load(x + i), load(x + i), squares);
    squares = fma(load(rest), load(rest), squares);
    const float length = __builtin_sqrtf(sum(squares));
    const F divisor = splat(length > 0.0F ? length : 1.0F);
    for (int64_t i = 0; i < whole; i += kLanes) store(out + i, load(x + i) / divisor);
    store(rest, load(rest) / divisor);
    memcpy(out + whole, rest, (width - whole) * sizeof(float));
  }
}

#define EMBEDGE_KERNELS(name)                                                                                     \
  extern const Kernels kKernels;                                                                                  \
  const Kernels kKernels = {name,            packed_bytes,   pack,   embed,        project_scratch, project, \
                            project_queries, attend_scratch, attend, feed_scratch, feed,            pool,    \
                            normalize};
