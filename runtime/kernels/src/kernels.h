// What the operators have to compute, and the functions that do it, one set for each instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace embedge {

enum class Activation { kGelu, kGeluTanh, kRelu };
enum class Pool { kCls, kLastToken, kMean, kMeanSqrtLength, kWeightedMean, kMax };

// Rows of a product are rounded to codes of 8 bits, code = round(value / scale) + zero_point, with one scale a row.
struct Rounding {
  int zero_point;
  float smallest_scale;
};

// An int8 matrix with a scale for each output, packed for the products of one instruction set.
struct Matrix {
  int inputs;
  int outputs;
  Rounding rounding;
  const float* scales;
  void* packed;
};

struct Affine {
  const float* weight;
  const float* bias;
};

// One layer of an encoder. The arrays belong to whoever made it.
struct Layer {
  int hidden;
  int inner;
  int heads;
  Activation activation;
  float epsilon;
  bool first_only;
  Affine input;
  Matrix query;  // or query, key and value
  const float* query_bias;
  Matrix key_value;  // no outputs where they are in `query`
  const float* key_value_bias;
  Matrix attention;
  Affine residual;
  Affine intermediate_input;
  Matrix intermediate;
  const float* intermediate_bias;
  const float* output_factors;
  Matrix output;
  Affine output_residual;
};

// A call of a layer. `rows` are those of `out`: a row for each token, or for each text with `first_only`.
struct LayerCall {
  const Layer* layer;
  const float* x;          // (tokens, hidden)
  const int64_t* offsets;  // (texts + 1)
  int64_t texts;
  int64_t tokens;
  int64_t rows;
  float* queries;     // (rows, stride): with first_only of their own, else they lie with keys and values
  float* key_values;  // (tokens, stride)
  int64_t query_stride;
  int64_t key_value_stride;
  float* context;  // (rows, hidden)
  float* out;      // (rows, hidden)
};

struct EmbeddingsCall {
  const int64_t* ids;
  const int64_t* offsets;
  int64_t texts;
  int64_t vocabulary;
  int64_t hidden;
  int64_t positions;
  const int8_t* words;
  const float* word_scales;
  const float* position_table;
  const float* second;  // or null
  int64_t pad_id;
  float epsilon;
  float* out;
};

struct PoolingCall {
  const float* x;
  const int64_t* offsets;
  int64_t texts;
  int64_t hidden;
  Affine norm;
  Pool pool;
  bool first_only;
  float* out;
};

// Memory for one task, which only it writes to.
using Scratch = unsigned char*;

struct Kernels {
  const char* name;
  size_t (*packed_bytes)(int inputs, int outputs);
  void (*pack)(const int8_t* codes, Matrix& matrix);
  // Normalised embeddings of all tokens, which must have places in the tables.
  void (*embed)(const EmbeddingsCall&);
  // A layer in three steps, each of which the next one waits for; parts of a step may run side by side.
  size_t (*project_scratch)(const Layer&);  // for both of the next
  void (*project)(const LayerCall&, int64_t start, int64_t stop, Scratch);  // tokens: queries, keys, values
  void (*project_queries)(const LayerCall&, int64_t start, int64_t stop, Scratch);  // rows, with first_only
  size_t (*attend_scratch)(const Layer&, int64_t longest);
  void (*attend)(const LayerCall&, int64_t text, int head, Scratch);
  size_t (*feed_scratch)(const Layer&);
  void (*feed)(const LayerCall&, int64_t start, int64_t stop, Scratch);  // rows: the rest of the layer
  void (*pool)(const PoolingCall&);
  void (*normalize)(const float* x, int64_t rows, int64_t width, float* out);
};

// Those of this CPU, or of the instruction set that the environment variable EMBEDGE_ISA names; null if it has not it.
const Kernels* find_kernels();

}  // namespace embedge
