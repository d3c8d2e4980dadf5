// Causal attention's way from tensors to its kernel, against ATen's operators.
#include "lisa/nn/causal_attention.hpp"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>

#include <cmath>
#include <cstring>
#include <type_traits>

#include "causal_attention_kernels.hpp"
#include "launch.hpp"
#include "lisa/gpu/causal_attention.hpp"
#include "reference_attention_kernels.hpp"
#include "tensor_memory.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/rounding_bounds.hpp"
#include "tests/support/tensor_compare.hpp"
// last: torch's logging macros of the same names must not win
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using lisa::cuda::Bf16;
using lisa::cuda::Fp16;
using simt::dtype_of;

/// Where the rows of a head lie: beside those of the others, as projections have them, or in a cache.
enum class Layout { projection, cache };

/// [heads, rows, head_dim]
at::Tensor laid_out(const at::Tensor& tensor, Layout layout) {
  if (layout == Layout::projection) return tensor.transpose(0, 1).contiguous().transpose(0, 1);
  // What lies behind the rows of a cache is whatever an allocator left there.
  const at::Tensor cache = at::full({tensor.size(0), tensor.size(1) + 5, tensor.size(2)}, NAN, tensor.options());
  cache.narrow(1, 0, tensor.size(1)).copy_(tensor);
  return cache.narrow(1, 0, tensor.size(1));
}

struct Case {
  dim heads, kv_heads, queries, keys;
  Layout layout;
};

template <class Element, int head_dim>
simt::Report launch(simt::Memory& memory, const cuda::CausalAttentionArguments<Element>& arguments) {
  if constexpr (std::is_same_v<Element, float>)
    return simt::launch(memory, cuda::reference_causal_attention_geometry(arguments), simt::reference_causal_attention,
                        arguments);
  else
    return simt::launch(memory, cuda::causal_attention_geometry(arguments), simt::causal_attention<Element, head_dim>,
                        arguments);
}

template <class Element, int head_dim>
void check(const Case& c) {
  CAPTURE(c.queries);
  CAPTURE(c.keys);
  const auto random = [](dim heads, dim rows, std::uint64_t seed, Layout layout) {
    return laid_out(test::random_tensor({heads, rows, head_dim}, seed, dtype_of<Element>), layout);
  };
  const at::Tensor query = random(c.heads, c.queries, 1, Layout::projection);
  const at::Tensor key = random(c.kv_heads, c.keys, 2, c.layout), value = random(c.kv_heads, c.keys, 3, c.layout);

  simt::Memory memory;
  const gpu::CausalAttentionTensors tensors{
      .query = simt::in_memory(memory, query, "query"),
      .key = simt::in_memory(memory, key, "key"),
      .value = simt::in_memory(memory, value, "value"),
      .sequence = simt::in_memory(memory, gpu::causal_sequence(c.queries, c.keys, key.options()), "sequence"),
      .out = simt::output_tensor<Element>(memory, {c.queries, c.heads, head_dim}, "out").transpose(0, 1)};
  const auto arguments = gpu::causal_attention_arguments<Element>(tensors);
  REQUIRE(gpu::detail::sequence_attention_refusal(arguments) == nullptr);
  const simt::Report report = launch<Element, head_dim>(memory, arguments);
  REQUIRE_MESSAGE(report.clean(), report.text());
  CHECK(memory.unwritten_bytes(arguments.out) == 0);
  const auto wide = [](const at::Tensor& t) { return t.to(at::kDouble); };
  const at::Tensor exact = causal_attention(wide(query), wide(key), wide(value));
  CHECK(test::largest_difference(tensors.out, exact) <=
        test::causal_attention_bound(query, key, value, simt::unit_roundoff<Element>));
}

TEST_CASE("a prompt's attention is that of ATen, over a projection's rows and over a cache's") {
  check<Bf16, 64>({2, 2, 65, 65, Layout::projection});
  check<Fp16, 128>({2, 1, 17, 17, Layout::projection});
  check<Bf16, 128>({4, 2, 5, 70, Layout::cache});
  check<Fp16, 64>({3, 3, 66, 131, Layout::cache});
  check<Bf16, 64>({4, 2, 1, 64, Layout::cache});
  check<Fp16, 64>({1, 1, 1, 1, Layout::projection});
}

TEST_CASE("in fp32 it is that of the reference kernel, for heads of any width up to 128") {
  check<float, 64>({2, 2, 33, 33, Layout::projection});
  check<float, 128>({4, 2, 5, 70, Layout::cache});
  check<float, 48>({3, 1, 1, 9, Layout::cache});
}

TEST_CASE("a sequence's rows lie as the kernel reads them") {
  const at::Tensor filled = gpu::causal_sequence(7, 300, at::TensorOptions().dtype(at::kBFloat16));
  cuda::SequenceRows rows{};
  REQUIRE(filled.nbytes() == sizeof rows);
  std::memcpy(&rows, filled.const_data_ptr(), sizeof rows);
  CHECK(rows.first_query == 0);
  CHECK(rows.first_key == 0);
  CHECK(rows.queries == 7);
  CHECK(rows.keys == 300);
}

TEST_CASE("strides of extents of one are those of a tensor in one piece") {
  const at::Tensor one = test::random_tensor({3, 5, 64}, 1).narrow(1, 2, 1);
  CHECK(gpu::HeadStrides(one).head == 5 * 64);
  CHECK(gpu::HeadStrides(one).row == 64);
  CHECK(gpu::HeadStrides(one.narrow(0, 0, 1)).head == 64);
  CHECK(gpu::HeadStrides(one.expand({3, 4, 64})).row == 0);
}

TEST_CASE("heads that the kernel does not take are left to ATen") {
  const auto refused = [](dim heads, dim kv_heads, dim head_dim) {
    const at::Tensor query = test::random_tensor({heads, 4, head_dim}, 1, at::kBFloat16);
    const at::Tensor key = test::random_tensor({kv_heads, 6, head_dim}, 2, at::kBFloat16);
    const auto arguments = gpu::causal_attention_arguments<Bf16>({.query = query,
                                                                  .key = key,
                                                                  .value = key,
                                                                  .sequence = gpu::causal_sequence(4, 6, key.options()),
                                                                  .out = at::empty_like(query)});
    return cuda::causal_attention_refusal(arguments) != nullptr;
  };
  CHECK_FALSE(refused(4, 2, 64));
  CHECK(refused(4, 2, 80));
  CHECK(refused(4, 3, 64));
}

}  // namespace
