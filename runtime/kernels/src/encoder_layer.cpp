// The operator EncoderLayer: its weights, packed once, and its steps on one thread or several.
#include "encoder_layer.h"

#include <cstring>
#include <new>

namespace embedge {

namespace {

enum Input : size_t {
  kX,
  kOffsets,
  kSpread,
  kInputWeight,
  kInputBias,
  kQkvCodes,
  kQkvScales,
  kQkvBias,
  kAttentionCodes,
  kAttentionScales,
  kResidualWeight,
  kResidualBias,
  kIntermediateInputWeight,
  kIntermediateInputBias,
  kIntermediateCodes,
  kIntermediateScales,
  kIntermediateBias,
  kOutputFactors,
  kOutputCodes,
  kOutputScales,
  kOutputResidualWeight,
  kOutputResidualBias,
  kKeyValueCodes,
  kKeyValueScales,
  kKeyValueBias,
};

constexpr const char* kNames[kLayerInputs] = {
    "x",
    "offsets",
    "spread",
    "input_weight",
    "input_bias",
    "qkv_codes",
    "qkv_scales",
    "qkv_bias",
    "attention_codes",
    "attention_scales",
    "residual_weight",
    "residual_bias",
    "intermediate_input_weight",
    "intermediate_input_bias",
    "intermediate_codes",
    "intermediate_scales",
    "intermediate_bias",
    "output_factors",
    "output_codes",
    "output_scales",
    "output_residual_weight",
    "output_residual_bias",
    "key_value_codes",
    "key_value_scales",
    "key_value_bias",
};

constexpr Rounding kCentred{128, 1e-12F};
// Sums of products of 255 by 128 fit 32 bits.
constexpr int64_t kMostInputs = 1 << 16;
constexpr size_t kAlignment = 64;
// Each has memory of its own, whatever `spread` says; no pool of threads is larger.
constexpr int64_t kMostWorkers = 256;

bool is_finite(float value) { return value - value == 0.0F; }

// Memory in one piece, handed out in parts; with no memory it only counts.
class Arena {
 public:
  void* take(size_t bytes) {
    unsigned char* at = start_ ? start_ + used_ : nullptr;
    used_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return at;
  }

  // False where there is too little memory.
  bool allocate() {
    memory_ = static_cast<unsigned char*>(malloc(used_ + kAlignment));
    if (!memory_) return false;
    start_ = memory_ + (-reinterpret_cast<uintptr_t>(memory_) & (kAlignment - 1));
    used_ = 0;
    return true;
  }

  void release() { free(memory_); }

 private:
  unsigned char* memory_ = nullptr;
  unsigned char* start_ = nullptr;
  size_t used_ = 0;
};

struct Kernel {
  Kernel(const ort::Table* table, const Kernels& kernels) : api(table), kernels(kernels) {}

  ort::Api api;
  const Kernels& kernels;
  ort::Allocator* allocator = nullptr;
  Layer layer{};
  Arena weights;
};

// Reads the constant inputs twice: to count the bytes, and to pack and copy them.
class Weights {
 public:
  Weights(Kernel& kernel, const ort::KernelInfo* info, Failure& failure)
      : kernel_(kernel), info_(info), failure_(failure) {
    failure.check(kernel.api.get_input_count(info, &count_));
  }

  bool has(size_t input) const { return input < count_; }

  Tensor get(size_t input) {
    int constant = 0;
    const ort::Value* value = nullptr;
    if (failure_.failed() || !failure_.check(kernel_.api.get_constant_input(info_, input, &constant, &value)))
      return {};
    if (!constant || !value) {
      failure_.set("%s must be a constant", kNames[input]);
      return {};
    }
    return read(kernel_.api, failure_, kNames[input], value);
  }

  const float* vector(size_t input, int64_t length) {
    const Tensor tensor = get(input);
    if (failure_.failed()) return nullptr;
    if (!has_shape(tensor, 1, length, 0)) {
      failure_.set("%s must have %lld numbers", kNames[input], (long long)length);
      return nullptr;
    }
    auto* copy = static_cast<float*>(kernel_.weights.take(length * sizeof(float)));
    if (!copy) return nullptr;
    memcpy(copy, tensor.data, length * sizeof(float));
    for (int64_t i = 0; i < length; ++i)
      if (!is_finite(copy[i])) {
        failure_.set("%s is not finite at %lld", kNames[input], (long long)i);
        break;
      }
    return copy;
  }

  Affine affine(size_t weight, size_t bias) {
    const int64_t hidden = kernel_.layer.hidden;
    return {vector(weight, hidden), vector(bias, hidden)};
  }

  Matrix matrix(size_t codes, size_t scales, int64_t inputs, int64_t outputs, Rounding rounding) {
    const Tensor tensor = get(codes);
    if (failure_.failed()) return {};
    if (!has_shape(tensor, 2, inputs, outputs)) {
      failure_.set("%s must have shape (%lld, %lld)", kNames[codes], (long long)inputs, (long long)outputs);
      return {};
    }
    Matrix made{static_cast<int>(inputs), static_cast<int>(outputs), rounding, vector(scales, outputs), nullptr};
    made.packed = kernel_.weights.take(kernel_.kernels.packed_bytes(made.inputs, made.outputs));
    if (made.packed) kernel_.kernels.pack(tensor.as<int8_t>(), made);
    return made;
  }

 private:
  Kernel& kernel_;
  const ort::KernelInfo* info_;
  Failure& failure_;
  size_t count_ = 0;
};

void read_attributes(Kernel& kernel, const ort::KernelInfo* info, Failure& failure, Rounding& rounding) {
  const ort::Api& api = kernel.api;
  Layer& layer = kernel.layer;
  int64_t heads = 0, zero_point = 0, first_only = 0;
  char activation[16] = "";
  size_t size = sizeof activation;
  failure.check(api.get_int_attribute(info, "heads", &heads));
  failure.check(api.get_int_attribute(info, "zero_point", &zero_point));
  failure.check(api.get_int_attribute(info, "first_only", &first_only));
  failure.check(api.get_float_attribute(info, "epsilon", &layer.epsilon));
  failure.check(api.get_float_attribute(info, "smallest_scale", &rounding.smallest_scale));
  if (!failure.check(api.get_string_attribute(info, "activation", activation, &size))) return;
  if (!strcmp(activation, "gelu"))
    layer.activation = Activation::kGelu;
  else if (!strcmp(activation, "gelu_tanh"))
    layer.activation = Activation::kGeluTanh;
  else if (!strcmp(activation, "relu"))
    layer.activation = Activation::kRelu;
  else
    return failure.set("activation is '%s'; it may be gelu, gelu_tanh or relu", activation);
  if (zero_point < 0 || zero_point > 254) return failure.set("zero_point is %lld", (long long)zero_point);
  // 1 / smallest_scale must be finite.
  if (!(rounding.smallest_scale >= 0x1p-126F) || !is_finite(rounding.smallest_scale) || !(layer.epsilon >= 0.0F))
    return failure.set("smallest_scale must be at least 2^-126, and epsilon not negative");
  rounding.zero_point = static_cast<int>(zero_point);
  layer.heads = static_cast<int>(heads < 0 || heads > kMostInputs ? 0 : heads);
  layer.first_only = first_only != 0;
}

void read_weights(Kernel& kernel, Weights& weights, Rounding rounding) {
  Layer& layer = kernel.layer;
  const int64_t hidden = layer.hidden, inner = layer.inner;
  const bool apart = weights.has(kKeyValueCodes);
  const int64_t queries = apart ? hidden : 3 * hidden;
  layer.input = weights.affine(kInputWeight, kInputBias);
  layer.query = weights.matrix(kQkvCodes, kQkvScales, hidden, queries, kCentred);
  layer.query_bias = weights.vector(kQkvBias, queries);
  if (apart) {
    layer.key_value = weights.matrix(kKeyValueCodes, kKeyValueScales, hidden, 2 * hidden, kCentred);
    layer.key_value_bias = weights.vector(kKeyValueBias, 2 * hidden);
  }
  layer.attention = weights.matrix(kAttentionCodes, kAttentionScales, hidden, hidden, kCentred);
  layer.residual = weights.affine(kResidualWeight, kResidualBias);
  layer.intermediate_input = weights.affine(kIntermediateInputWeight, kIntermediateInputBias);
  layer.intermediate = weights.matrix(kIntermediateCodes, kIntermediateScales, hidden, inner, kCentred);
  layer.intermediate_bias = weights.vector(kIntermediateBias, inner);
  layer.output_factors = weights.vector(kOutputFactors, inner);
  layer.output = weights.matrix(kOutputCodes, kOutputScales, inner, hidden, rounding);
  layer.output_residual = weights.affine(kOutputResidualWeight, kOutputResidualBias);
}

void set_up(Kernel& kernel, const ort::KernelInfo* info, Failure& failure) {
  Rounding rounding{};
  read_attributes(kernel, info, failure, rounding);
  Weights weights(kernel, info, failure);
  const Tensor codes = weights.get(kIntermediateCodes);
  if (failure.failed()) return;
  const int64_t hidden = codes.shape[0], inner = codes.shape[1];
  Layer& layer = kernel.layer;
  if (codes.rank != 2 || hidden <= 0 || inner <= 0 || hidden % 32 || inner % 32 || hidden > kMostInputs ||
      inner > kMostInputs)
    return failure.set("hidden size %lld and intermediate size %lld must be multiples of 32, of at most %lld",
                       (long long)hidden, (long long)inner, (long long)kMostInputs);
  if (layer.heads <= 0 || hidden % layer.heads)
    return failure.set("heads must divide the hidden size, %lld", (long long)hidden);
  if (layer.first_only != weights.has(kKeyValueCodes))
    return failure.set("key_value_codes are given if first_only is, and only then");
  layer.hidden = static_cast<int>(hidden);
  layer.inner = static_cast<int>(inner);
  read_weights(kernel, weights, rounding);
  if (failure.failed()) return;
  if (!kernel.weights.allocate()) return failure.set("there is too little memory for the packed weights");
  read_weights(kernel, weights, rounding);
}

size_t larger(size_t a, size_t b) { return a > b ? a : b; }

// The parts of a step, on the calling thread or on `workers` of ONNX Runtime's, each with memory of its own.
struct Step {
  void (*part)(const Kernel&, const LayerCall&, int64_t index, int64_t parts, Scratch);
  const Kernel& kernel;
  const LayerCall& call;
  int64_t parts;
  Scratch scratch;
  size_t scratch_bytes;
  int64_t next = 0;

  static void work(void* data, size_t worker) {
    auto* step = static_cast<Step*>(data);
    Scratch scratch = step->scratch + worker * step->scratch_bytes;
    for (;;) {
      const int64_t index = __atomic_fetch_add(&step->next, 1, __ATOMIC_RELAXED);
      if (index >= step->parts) return;
      step->part(step->kernel, step->call, index, step->parts, scratch);
    }
  }

  void run(Failure& failure, const ort::KernelContext* context, int64_t workers) {
    if (failure.failed() || !parts) return;
    if (workers > 1 && parts > 1)
      failure.check(kernel.api.parallel_for(context, work, static_cast<size_t>(workers), this));
    else
      work(this, 0);
  }
};

void project_part(const Kernel& kernel, const LayerCall& call, int64_t index, int64_t parts, Scratch scratch) {
  kernel.kernels.project(call, call.tokens * index / parts, call.tokens * (index + 1) / parts, scratch);
}

void query_part(const Kernel& kernel, const LayerCall& call, int64_t index, int64_t parts, Scratch scratch) {
  kernel.kernels.project_queries(call, call.rows * index / parts, call.rows * (index + 1) / parts, scratch);
}

void attend_part(const Kernel& kernel, const LayerCall& call, int64_t index, int64_t, Scratch scratch) {
  const int heads = call.layer->heads;
  kernel.kernels.attend(call, index / heads, static_cast<int>(index % heads), scratch);
}

void feed_part(const Kernel& kernel, const LayerCall& call, int64_t index, int64_t parts, Scratch scratch) {
  kernel.kernels.feed(call, call.rows * index / parts, call.rows * (index + 1) / parts, scratch);
}

void run(const Kernel& kernel, ort::KernelContext* context, Failure& failure) {
  const ort::Api& api = kernel.api;
  const Layer& layer = kernel.layer;
  const int64_t hidden = layer.hidden;
  const Tensor x = read_input(api, failure, context, kX, kNames[kX]);
  const Tensor offsets = read_input(api, failure, context, kOffsets, kNames[kOffsets]);
  const Tensor spread = read_input(api, failure, context, kSpread, kNames[kSpread]);
  if (failure.failed()) return;
  if (x.rank != 2 || x.shape[1] != hidden) return failure.set("x must have shape (tokens, %lld)", (long long)hidden);
  if (spread.rank != 0) return failure.set("spread must be a scalar");
  const int64_t tokens = x.shape[0], texts = check_offsets(failure, offsets, tokens);
  const int64_t asked = *spread.as<int64_t>(), most = tokens < kMostWorkers ? tokens : kMostWorkers;
  const int64_t workers = asked > most ? most : asked < 1 ? 1 : asked;
  LayerCall call{};
  call.layer = &layer;
  call.x = x.as<float>();
  call.offsets = offsets.as<int64_t>();
  call.texts = texts;
  call.tokens = tokens;
  call.rows = layer.first_only ? texts : tokens;
  call.out = make_output<float>(api, failure, context, call.rows, hidden);
  if (failure.failed() || !tokens) return;
  int64_t longest = 0;
  for (int64_t text = 0; text < texts; ++text) {
    const int64_t length = call.offsets[text + 1] - call.offsets[text];
    if (length > longest) longest = length;
  }
  const Kernels& kernels = kernel.kernels;
  size_t scratch = larger(kernels.project_scratch(layer), kernels.query_scratch(layer));
  scratch = larger(scratch, larger(kernels.attend_scratch(layer, longest), kernels.feed_scratch(layer)));
  scratch = (scratch + kAlignment - 1) / kAlignment * kAlignment;
  call.query_stride = layer.query.outputs;
  call.key_value_stride = layer.first_only ? layer.key_value.outputs : layer.query.outputs;
  const size_t queries = call.rows * call.query_stride * sizeof(float);
  const size_t key_values = layer.first_only ? tokens * call.key_value_stride * sizeof(float) : 0;
  const size_t all = scratch * workers + queries + key_values + call.rows * hidden * sizeof(float) + kAlignment;
  auto* memory = static_cast<unsigned char*>(kernel.allocator->alloc(kernel.allocator, all));
  if (!memory) return failure.set("there is too little memory for %lld tokens", (long long)tokens);
  Scratch start = memory + (-reinterpret_cast<uintptr_t>(memory) & (kAlignment - 1));
  // All widths are multiples of 32, so each part is aligned like the first.
  call.queries = reinterpret_cast<float*>(start + scratch * workers);
  call.key_values = layer.first_only ? call.queries + call.rows * call.query_stride : call.queries + hidden;
  call.context = reinterpret_cast<float*>(start + scratch * workers + queries + key_values);
  Step{project_part, kernel, call, tokens < workers ? tokens : workers, start, scratch}.run(failure, context, workers);
  const int64_t row_parts = call.rows < workers ? call.rows : workers;
  if (layer.first_only)
    Step{query_part, kernel, call, row_parts, start, scratch}.run(failure, context, workers);
  Step{attend_part, kernel, call, texts * layer.heads, start, scratch}.run(failure, context, workers);
  Step{feed_part, kernel, call, row_parts, start, scratch}.run(failure, context, workers);
  kernel.allocator->free(kernel.allocator, memory);
}

}  // namespace

ort::Status* create_layer(const ort::CustomOp*, const ort::Table* table, const ort::KernelInfo* info, void** made) {
  const ort::Api api(table);
  const Kernels* kernels = find_kernels();
  if (!kernels) return api.create_status(ort::kInvalidArgument, kNoKernels);
  auto* memory = malloc(sizeof(Kernel));
  if (!memory) return api.create_status(ort::kInvalidArgument, "there is too little memory");
  auto* kernel = new (memory) Kernel(table, *kernels);
  Failure failure(kernel->api);
  failure.check(api.get_allocator(info, &kernel->allocator));
  if (!failure.failed()) set_up(*kernel, info, failure);
  if (failure.failed())
    destroy_layer(kernel);
  else
    *made = kernel;
  return failure.status();
}

ort::Status* compute_layer(void* made, ort::KernelContext* context) {
  const auto* kernel = static_cast<const Kernel*>(made);
  Failure failure(kernel->api);
  run(*kernel, context, failure);
  return failure.status();
}

void destroy_layer(void* made) {
  auto* kernel = static_cast<Kernel*>(made);
  if (kernel->allocator) kernel->api.release_allocator(kernel->allocator);
  kernel->weights.release();
  free(kernel);
}

const ort::ElementType* layer_input_types() {
  using enum ort::ElementType;
  static constexpr ort::ElementType types[kLayerInputs] = {
      kFloat, kInt64, kInt64, kFloat, kFloat, kInt8,  kFloat, kFloat, kInt8, kFloat, kFloat, kFloat, kFloat,
      kFloat, kInt8,  kFloat, kFloat, kFloat, kInt8,  kFloat, kFloat, kFloat, kInt8, kFloat, kFloat};
  return types;
}

}  // namespace embedge
