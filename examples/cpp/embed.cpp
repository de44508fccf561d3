// One file in C++, made by `embedge convert BUNDLE model.onnx`: texts go in, vectors come out.
//
//   g++ -std=c++17 -I onnxruntime/include embed.cpp -o embed -L onnxruntime/lib -lonnxruntime
//   ./embed model.onnx "a text" "another text"
#include <onnxruntime_c_api.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

static const OrtApi* ort = OrtGetApiBase()->GetApi(ORT_API_VERSION);

static void check(OrtStatus* status) {
  if (status == nullptr) return;
  std::fprintf(stderr, "%s\n", ort->GetErrorMessage(status));
  std::exit(1);
}

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "usage: embed model.onnx TEXT...\n"), 2;
  OrtEnv* env;
  OrtSessionOptions* options;
  OrtSession* session;
  OrtAllocator* allocator;
  check(ort->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "embed", &env));
  check(ort->CreateSessionOptions(&options));
  check(ort->SetIntraOpNumThreads(options, 1));
  check(ort->CreateSession(env, argv[1], options, &session));
  check(ort->GetAllocatorWithDefaultOptions(&allocator));

  const std::vector<const char*> texts(argv + 2, argv + argc);  // in UTF-8
  const int64_t count = static_cast<int64_t>(texts.size()), one = 1;
  OrtValue *inputs[2], *vectors = nullptr;
  check(ort->CreateTensorAsOrtValue(allocator, &count, 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING, &inputs[0]));
  check(ort->FillStringTensor(inputs[0], texts.data(), texts.size()));
  check(ort->CreateTensorAsOrtValue(allocator, &one, 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL, &inputs[1]));
  bool* is_query;
  check(ort->GetTensorMutableData(inputs[1], reinterpret_cast<void**>(&is_query)));
  *is_query = false;  // true puts the model's query prompt in front of each

  const char *names[] = {"texts", "is_query"}, *outputs[] = {"vectors"};
  check(ort->Run(session, nullptr, names, inputs, 2, outputs, 1, &vectors));

  OrtTensorTypeAndShapeInfo* info;
  size_t numbers;
  float* data;
  check(ort->GetTensorTypeAndShape(vectors, &info));
  check(ort->GetTensorShapeElementCount(info, &numbers));
  check(ort->GetTensorMutableData(vectors, reinterpret_cast<void**>(&data)));
  const size_t width = numbers / texts.size();
  for (size_t i = 0; i < numbers; i++) std::printf("%.9g%c", data[i], (i + 1) % width ? ' ' : '\n');
}
