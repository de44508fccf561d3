// Tensors in and out of ONNX Runtime, checked, and errors with what was wrong.
#pragma once

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "ort.h"

namespace embedge {

// The environment may change after the library was registered.
constexpr const char* kNoKernels = "EMBEDGE_ISA names what this CPU or this library does not have";

// The first error of several steps; later ones are ignored.
class Failure {
 public:
  explicit Failure(const ort::Api& api) : api_(api) {}

  bool failed() const { return status_ != nullptr; }

  // Whether a call of ONNX Runtime worked, and all before it.
  bool check(ort::Status* status) {
    if (failed()) {
      if (status) api_.release_status(status);
    } else {
      status_ = status;
    }
    return !failed();
  }

  __attribute__((format(printf, 2, 3))) void set(const char* format, ...) {
    char message[256];
    va_list values;
    va_start(values, format);
    vsnprintf(message, sizeof message, format, values);
    va_end(values);
    check(api_.create_status(ort::kInvalidArgument, message));
  }

  ort::Status* status() const { return status_; }

 private:
  const ort::Api& api_;
  ort::Status* status_ = nullptr;
};

struct Tensor {
  const void* data = nullptr;
  size_t rank = 0;
  int64_t shape[2] = {0, 0};

  template <typename T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
};

inline Tensor read(const ort::Api& api, Failure& failure, const char* name, const ort::Value* value) {
  Tensor tensor;
  ort::ShapeInfo* info = nullptr;
  if (!failure.check(api.get_shape_info(value, &info))) return tensor;
  if (failure.check(api.get_rank(info, &tensor.rank))) {
    if (tensor.rank > 2)
      failure.set("%s has %zu dimensions; it may have 2", name, tensor.rank);
    else
      failure.check(api.get_shape(info, tensor.shape, tensor.rank));
  }
  api.release_shape_info(info);
  failure.check(api.get_data(value, &tensor.data));
  return tensor;
}

inline Tensor read_input(const ort::Api& api, Failure& failure, const ort::KernelContext* context, size_t index,
                         const char* name) {
  const ort::Value* value = nullptr;
  if (!failure.check(api.get_input(context, index, &value))) return {};
  if (!value) {
    failure.set("%s is missing", name);
    return {};
  }
  return read(api, failure, name, value);
}

inline bool has_shape(const Tensor& tensor, size_t rank, int64_t first, int64_t second) {
  return tensor.rank == rank && (rank < 1 || tensor.shape[0] == first) && (rank < 2 || tensor.shape[1] == second);
}

// The number of texts of `offsets`, which must begin at 0, rise, and end at `tokens`.
inline int64_t check_offsets(Failure& failure, const Tensor& offsets, int64_t tokens) {
  if (failure.failed()) return 0;
  const int64_t texts = offsets.shape[0] - 1;
  const auto* at = offsets.as<int64_t>();
  bool right = offsets.rank == 1 && texts >= 0 && at[0] == 0 && at[texts] == tokens;
  for (int64_t text = 0; right && text < texts; ++text) right = at[text] < at[text + 1];
  if (!right) failure.set("offsets must begin at 0, rise, and end at the number of tokens, %lld", (long long)tokens);
  return texts;
}

template <typename T>
T* make_output(const ort::Api& api, Failure& failure, ort::KernelContext* context, int64_t rows, int64_t width) {
  const int64_t shape[2] = {rows, width};
  ort::Value* value = nullptr;
  const void* data = nullptr;
  if (failure.failed() || !failure.check(api.get_output(context, 0, shape, 2, &value)) ||
      !failure.check(api.get_data(value, &data)))
    return nullptr;
  return static_cast<T*>(const_cast<void*>(data));
}

}  // namespace embedge
