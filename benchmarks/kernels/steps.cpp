// Times the steps of a layer of bge-small's size on one thread, and the peak: a loop of the products' instructions on
// registers alone. Prints lines of JSON: the peak, where the instruction set has one here, then one for each length.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <initializer_list>

#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

using namespace embedge;

constexpr int kHidden = 384, kInner = 1536, kHeads = 12, kTexts = 1, kRounds = 40;

double now() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) * 1e-6;
}

float* floats(size_t count, float scale) {
  auto* made = static_cast<float*>(aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64));
  for (size_t i = 0; i < count; ++i) made[i] = scale * (static_cast<float>(rand()) / static_cast<float>(RAND_MAX) - 0.5F);
  return made;
}

Matrix matrix(const Kernels& kernels, int inputs, int outputs, int zero_point) {
  const size_t count = static_cast<size_t>(inputs) * outputs;
  auto* codes = static_cast<int8_t*>(malloc(count));
  for (size_t i = 0; i < count; ++i) codes[i] = static_cast<int8_t>(rand() % 255 - 127);
  Matrix made{inputs, outputs, {zero_point, 1e-3F}, floats(outputs, 2e-3F), nullptr};
  made.packed = aligned_alloc(64, (kernels.packed_bytes(inputs, outputs) + 63) / 64 * 64);
  kernels.pack(codes, made);
  free(codes);
  return made;
}

// The fastest of some runs, in milliseconds of the thread's time: others use the machine too.
template <typename Work>
double fastest(Work work) {
  double least = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    const double start = now();
    work();
    const double took = now() - start;
    if (took < least) least = took;
  }
  return least;
}

void measure(const Kernels& kernels, int tokens) {
  Layer layer{};
  layer.hidden = kHidden;
  layer.inner = kInner;
  layer.heads = kHeads;
  layer.epsilon = 1e-12F;
  const auto affine = [] { return Affine{floats(kHidden, 1.0F), floats(kHidden, 1.0F)}; };
  layer.input = affine();
  layer.query = matrix(kernels, kHidden, 3 * kHidden, 128);
  layer.query_bias = floats(3 * kHidden, 1.0F);
  layer.attention = matrix(kernels, kHidden, kHidden, 128);
  layer.residual = affine();
  layer.intermediate_input = affine();
  layer.intermediate = matrix(kernels, kHidden, kInner, 128);
  layer.intermediate_bias = floats(kInner, 1.0F);
  layer.output_factors = floats(kInner, 1.0F);
  layer.output = matrix(kernels, kInner, kHidden, 32);
  layer.output_residual = affine();
  const int64_t offsets[] = {0, tokens};
  LayerCall call{};
  call.layer = &layer;
  call.x = floats(static_cast<size_t>(tokens) * kHidden, 2.0F);
  call.offsets = offsets;
  call.texts = kTexts;
  call.tokens = call.rows = tokens;
  call.queries = floats(static_cast<size_t>(tokens) * 3 * kHidden, 2.0F);
  call.key_values = call.queries + kHidden;
  call.query_stride = call.key_value_stride = 3 * kHidden;
  call.context = floats(static_cast<size_t>(tokens) * kHidden, 2.0F);
  call.out = floats(static_cast<size_t>(tokens) * kHidden, 2.0F);
  size_t bytes = kernels.project_scratch(layer);
  if (kernels.feed_scratch(layer) > bytes) bytes = kernels.feed_scratch(layer);
  if (kernels.attend_scratch(layer, tokens) > bytes) bytes = kernels.attend_scratch(layer, tokens);
  auto* scratch = static_cast<Scratch>(aligned_alloc(64, (bytes + 63) / 64 * 64));
  const double project = fastest([&] { kernels.project(call, 0, tokens, scratch); });
  const double attend = fastest([&] {
    for (int head = 0; head < kHeads; ++head) kernels.attend(call, 0, head, scratch);
  });
  const double feed = fastest([&] { kernels.feed(call, 0, tokens, scratch); });
  const double project_mop = 2e-6 * tokens * kHidden * 3 * kHidden;
  const double feed_mop = 2e-6 * tokens * kHidden * (kHidden + 2 * kInner);
  const double attend_mop = 4e-6 * tokens * tokens * kHidden;
  printf("{\"tokens\": %d, \"project_ms\": %.4f, \"attend_ms\": %.4f, \"feed_ms\": %.4f, "
         "\"project_gops\": %.0f, \"attend_gops\": %.0f, \"feed_gops\": %.0f}\n",
         tokens, project, attend, feed, project_mop / project, attend_mop / attend, feed_mop / feed);
}

#if defined(__x86_64__)
constexpr int kPeakRounds = 100000;

// 24 sums of 16 numbers, each product of which counts as two operations.
__attribute__((target("avx512f,avx512vnni"))) double peak_avx512_vnni() {
  __m512i sums[24] = {};
  const __m512i a = _mm512_set1_epi32(1), b = _mm512_set1_epi32(2);
  const double ms = fastest([&]() __attribute__((target("avx512f,avx512vnni"))) {
    for (int i = 0; i < kPeakRounds; ++i)
#pragma GCC unroll 24
      for (auto& sum : sums) {
        sum = _mm512_dpbusd_epi32(sum, a, b);
        __asm__ volatile("" : "+v"(sum));
      }
  });
  return 24.0 * kPeakRounds * 128 * 1e-6 / ms;
}

__attribute__((target("avx2"))) double peak_avx2() {
  __m256i sums[12] = {};
  const __m256i a = _mm256_set1_epi32(1), b = _mm256_set1_epi32(2);
  const double ms = fastest([&]() __attribute__((target("avx2"))) {
    for (int i = 0; i < kPeakRounds; ++i)
#pragma GCC unroll 12
      for (auto& sum : sums) {
        __m256i product = _mm256_madd_epi16(a, b);
        __asm__ volatile("" : "+x"(product));
        sum = _mm256_add_epi32(sum, product);
        __asm__ volatile("" : "+x"(sum));
      }
  });
  return 12.0 * kPeakRounds * 32 * 1e-6 / ms;
}
#endif

}  // namespace

int main() {
  const Kernels* kernels = find_kernels();
  if (!kernels) return 1;
#if defined(__x86_64__)
  if (!strcmp(kernels->name, "avx512_vnni")) printf("{\"peak_gops\": %.0f}\n", peak_avx512_vnni());
  if (!strcmp(kernels->name, "avx2")) printf("{\"peak_gops\": %.0f}\n", peak_avx2());
#endif
  for (int tokens : {8, 16, 32, 64, 128, 512}) measure(*kernels, tokens);
}
