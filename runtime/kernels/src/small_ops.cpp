// The operators Embeddings, Pooling and Normalize: their inputs checked, then handed to the kernels.
#include "small_ops.h"

#include <cstring>
#include <new>

namespace embedge {

namespace {

struct Kernel {
  ort::Api api;
  const Kernels& kernels;
  float epsilon;
  int64_t pad_id;
  Pool pool;
  bool first_only;
};

// Null with an error.
Kernel* make(const ort::Table* table, ort::Status** error) {
  const Kernels* kernels = find_kernels();
  void* memory = kernels ? malloc(sizeof(Kernel)) : nullptr;
  if (memory) return new (memory) Kernel{ort::Api(table), *kernels, 0.0F, -1, Pool::kCls, false};
  const char* message = kernels ? "there is too little memory" : kNoKernels;
  *error = ort::Api(table).create_status(ort::kInvalidArgument, message);
  return nullptr;
}

// Hands the kernel over, or frees it where something failed.
ort::Status* finish(Kernel* kernel, const Failure& failure, void** made) {
  if (failure.failed())
    free(kernel);
  else
    *made = kernel;
  return failure.status();
}

constexpr struct {
  const char* name;
  Pool pool;
} kPools[] = {{"cls", Pool::kCls},   {"lasttoken", Pool::kLastToken}, {"mean", Pool::kMean},
              {"max", Pool::kMax},   {"mean_sqrt_len_tokens", Pool::kMeanSqrtLength},
              {"weightedmean", Pool::kWeightedMean}};

// Each token must have a word and a position.
void check_tokens(const EmbeddingsCall& call, Failure& failure) {
  const int64_t words = call.second ? 2 * call.vocabulary : call.vocabulary;
  for (int64_t text = 0; text < call.texts; ++text) {
    const int64_t begin = call.offsets[text], stop = call.offsets[text + 1];
    const int64_t last = call.pad_id >= 0 ? stop - begin : stop - begin - 1;
    if (last >= call.positions)
      return failure.set("text %lld has %lld tokens; there are positions for %lld", (long long)text,
                         (long long)(stop - begin), (long long)(call.positions - (call.pad_id >= 0)));
    for (int64_t token = begin; token < stop; ++token)
      if (call.ids[token] < 0 || call.ids[token] >= words)
        return failure.set("input_ids has %lld at %lld; the vocabulary has %lld words", (long long)call.ids[token],
                           (long long)token, (long long)words);
  }
}

}  // namespace

ort::Status* create_embeddings(const ort::CustomOp*, const ort::Table* table, const ort::KernelInfo* info,
                               void** made) {
  ort::Status* error = nullptr;
  Kernel* kernel = make(table, &error);
  if (!kernel) return error;
  Failure failure(kernel->api);
  failure.check(kernel->api.get_float_attribute(info, "epsilon", &kernel->epsilon));
  failure.check(kernel->api.get_int_attribute(info, "pad_id", &kernel->pad_id));
  return finish(kernel, failure, made);
}

ort::Status* compute_embeddings(void* made, ort::KernelContext* context) {
  const auto& kernel = *static_cast<const Kernel*>(made);
  const ort::Api& api = kernel.api;
  Failure failure(api);
  const Tensor ids = read_input(api, failure, context, 0, "input_ids");
  const Tensor offsets = read_input(api, failure, context, 1, "offsets");
  const Tensor words = read_input(api, failure, context, 2, "words");
  const Tensor scales = read_input(api, failure, context, 3, "word_scales");
  const Tensor positions = read_input(api, failure, context, 4, "positions");
  const ort::Value* given = nullptr;
  failure.check(api.get_input(context, 5, &given));
  Tensor second;
  if (!failure.failed() && given) second = read(api, failure, "second", given);
  if (failure.failed()) return failure.status();
  const int64_t vocabulary = words.shape[0], hidden = words.shape[1];
  if (ids.rank != 1 || words.rank != 2 || hidden % 32 || !has_shape(scales, 2, vocabulary, 1) ||
      !has_shape(positions, 2, positions.shape[0], hidden) || (given && !has_shape(second, 1, hidden, 0))) {
    failure.set("the embeddings' tables must have one width, a multiple of 32; input_ids has one dimension");
    return failure.status();
  }
  const int64_t texts = check_offsets(failure, offsets, ids.shape[0]);
  EmbeddingsCall call{ids.as<int64_t>(),    offsets.as<int64_t>(),
                      texts,                vocabulary,
                      hidden,               positions.shape[0],
                      words.as<int8_t>(),   scales.as<float>(),
                      positions.as<float>(), given ? second.as<float>() : nullptr,
                      kernel.pad_id,        kernel.epsilon,
                      nullptr};
  if (!failure.failed()) check_tokens(call, failure);
  call.out = make_output<float>(api, failure, context, ids.shape[0], hidden);
  if (!failure.failed()) kernel.kernels.embed(call);
  return failure.status();
}

ort::Status* create_pooling(const ort::CustomOp*, const ort::Table* table, const ort::KernelInfo* info, void** made) {
  ort::Status* error = nullptr;
  Kernel* kernel = make(table, &error);
  if (!kernel) return error;
  Failure failure(kernel->api);
  char mode[32] = "";
  size_t size = sizeof mode;
  int64_t first_only = 0;
  failure.check(kernel->api.get_int_attribute(info, "first_only", &first_only));
  if (failure.check(kernel->api.get_string_attribute(info, "mode", mode, &size))) {
    bool known = false;
    for (const auto& each : kPools)
      if (!strcmp(each.name, mode)) {
        kernel->pool = each.pool;
        known = true;
      }
    if (!known) failure.set("mode '%s' is unknown", mode);
    if (first_only && kernel->pool != Pool::kCls) failure.set("first_only goes with cls, not with '%s'", mode);
  }
  kernel->first_only = first_only != 0;
  return finish(kernel, failure, made);
}

ort::Status* compute_pooling(void* made, ort::KernelContext* context) {
  const auto& kernel = *static_cast<const Kernel*>(made);
  const ort::Api& api = kernel.api;
  Failure failure(api);
  const Tensor x = read_input(api, failure, context, 0, "x");
  const Tensor offsets = read_input(api, failure, context, 1, "offsets");
  const Tensor weight = read_input(api, failure, context, 2, "weight");
  const Tensor bias = read_input(api, failure, context, 3, "bias");
  if (failure.failed()) return failure.status();
  const int64_t hidden = x.shape[1];
  if (x.rank != 2 || hidden % 32 || !has_shape(weight, 1, hidden, 0) || !has_shape(bias, 1, hidden, 0) ||
      offsets.rank != 1) {
    failure.set("x, weight and bias must have one width, a multiple of 32");
    return failure.status();
  }
  const int64_t last = offsets.shape[0] ? offsets.as<int64_t>()[offsets.shape[0] - 1] : 0;
  const int64_t texts = check_offsets(failure, offsets, kernel.first_only ? last : x.shape[0]);
  if (!failure.failed() && kernel.first_only && texts != x.shape[0])
    failure.set("x must have a row for each of the %lld texts", (long long)texts);
  float* out = make_output<float>(api, failure, context, texts, hidden);
  if (!failure.failed())
    kernel.kernels.pool({x.as<float>(), offsets.as<int64_t>(), texts, hidden, {weight.as<float>(), bias.as<float>()},
                         kernel.pool, kernel.first_only, out});
  return failure.status();
}

ort::Status* create_normalize(const ort::CustomOp*, const ort::Table* table, const ort::KernelInfo*, void** made) {
  ort::Status* error = nullptr;
  Kernel* kernel = make(table, &error);
  if (!kernel) return error;
  *made = kernel;
  return nullptr;
}

ort::Status* compute_normalize(void* made, ort::KernelContext* context) {
  const auto& kernel = *static_cast<const Kernel*>(made);
  Failure failure(kernel.api);
  const Tensor x = read_input(kernel.api, failure, context, 0, "x");
  if (!failure.failed() && x.rank != 2) failure.set("x must have two dimensions");
  float* out = make_output<float>(kernel.api, failure, context, x.shape[0], x.shape[1]);
  if (!failure.failed()) kernel.kernels.normalize(x.as<float>(), x.shape[0], x.shape[1], out);
  return failure.status();
}

}  // namespace embedge
