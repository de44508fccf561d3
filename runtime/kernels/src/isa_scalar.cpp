// The reference: docs/kernels.md in plain C++, one row and one number after the other. Simple before fast; all other
// instruction sets must give its bits. It runs where the CPU has none of theirs.
#include <cstring>

#include "kernels.h"
#include "scalar_rows.h"

namespace embedge::scalar {

namespace {

size_t packed_bytes(int inputs, int outputs) { return static_cast<size_t>(inputs) * outputs; }

void pack(const int8_t* codes, Matrix& matrix) {
  memcpy(matrix.packed, codes, packed_bytes(matrix.inputs, matrix.outputs));
}

// A row of codes times a matrix: finish(output, value before its scale, its scale) for each output.
template <typename Finish>
void multiply(const int32_t* codes, float scale, const Matrix& matrix, int32_t* sums, Finish finish) {
  const auto* weights = static_cast<const int8_t*>(matrix.packed);
  memset(sums, 0, matrix.outputs * sizeof *sums);
  for (int i = 0; i < matrix.inputs; ++i, weights += matrix.outputs)
    for (int at = 0; at < matrix.outputs; ++at) sums[at] += codes[i] * weights[at];
  for (int at = 0; at < matrix.outputs; ++at) finish(at, static_cast<float>(sums[at]) * scale, matrix.scales[at]);
}

// The memory of a task: codes, integer sums, and the rows between the products of the feed-forward part.
struct Memory {
  int32_t* codes;
  int32_t* sums;
  float* row;
  float* normed;
  float* inner;
  size_t bytes;
};

Memory lay_out(const Layer& layer, Scratch scratch) {
  const size_t hidden = layer.hidden, inner = layer.inner, widest = 3 * hidden > inner ? 3 * hidden : inner;
  auto* start = reinterpret_cast<int32_t*>(scratch);
  auto* row = reinterpret_cast<float*>(start + 2 * widest);
  return {start, start + widest, row, row + hidden, row + 2 * hidden, (2 * widest + 2 * hidden + inner) * sizeof *row};
}

size_t row_scratch(const Layer& layer) { return lay_out(layer, nullptr).bytes; }

void project_row(const Layer& layer, const Matrix& matrix, const float* bias, const float* x, float* out,
                 Scratch scratch) {
  const Memory m = lay_out(layer, scratch);
  const float scale = round_affine(x, layer.input, matrix, m.codes);
  multiply(m.codes, scale, matrix, m.sums, [&](int at, float value, float by) { out[at] = fma(value, by, bias[at]); });
}

void project(const LayerCall& call, int64_t start, int64_t stop, Scratch scratch) {
  const Layer& layer = *call.layer;
  for (int64_t token = start; token < stop; ++token) {
    const float* x = call.x + token * layer.hidden;
    if (layer.first_only)
      project_row(layer, layer.key_value, layer.key_value_bias, x, call.key_values + token * call.key_value_stride,
                  scratch);
    else
      project_row(layer, layer.query, layer.query_bias, x, call.queries + token * call.query_stride, scratch);
  }
}

void project_queries(const LayerCall& call, int64_t start, int64_t stop, Scratch scratch) {
  const Layer& layer = *call.layer;
  for (int64_t text = start; text < stop; ++text)
    project_row(layer, layer.query, layer.query_bias, call.x + call.offsets[text] * layer.hidden,
                call.queries + text * call.query_stride, scratch);
}

// The memory of a head within a text.
struct HeadMemory {
  int32_t* keys;    // (length, size), as codes
  int32_t* values;  // (length, size), as codes
  int32_t* scores;  // (length)
  int32_t* query;   // (size), as codes
  float* key_scales;
  float* value_scales;
  size_t bytes;
};

HeadMemory lay_out_head(const Layer& layer, int64_t length, Scratch scratch) {
  const int64_t size = layer.hidden / layer.heads;
  auto* keys = reinterpret_cast<int32_t*>(scratch);
  auto* values = keys + length * size;
  auto* scores = values + length * size;
  auto* query = scores + length;
  auto* scales = reinterpret_cast<float*>(query + size);
  return {keys, values, scores, query, scales, scales + size,
          static_cast<size_t>(2 * length * size + length + 3 * size) * sizeof(float)};
}

size_t attend_scratch(const Layer& layer, int64_t longest) { return lay_out_head(layer, longest, nullptr).bytes; }

// A head's numbers of a text as codes, with one scale for each column.
void round_columns(const float* rows, int64_t stride, int64_t length, int size, float limit, int32_t* codes,
                   float* scales) {
  for (int i = 0; i < size; ++i) {
    float top = 0.0F;
    for (int64_t token = 0; token < length; ++token) top = largest(top, magnitude(rows[token * stride + i]));
    scales[i] = largest(top * (1.0F / limit), kSmallestScale);
    const float inverse = 1.0F / scales[i];
    for (int64_t token = 0; token < length; ++token)
      codes[token * size + i] = round_within(rows[token * stride + i] * inverse, -limit, limit);
  }
}

// A query times the keys' scales, as codes; returns their scale.
float round_query(const float* query, int size, const float* key_scales, int32_t* codes) {
  const float limit = score_limit(size);
  Parts tops(0.0F);
  for (int i = 0; i < size; ++i) {
    float& part = tops.part[i % kLanes];
    part = largest(part, magnitude(query[i] * key_scales[i]));
  }
  // The zeros of the row's last 16 only matter for NaN.
  for (int i = size; i % kLanes; ++i) tops.part[i % kLanes] = largest(tops.part[i % kLanes], 0.0F);
  const float scale = smallest(largest(tops.join(largest) * (1.0F / limit), kSmallestScale), kLargestScale);
  const float inverse = 1.0F / scale;
  for (int i = 0; i < size; ++i) codes[i] = round_within(query[i] * key_scales[i] * inverse, -limit, limit);
  return scale;
}

// Scores to codes of their weights; returns 1 / the sum of the codes.
float soften(int32_t* scores, float scale, int64_t length) {
  int32_t highest = scores[0], sum = 0;
  for (int64_t key = 1; key < length; ++key) highest = scores[key] > highest ? scores[key] : highest;
  for (int64_t key = 0; key < length; ++key) {
    scores[key] = weight_code(static_cast<float>(scores[key] - highest) * (scale * kLog2E));
    sum += scores[key];
  }
  return 1.0F / static_cast<float>(sum);
}

void attend(const LayerCall& call, int64_t text, int head, Scratch scratch) {
  const Layer& layer = *call.layer;
  const int size = layer.hidden / layer.heads, column = head * size;
  const int64_t begin = call.offsets[text], length = call.offsets[text + 1] - begin, stride = call.key_value_stride;
  const float* keys = call.key_values + begin * stride + column;
  const float factor = 1.0F / __builtin_sqrtf(static_cast<float>(size));
  const HeadMemory m = lay_out_head(layer, length, scratch);
  round_columns(keys, stride, length, size, score_limit(size), m.keys, m.key_scales);
  for (int i = 0; i < size; ++i) m.key_scales[i] *= factor;
  round_columns(keys + layer.hidden, stride, length, size, kValueLimit, m.values, m.value_scales);
  const int64_t first = layer.first_only ? text : begin, rows = layer.first_only ? 1 : length;
  for (int64_t row = first; row < first + rows; ++row) {
    const float scale = round_query(call.queries + row * call.query_stride + column, size, m.key_scales, m.query);
    for (int64_t key = 0; key < length; ++key) {
      m.scores[key] = 0;
      for (int i = 0; i < size; ++i) m.scores[key] += m.query[i] * m.keys[key * size + i];
    }
    const float share = soften(m.scores, scale, length);
    for (int i = 0; i < size; ++i) {
      float total = 0.0F;
      int32_t sum = 0;
      for (int64_t key = 0; key < length; ++key) {
        sum += m.scores[key] * m.values[key * size + i];
        if ((key + 1) % kMixed && key + 1 < length) continue;
        total += static_cast<float>(sum);
        sum = 0;
      }
      call.context[row * layer.hidden + column + i] = total * share * m.value_scales[i];
    }
  }
}

void feed(const LayerCall& call, int64_t start, int64_t stop, Scratch scratch) {
  const Layer& layer = *call.layer;
  const int hidden = layer.hidden;
  const Memory m = lay_out(layer, scratch);
  for (int64_t row = start; row < stop; ++row) {
    const float* x = call.x + (layer.first_only ? call.offsets[row] : row) * hidden;
    const float* context = call.context + row * hidden;
    float scale = round_row(layer.attention.rounding, hidden, false, m.codes, [&](int i) { return context[i]; });
    multiply(m.codes, scale, layer.attention, m.sums,
             [&](int at, float value, float by) { m.row[at] = fma(value, by, affine(x, layer.residual, at)); });
    normalize_row(m.row, hidden, layer.epsilon, m.normed);
    scale = round_affine(m.normed, layer.intermediate_input, layer.intermediate, m.codes);
    multiply(m.codes, scale, layer.intermediate, m.sums, [&](int at, float value, float by) {
      m.inner[at] = activate(layer.activation, fma(value, by, layer.intermediate_bias[at])) * layer.output_factors[at];
    });
    scale = round_row(layer.output.rounding, layer.inner, true, m.codes, [&](int i) { return m.inner[i]; });
    multiply(m.codes, scale, layer.output, m.sums, [&](int at, float value, float by) {
      m.row[at] = fma(value, by, affine(m.normed, layer.output_residual, at));
    });
    normalize_row(m.row, hidden, layer.epsilon, call.out + row * hidden);
  }
}

void embed(const EmbeddingsCall& call) {
  const int hidden = static_cast<int>(call.hidden);
  for (int64_t text = 0; text < call.texts; ++text) {
    int64_t counted = 0;
    for (int64_t token = call.offsets[text]; token < call.offsets[text + 1]; ++token) {
      const int64_t id = call.ids[token];
      int64_t position = token - call.offsets[text];
      if (call.pad_id >= 0) position = id == call.pad_id ? 0 : ++counted;
      const bool second = call.second && id >= call.vocabulary;
      const int64_t word = second ? id - call.vocabulary : id;
      float* out = call.out + token * hidden;
      for (int i = 0; i < hidden; ++i) {
        const float value = static_cast<float>(call.words[word * hidden + i]) * call.word_scales[word];
        const float place = call.position_table[position * hidden + i];
        out[i] = value + (second ? place + call.second[i] : place);
      }
      normalize_row(out, hidden, call.epsilon, out);
    }
  }
}

// One number of a text's vector, from those of its tokens, of which there are `count`.
template <typename Row>
float pool_column(Pool pool, int64_t tokens, float count, Row row) {
  float value = row(pool == Pool::kLastToken ? tokens - 1 : 0);
  if (pool == Pool::kCls || pool == Pool::kLastToken) return value;
  for (int64_t token = 1; token < tokens; ++token) {
    if (pool == Pool::kMax)
      value = largest(value, row(token));
    else if (pool == Pool::kWeightedMean)
      value = fma(row(token), static_cast<float>(token + 1), value);
    else
      value += row(token);
  }
  if (pool == Pool::kMean) return value / count;
  if (pool == Pool::kMeanSqrtLength) return value / __builtin_sqrtf(count);
  if (pool == Pool::kWeightedMean) return value / (count * 0.5F * (count + 1.0F));
  return value;
}

void pool(const PoolingCall& call) {
  for (int64_t text = 0; text < call.texts; ++text) {
    const int64_t begin = call.offsets[text], length = call.offsets[text + 1] - begin;
    const float* x = call.x + (call.first_only ? text : begin) * call.hidden;
    for (int i = 0; i < call.hidden; ++i)
      call.out[text * call.hidden + i] =
          pool_column(call.pool, call.first_only ? 1 : length, static_cast<float>(length),
                      [&](int64_t token) { return affine(x + token * call.hidden, call.norm, i); });
  }
}

void normalize(const float* x, int64_t rows, int64_t width, float* out) {
  for (int64_t row = 0; row < rows; ++row, x += width, out += width) {
    Parts squares(0.0F);
    for (int64_t i = 0; i < width; ++i) squares.part[i % kLanes] = fma(x[i], x[i], squares.part[i % kLanes]);
    const float length = __builtin_sqrtf(squares.sum()), divisor = length > 0.0F ? length : 1.0F;
    for (int64_t i = 0; i < width; ++i) out[i] = x[i] / divisor;
  }
}

}  // namespace

extern const Kernels kKernels;
const Kernels kKernels = {"scalar",        packed_bytes,   pack,   embed,       row_scratch, project,
                          project_queries, attend_scratch, attend, row_scratch, feed,        pool,    normalize};

}  // namespace embedge::scalar
