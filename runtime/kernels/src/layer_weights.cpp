// The weights of the operator EncoderLayer: read from constant inputs, checked, packed and copied into one piece.
#include <cstring>

#include "layer_kernel.h"

namespace embedge {

namespace {

constexpr Rounding kCentred{128, 1e-12F};
// Sums of products of 255 by 128 fit 32 bits.
constexpr int64_t kMostInputs = 1 << 16;

bool is_finite(float value) { return value - value == 0.0F; }

// Reads the constant inputs twice: to count the bytes, and to pack and copy them.
class Weights {
 public:
  Weights(LayerKernel& kernel, const ort::KernelInfo* info, Failure& failure)
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
      failure_.set("%s must be a constant", kLayerInputNames[input]);
      return {};
    }
    return read(kernel_.api, failure_, kLayerInputNames[input], value);
  }

  const float* vector(size_t input, int64_t length) {
    const Tensor tensor = get(input);
    if (failure_.failed()) return nullptr;
    if (!has_shape(tensor, 1, length, 0)) {
      failure_.set("%s must have %lld numbers", kLayerInputNames[input], (long long)length);
      return nullptr;
    }
    auto* copy = static_cast<float*>(kernel_.weights.take(length * sizeof(float)));
    if (!copy) return nullptr;
    memcpy(copy, tensor.data, length * sizeof(float));
    for (int64_t i = 0; i < length; ++i)
      if (!is_finite(copy[i])) {
        failure_.set("%s is not finite at %lld", kLayerInputNames[input], (long long)i);
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
      failure_.set("%s must have shape (%lld, %lld)", kLayerInputNames[codes], (long long)inputs, (long long)outputs);
      return {};
    }
    Matrix made{static_cast<int>(inputs), static_cast<int>(outputs), rounding, vector(scales, outputs), nullptr};
    made.packed = kernel_.weights.take(kernel_.kernels.packed_bytes(made.inputs, made.outputs));
    if (made.packed) kernel_.kernels.pack(tensor.as<int8_t>(), made);
    return made;
  }

 private:
  LayerKernel& kernel_;
  const ort::KernelInfo* info_;
  Failure& failure_;
  size_t count_ = 0;
};

void read_attributes(LayerKernel& kernel, const ort::KernelInfo* info, Failure& failure, Rounding& rounding) {
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

void read_weights(LayerKernel& kernel, Weights& weights, Rounding rounding) {
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

}  // namespace

void set_up(LayerKernel& kernel, const ort::KernelInfo* info, Failure& failure) {
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

}  // namespace embedge
