// What ONNX Runtime finds in this library: the operators of the domain ai.embedge.
#include <cstdlib>

#include "encoder_layer.h"
#include "glue.h"
#include "kernels.h"
#include "small_ops.h"

#if defined(_WIN32)
#define EMBEDGE_EXPORT extern "C" __declspec(dllexport)
#else
#define EMBEDGE_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace embedge {

namespace {

struct Op : ort::CustomOp {
  const char* name;
  const ort::ElementType* input_types;
  size_t input_count;
  size_t needed_inputs;
};

const Op& of(const ort::CustomOp* op) { return *static_cast<const Op*>(op); }

Op define(const char* name, const ort::ElementType* input_types, size_t input_count, size_t needed_inputs,
          decltype(ort::CustomOp::create_kernel_v2) create, decltype(ort::CustomOp::compute_v2) compute,
          decltype(ort::CustomOp::destroy) destroy) {
  Op op{};
  op.version = ort::kCustomOpVersion;
  op.get_name = [](const ort::CustomOp* self) { return of(self).name; };
  op.get_provider = [](const ort::CustomOp*) -> const char* { return nullptr; };  // the CPU
  op.get_input_type = [](const ort::CustomOp* self, size_t index) { return of(self).input_types[index]; };
  op.get_input_count = [](const ort::CustomOp* self) { return of(self).input_count; };
  op.get_output_type = [](const ort::CustomOp*, size_t) { return ort::ElementType::kFloat; };
  op.get_output_count = [](const ort::CustomOp*) -> size_t { return 1; };
  op.destroy = destroy;
  op.get_input_presence = [](const ort::CustomOp* self, size_t index) {
    return index < of(self).needed_inputs ? ort::Presence::kRequired : ort::Presence::kOptional;
  };
  op.get_output_presence = [](const ort::CustomOp*, size_t) { return ort::Presence::kRequired; };
  op.get_input_memory = [](const ort::CustomOp*, size_t) { return 0; };
  op.get_variadic_input_arity = [](const ort::CustomOp*) { return 0; };
  op.get_variadic_input_homogeneity = [](const ort::CustomOp*) { return 0; };
  op.get_variadic_output_arity = [](const ort::CustomOp*) { return 0; };
  op.get_variadic_output_homogeneity = [](const ort::CustomOp*) { return 0; };
  op.create_kernel_v2 = create;
  op.compute_v2 = compute;
  op.get_start_version = [](const ort::CustomOp*) { return 1; };
  op.get_end_version = [](const ort::CustomOp*) { return 0x7fffffff; };
  op.name = name;
  op.input_types = input_types;
  op.input_count = input_count;
  op.needed_inputs = needed_inputs;
  return op;
}

// The domain with its operators, made once: sessions refer to it as long as they last.
ort::CustomOpDomain* find_domain(const ort::Api& api, Failure& failure) {
  using enum ort::ElementType;
  static constexpr ort::ElementType embeddings[] = {kInt64, kInt64, kInt8, kFloat, kFloat, kFloat};
  static constexpr ort::ElementType pooling[] = {kFloat, kInt64, kFloat, kFloat};
  static Op ops[4];
  static ort::CustomOpDomain* made = nullptr;
  static bool busy = false;
  while (__atomic_test_and_set(&busy, __ATOMIC_ACQUIRE)) {
  }
  if (!made) {
    ops[0] = define("Embeddings", embeddings, 6, 5, create_embeddings, compute_embeddings, free);
    ops[1] = define("EncoderLayer", layer_input_types(), kLayerInputs, kLayerNeededInputs, create_layer,
                    compute_layer, destroy_layer);
    ops[2] = define("Pooling", pooling, 4, 4, create_pooling, compute_pooling, free);
    ops[3] = define("Normalize", pooling, 1, 1, create_normalize, compute_normalize, free);
    ort::CustomOpDomain* domain = nullptr;
    if (failure.check(api.create_domain("ai.embedge", &domain)))
      for (const Op& op : ops) failure.check(api.add_op(domain, &op));
    if (!failure.failed()) made = domain;
  }
  __atomic_clear(&busy, __ATOMIC_RELEASE);
  return made;
}

}  // namespace

}  // namespace embedge

// Called by ONNX Runtime for session options with this library.
EMBEDGE_EXPORT embedge::ort::Status* RegisterCustomOps(embedge::ort::SessionOptions* options,
                                                       const embedge::ort::Base* base) {
  using namespace embedge;
  const ort::Table* table = base->get_api(ort::kVersion);
  if (!table) return nullptr;  // older ones have no way to say what is wrong; the session finds the operators missing
  const ort::Api api(table);
  Failure failure(api);
  if (!find_kernels())
    failure.set("EMBEDGE_ISA is %s, which this CPU or this library does not have", getenv("EMBEDGE_ISA"));
  else if (ort::CustomOpDomain* domain = find_domain(api, failure))
    failure.check(api.add_domain(options, domain));
  return failure.status();
}

// The version of the arithmetic (docs/kernels.md): another one gives other bits, and other operators may go with it.
EMBEDGE_EXPORT int embedge_arithmetic() { return 1; }

// The instruction set that sessions compute with; empty where EMBEDGE_ISA names one that is not there.
EMBEDGE_EXPORT const char* embedge_isa() {
  const embedge::Kernels* found = embedge::find_kernels();
  return found ? found->name : "";
}
