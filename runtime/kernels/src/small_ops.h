// The operators Embeddings, Pooling and Normalize, as functions that ONNX Runtime calls.
#pragma once

#include "glue.h"
#include "kernels.h"

namespace embedge {

ort::Status* create_embeddings(const ort::CustomOp*, const ort::Table*, const ort::KernelInfo*, void** made);
ort::Status* compute_embeddings(void* made, ort::KernelContext*);
ort::Status* create_pooling(const ort::CustomOp*, const ort::Table*, const ort::KernelInfo*, void** made);
ort::Status* compute_pooling(void* made, ort::KernelContext*);
ort::Status* create_normalize(const ort::CustomOp*, const ort::Table*, const ort::KernelInfo*, void** made);
ort::Status* compute_normalize(void* made, ort::KernelContext*);

}  // namespace embedge
