// The gradient of training's causal attention as autograd asks for it, by the kernels, against ATen's own.
#include <ATen/ops/zeros.h>

#include <cstddef>
#include <vector>

#include "causal_attention_gradient_kernels.hpp"
#include "causal_attention_kernels.hpp"
#include "launch.hpp"
#include "lisa/gpu/causal_attention_gradient.hpp"
#include "lisa/llm/branched_rows.hpp"
#include "lisa/train/causal_row_attention.hpp"
#include "tensor_memory.hpp"
#include "tests/support/causal_row_case.hpp"
// last: torch's logging macros of the same names must not win
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using lisa::cuda::Bf16;
using lisa::cuda::Fp16;
using simt::dtype_of;

gpu::CausalRows in_memory(simt::Memory& memory, const gpu::CausalRows& rows) {
  return {.query = simt::in_memory(memory, rows.query, "query"),
          .key = simt::in_memory(memory, rows.key, "key"),
          .value = simt::in_memory(memory, rows.value, "value"),
          .sequences = simt::in_memory(memory, rows.sequences, "sequences"),
          .most_rows = rows.most_rows};
}

/// What `gpu::CausalRowKernels` launches on a GPU, in the emulator.
template <class Element, int head_dim>
struct EmulatedKernels {
  template <class Arguments, class Kernel>
  static void run(simt::Memory& memory, const cuda::LaunchGeometry& geometry, Kernel kernel,
                  const Arguments& arguments) {
    const simt::Report report = simt::launch(memory, geometry, kernel, arguments);
    REQUIRE_MESSAGE(report.clean(), report.text());
  }

  static at::Tensor zeros_like(simt::Memory& memory, const at::Tensor& like, const char* name) {
    return simt::in_writable_memory<Element>(memory, at::zeros(like.sizes(), like.options()), name);
  }

  static gpu::AttendedRows attend(const gpu::CausalRows& rows) {
    simt::Memory memory;
    const gpu::AttendedRows attended{
        zeros_like(memory, rows.query, "out"),
        simt::in_writable_memory<float>(memory, at::zeros({rows.query.size(1), rows.query.size(0)}), "log_sum")};
    const auto arguments = gpu::causal_row_arguments<Element>(in_memory(memory, rows), attended);
    REQUIRE(cuda::causal_attention_refusal(arguments) == nullptr);
    run(memory, cuda::causal_attention_geometry(arguments), simt::causal_attention<Element, head_dim>, arguments);
    return {attended.out.clone(), attended.log_sum.clone()};
  }

  static gpu::CausalRowGradients gradients(const gpu::CausalRows& rows, const gpu::AttendedRows& attended,
                                           const at::Tensor& out_gradient) {
    simt::Memory memory;
    const gpu::AttendedRows kept{simt::in_memory(memory, attended.out, "out"),
                                 simt::in_memory(memory, attended.log_sum, "log_sum")};
    const gpu::CausalRowGradients gradients{zeros_like(memory, rows.query, "query's gradient"),
                                            zeros_like(memory, rows.key, "key's gradient"),
                                            zeros_like(memory, rows.value, "value's gradient")};
    auto arguments = gpu::causal_row_gradient_arguments<Element>(
        in_memory(memory, rows), kept, simt::in_memory(memory, out_gradient, "out's gradient"), gradients);
    arguments.terms =
        memory.output<cuda::QueryTerms>(static_cast<std::size_t>(cuda::query_terms_size(arguments)), "terms");
    REQUIRE(cuda::causal_attention_gradient_refusal(arguments) == nullptr);
    run(memory, cuda::query_terms_geometry(arguments), simt::query_terms<Element, head_dim>, arguments);
    run(memory, cuda::query_gradient_geometry(arguments), simt::query_gradient<Element, head_dim>, arguments);
    run(memory, cuda::key_gradient_geometry(arguments), simt::key_gradient<Element, head_dim>, arguments);
    return {gradients.query.clone(), gradients.key.clone(), gradients.value.clone()};
  }
};

template <class Element, int head_dim>
void check(const std::vector<BranchedItem>& items, dim heads, dim kv_heads) {
  const auto rows = test::CausalRowCase::make(items, heads, kv_heads, head_dim, dtype_of<Element>);
  CAPTURE(rows.query.size(0));
  const RowAttention attend = lisa::detail::causal_row_attention_by<EmulatedKernels<Element, head_dim>>(rows.rows);
  CHECK(rows.largest_error(attend) < test::causal_row_bound(simt::unit_roundoff<Element>));
  CHECK(rows.largest_in_padding(attend) == 0);
}

TEST_CASE("training's attention over plain sequences and its gradients are those of ATen") {
  check<Bf16, 64>({{.trunk = 20, .branches = {}}}, 2, 2);
  check<Fp16, 64>({{.trunk = 40, .branches = {30}}, {.trunk = 5, .branches = {}}, {.trunk = 64, .branches = {}}}, 4, 2);
  check<Fp16, 128>({{.trunk = 9, .branches = {}}, {.trunk = 17, .branches = {1}}}, 2, 1);
}

TEST_CASE("kernels take training's attention where dtype, widths and rows allow it") {
  const gpu::KernelEnvironment with{.linked = true, .enabled = true};
  const auto on_gpu = [](at::ScalarType dtype) {
    return at::TensorOptions().dtype(dtype).device(c10::Device(c10::DeviceType::CUDA, 0));
  };
  CHECK(gpu::causal_row_kernels_apply(32, 8, 128, on_gpu(at::kBFloat16), with));
  CHECK(gpu::causal_row_kernels_apply(4, 4, 64, on_gpu(at::kHalf), with));
  CHECK_FALSE(gpu::causal_row_kernels_apply(4, 4, 64, on_gpu(at::kFloat), with));
  CHECK_FALSE(gpu::causal_row_kernels_apply(4, 4, 80, on_gpu(at::kHalf), with));
  CHECK_FALSE(gpu::causal_row_kernels_apply(4, 3, 64, on_gpu(at::kHalf), with));
  CHECK_FALSE(gpu::causal_row_kernels_apply(4, 4, 64, on_gpu(at::kHalf), {.linked = false, .enabled = true}));
  CHECK_FALSE(gpu::causal_row_kernels_apply(4, 4, 64, on_gpu(at::kHalf), {.linked = true, .enabled = false}));
  CHECK_FALSE(gpu::causal_row_kernels_apply(4, 4, 64, at::TensorOptions().dtype(at::kHalf), with));
  const BranchedRows rows = branched_rows({{.trunk = 3, .branches = {}}}, at::kHalf);
  CHECK_FALSE(causal_row_attention(rows, {.hidden = 256, .heads = 4, .kv_heads = 4}, with));  // on a CPU
}

TEST_CASE("rows of sequences lie as the kernels read them") {
  const at::Tensor sequences = gpu::causal_row_sequences({3, 7}, 9);
  const auto* const rows = reinterpret_cast<const cuda::SequenceRows*>(sequences.const_data_ptr());
  CHECK(rows[0].first_query == 0);
  CHECK(rows[0].queries == 3);
  CHECK(rows[0].keys == 3);
  CHECK(rows[1].first_query == 9);
  CHECK(rows[1].first_key == 9);
  CHECK(rows[1].queries == 7);
  CHECK(rows[1].keys == 7);
}

}  // namespace
