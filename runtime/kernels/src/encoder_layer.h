// The operator EncoderLayer, as functions that ONNX Runtime calls.
#pragma once

#include "glue.h"
#include "kernels.h"

namespace embedge {

constexpr size_t kLayerInputs = 25;
constexpr size_t kLayerNeededInputs = 22;

const ort::ElementType* layer_input_types();
ort::Status* create_layer(const ort::CustomOp*, const ort::Table*, const ort::KernelInfo*, void** made);
ort::Status* compute_layer(void* made, ort::KernelContext*);
void destroy_layer(void* made);

}  // namespace embedge
