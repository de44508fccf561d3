// The operator EncoderLayer, as functions that ONNX Runtime calls.
#pragma once

#include "layer_kernel.h"

namespace embedge {

const ort::ElementType* layer_input_types();
ort::Status* create_layer(const ort::CustomOp*, const ort::Table*, const ort::KernelInfo*, void** made);
ort::Status* compute_layer(void* made, ort::KernelContext*);
void destroy_layer(void* made);

}  // namespace embedge
