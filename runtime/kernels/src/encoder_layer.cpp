// The operator EncoderLayer: its steps, on one thread or several.
#include "encoder_layer.h"

#include <new>

#include "constants.h"
#include "layer_kernel.h"

namespace embedge {

namespace {

// Each has memory of its own, whatever `spread` says; no pool of threads is larger.
constexpr int64_t kMostWorkers = 256;

size_t larger(size_t a, size_t b) { return a > b ? a : b; }

// The parts of a step, on the calling thread or on `workers` of ONNX Runtime's, each with memory of its own.
struct Step {
  void (*part)(const LayerKernel&, const LayerCall&, int64_t index, int64_t parts, Scratch);
  const LayerKernel& kernel;
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

void project_part(const LayerKernel& kernel, const LayerCall& call, int64_t index, int64_t parts, Scratch scratch) {
  kernel.kernels.project(call, call.tokens * index / parts, call.tokens * (index + 1) / parts, scratch);
}

void query_part(const LayerKernel& kernel, const LayerCall& call, int64_t index, int64_t parts, Scratch scratch) {
  kernel.kernels.project_queries(call, call.rows * index / parts, call.rows * (index + 1) / parts, scratch);
}

void attend_part(const LayerKernel& kernel, const LayerCall& call, int64_t index, int64_t, Scratch scratch) {
  const int heads = call.layer->heads;
  kernel.kernels.attend(call, index / heads, static_cast<int>(index % heads), scratch);
}

void feed_part(const LayerKernel& kernel, const LayerCall& call, int64_t index, int64_t parts, Scratch scratch) {
  kernel.kernels.feed(call, call.rows * index / parts, call.rows * (index + 1) / parts, scratch);
}

void run(const LayerKernel& kernel, ort::KernelContext* context, Failure& failure) {
  const ort::Api& api = kernel.api;
  const Layer& layer = kernel.layer;
  const int64_t hidden = layer.hidden;
  const Tensor x = read_input(api, failure, context, kX, kLayerInputNames[kX]);
  const Tensor offsets = read_input(api, failure, context, kOffsets, kLayerInputNames[kOffsets]);
  const Tensor spread = read_input(api, failure, context, kSpread, kLayerInputNames[kSpread]);
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
  if (longest > kLongestText)
    return failure.set("a text has %lld tokens; the most is %lld", (long long)longest, (long long)kLongestText);
  const Kernels& kernels = kernel.kernels;
  size_t scratch = larger(kernels.attend_scratch(layer, longest), kernels.feed_scratch(layer));
  scratch = larger(scratch, kernels.project_scratch(layer));
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
  auto* memory = malloc(sizeof(LayerKernel));
  if (!memory) return api.create_status(ort::kInvalidArgument, "there is too little memory");
  auto* kernel = new (memory) LayerKernel(table, *kernels);
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
  const auto* kernel = static_cast<const LayerKernel*>(made);
  Failure failure(kernel->api);
  run(*kernel, context, failure);
  return failure.status();
}

void destroy_layer(void* made) {
  auto* kernel = static_cast<LayerKernel*>(made);
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
