// Stands in for ONNX Runtime's header of this name, which no package index here has: what examples/cpp uses of it.
//
// The table of functions only ever grows at its end. Those that are not used are left out by their number.
#pragma once
#include <cstddef>
#include <cstdint>

#define ORT_API_VERSION 18

enum OrtLoggingLevel { ORT_LOGGING_LEVEL_WARNING = 2 };
enum ONNXTensorElementDataType { ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING = 8, ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL = 9 };

struct OrtStatus;
struct OrtEnv;
struct OrtSession;
struct OrtSessionOptions;
struct OrtRunOptions;
struct OrtAllocator;
struct OrtValue;
struct OrtTensorTypeAndShapeInfo;

struct OrtApi {
  void* before_error_message[2];
  const char* (*GetErrorMessage)(const OrtStatus*);
  OrtStatus* (*CreateEnv)(OrtLoggingLevel, const char* name, OrtEnv**);
  void* before_session[3];
  OrtStatus* (*CreateSession)(const OrtEnv*, const char* path, const OrtSessionOptions*, OrtSession**);
  void* before_run[1];
  OrtStatus* (*Run)(OrtSession*, const OrtRunOptions*, const char* const* input_names, const OrtValue* const* inputs,
                    size_t input_count, const char* const* output_names, size_t output_count, OrtValue** outputs);
  OrtStatus* (*CreateSessionOptions)(OrtSessionOptions**);
  void* before_threads[13];
  OrtStatus* (*SetIntraOpNumThreads)(OrtSessionOptions*, int);
  void* before_tensor[23];
  OrtStatus* (*CreateTensorAsOrtValue)(OrtAllocator*, const int64_t* shape, size_t rank, ONNXTensorElementDataType,
                                       OrtValue**);
  void* before_data[2];
  OrtStatus* (*GetTensorMutableData)(OrtValue*, void**);
  OrtStatus* (*FillStringTensor)(OrtValue*, const char* const* texts, size_t count);
  void* before_count[11];
  OrtStatus* (*GetTensorShapeElementCount)(const OrtTensorTypeAndShapeInfo*, size_t*);
  OrtStatus* (*GetTensorTypeAndShape)(const OrtValue*, OrtTensorTypeAndShapeInfo**);
  void* before_allocator[12];
  OrtStatus* (*GetAllocatorWithDefaultOptions)(OrtAllocator**);
};

struct OrtApiBase {
  const OrtApi* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};

extern "C" const OrtApiBase* OrtGetApiBase();
