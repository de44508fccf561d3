// The kernel of the operator EncoderLayer: its inputs' names, and its weights as they are packed.
#pragma once

#include <cstdlib>

#include "glue.h"
#include "kernels.h"

namespace embedge {

// The places of its inputs; docs/kernels.md says what they are.
enum LayerInput : size_t {
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
  kLayerInputs,
};

// The others may be missing.
constexpr size_t kLayerNeededInputs = kKeyValueCodes;

constexpr const char* kLayerInputNames[kLayerInputs] = {
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

constexpr size_t kAlignment = 64;

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

struct LayerKernel {
  LayerKernel(const ort::Table* table, const Kernels& kernels) : api(table), kernels(kernels) {}

  ort::Api api;
  const Kernels& kernels;
  ort::Allocator* allocator = nullptr;
  Layer layer{};
  Arena weights;
};

// Reads, checks and packs the attributes and constant inputs of a node.
void set_up(LayerKernel& kernel, const ort::KernelInfo* info, Failure& failure);

}  // namespace embedge
