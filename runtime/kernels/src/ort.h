// The part of ONNX Runtime's C interface that is used here, declared by the places of the functions in its table.
//
// The table (OrtApi) only ever grows at its end, so that one library serves every later release. The places were read
// from the header of ONNX Runtime 1.18; kVersion is the first version of the interface that has them all.
#pragma once

#include <cstddef>
#include <cstdint>

namespace embedge::ort {

constexpr uint32_t kVersion = 18;

enum class ElementType : int { kUndefined = 0, kFloat = 1, kInt8 = 3, kInt64 = 7 };
enum class Presence : int { kRequired = 0, kOptional = 1 };
constexpr int kInvalidArgument = 2;

struct Status;
struct SessionOptions;
struct CustomOpDomain;
struct KernelInfo;
struct KernelContext;
struct Value;
struct ShapeInfo;
struct MemoryInfo;

struct Allocator {
  uint32_t version;
  void* (*alloc)(Allocator*, size_t bytes);
  void (*free)(Allocator*, void*);
  const MemoryInfo* (*info)(const Allocator*);
};

struct Table {
  void* functions[279];
};

struct Base {
  const Table* (*get_api)(uint32_t version);
  const char* (*get_version)();
};

// What ONNX Runtime calls of an operator. The fields are those of version 17 of the interface.
struct CustomOp {
  uint32_t version;
  void* (*create_kernel)(const CustomOp*, const Table*, const KernelInfo*);
  const char* (*get_name)(const CustomOp*);
  const char* (*get_provider)(const CustomOp*);
  ElementType (*get_input_type)(const CustomOp*, size_t);
  size_t (*get_input_count)(const CustomOp*);
  ElementType (*get_output_type)(const CustomOp*, size_t);
  size_t (*get_output_count)(const CustomOp*);
  void (*compute)(void*, KernelContext*);
  void (*destroy)(void*);
  Presence (*get_input_presence)(const CustomOp*, size_t);
  Presence (*get_output_presence)(const CustomOp*, size_t);
  int (*get_input_memory)(const CustomOp*, size_t);
  int (*get_variadic_input_arity)(const CustomOp*);
  int (*get_variadic_input_homogeneity)(const CustomOp*);
  int (*get_variadic_output_arity)(const CustomOp*);
  int (*get_variadic_output_homogeneity)(const CustomOp*);
  Status* (*create_kernel_v2)(const CustomOp*, const Table*, const KernelInfo*, void** kernel);
  Status* (*compute_v2)(void* kernel, KernelContext*);
  Status* (*infer_shape)(const CustomOp*, void*);
  int (*get_start_version)(const CustomOp*);
  int (*get_end_version)(const CustomOp*);
};
constexpr uint32_t kCustomOpVersion = 17;

// The functions, each at its place in the table.
class Api {
 public:
  explicit Api(const Table* table) : table_(table) {}

  Status* create_status(int code, const char* message) const {
    return at<Status* (*)(int, const char*)>(0)(code, message);
  }
  Status* create_domain(const char* name, CustomOpDomain** domain) const {
    return at<Status* (*)(const char*, CustomOpDomain**)>(26)(name, domain);
  }
  Status* add_op(CustomOpDomain* domain, const CustomOp* op) const {
    return at<Status* (*)(CustomOpDomain*, const CustomOp*)>(27)(domain, op);
  }
  Status* add_domain(SessionOptions* options, CustomOpDomain* domain) const {
    return at<Status* (*)(SessionOptions*, CustomOpDomain*)>(28)(options, domain);
  }
  Status* get_data(const Value* value, const void** data) const {
    return at<Status* (*)(const Value*, const void**)>(51)(value, data);
  }
  Status* get_rank(const ShapeInfo* info, size_t* rank) const {
    return at<Status* (*)(const ShapeInfo*, size_t*)>(61)(info, rank);
  }
  Status* get_shape(const ShapeInfo* info, int64_t* shape, size_t rank) const {
    return at<Status* (*)(const ShapeInfo*, int64_t*, size_t)>(62)(info, shape, rank);
  }
  Status* get_shape_info(const Value* value, ShapeInfo** info) const {
    return at<Status* (*)(const Value*, ShapeInfo**)>(65)(value, info);
  }
  Status* get_float_attribute(const KernelInfo* info, const char* name, float* value) const {
    return at<Status* (*)(const KernelInfo*, const char*, float*)>(85)(info, name, value);
  }
  Status* get_int_attribute(const KernelInfo* info, const char* name, int64_t* value) const {
    return at<Status* (*)(const KernelInfo*, const char*, int64_t*)>(86)(info, name, value);
  }
  Status* get_string_attribute(const KernelInfo* info, const char* name, char* value, size_t* size) const {
    return at<Status* (*)(const KernelInfo*, const char*, char*, size_t*)>(87)(info, name, value, size);
  }
  Status* get_input(const KernelContext* context, size_t index, const Value** value) const {
    return at<Status* (*)(const KernelContext*, size_t, const Value**)>(90)(context, index, value);
  }
  Status* get_output(KernelContext* context, size_t index, const int64_t* shape, size_t rank, Value** value) const {
    return at<Status* (*)(KernelContext*, size_t, const int64_t*, size_t, Value**)>(91)(context, index, shape, rank,
                                                                                         value);
  }
  void release_status(Status* status) const { at<void (*)(Status*)>(93)(status); }
  void release_shape_info(ShapeInfo* info) const { at<void (*)(ShapeInfo*)>(99)(info); }
  Status* get_input_count(const KernelInfo* info, size_t* count) const {
    return at<Status* (*)(const KernelInfo*, size_t*)>(230)(info, count);
  }
  Status* get_constant_input(const KernelInfo* info, size_t index, int* is_constant, const Value** value) const {
    return at<Status* (*)(const KernelInfo*, size_t, int*, const Value**)>(249)(info, index, is_constant, value);
  }
  Status* parallel_for(const KernelContext* context, void (*work)(void*, size_t), size_t count, void* data) const {
    return at<Status* (*)(const KernelContext*, void (*)(void*, size_t), size_t, size_t, void*)>(274)(
        context, work, count, count, data);
  }
  Status* get_allocator(const KernelInfo* info, Allocator** allocator) const {
    constexpr int kDefaultMemory = 0;
    return at<Status* (*)(const KernelInfo*, int, Allocator**)>(278)(info, kDefaultMemory, allocator);
  }
  void release_allocator(Allocator* allocator) const { at<void (*)(Allocator*)>(132)(allocator); }

 private:
  template <typename Function>
  Function at(size_t place) const {
    return reinterpret_cast<Function>(table_->functions[place]);
  }

  const Table* table_;
};

}  // namespace embedge::ort
