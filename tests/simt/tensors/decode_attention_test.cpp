// One step of decoding from tensors: what the kernels append and attend to, against LLaMA's own attention.
#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "decode_attention_kernels.hpp"
#include "launch.hpp"
#include "lisa/aten/operators.hpp"
#include "lisa/gpu/decode_attention.hpp"
#include "lisa/llm/llama.hpp"
#include "memory.hpp"
#include "tensor_memory.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"
#include "tests/support/windowed_attention.hpp"
// last: torch's logging macros of the same names must not win
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using namespace lisa::test;
using lisa::cuda::Bf16;
using lisa::cuda::Fp16;

constexpr LlamaConfig grouped{.hidden = 256, .layers = 1, .heads = 4, .kv_heads = 2, .context = 200};
constexpr LlamaConfig ungrouped{.hidden = 256, .layers = 1, .heads = 2, .kv_heads = 2, .context = 100};

/// What one step gives by the kernels.
struct Stepped {
  at::Tensor out;           // [heads, head_dim]
  at::Tensor keys, values;  // [kv_heads, capacity, head_dim], the cache afterwards
};

template <class Element, int head_dim>
Stepped run_in_emulator(const gpu::DecodeOperands& operands, int splits) {
  simt::Memory memory;
  const auto copied = [&](const at::Tensor& tensor, const char* name) { return simt::in_memory(memory, tensor, name); };
  const gpu::DecodeOperands in_memory{.q = copied(operands.q, "q"),
                                      .k = copied(operands.k, "k"),
                                      .v = copied(operands.v, "v"),
                                      .cosine = copied(operands.cosine, "cosine"),
                                      .sine = copied(operands.sine, "sine"),
                                      .keys = simt::in_writable_memory<Element>(memory, operands.keys, "keys"),
                                      .values = simt::in_writable_memory<Element>(memory, operands.values, "values"),
                                      .sequence = simt::in_memory(memory, operands.sequence, "sequence")};
  auto arguments = gpu::decode_attention_arguments<Element>(in_memory, splits);
  REQUIRE(cuda::decode_attention_refusal(arguments) == nullptr);
  arguments.out = memory.output<Element>(static_cast<std::size_t>(operands.q.numel()), "out");
  arguments.workspace =
      memory.output<float>(static_cast<std::size_t>(cuda::decode_workspace_size(arguments)), "workspace");
  const simt::Report first = simt::launch(memory, cuda::decode_attention_geometry(arguments),
                                          simt::decode_attention<Element, head_dim>, arguments);
  REQUIRE_MESSAGE(first.clean(), first.text());
  const simt::Report second = simt::launch(memory, cuda::combine_splits_geometry(arguments),
                                           simt::combine_splits<Element, head_dim>, arguments);
  REQUIRE_MESSAGE(second.clean(), second.text());
  CHECK(memory.unwritten_bytes(arguments.out) == 0);
  return {at::from_blob(arguments.out, operands.q.sizes(), operands.q.options()).clone(), in_memory.keys.clone(),
          in_memory.values.clone()};
}

/// Runs `held` positions by LLaMA's attention, and one more by it and by the kernels.
template <class Element, LlamaConfig C>
void check_step(dim held, int splits) {
  CAPTURE(held);
  const c10::InferenceMode inference;
  constexpr int width = static_cast<int>(head_dim(C));
  constexpr at::ScalarType dtype = simt::dtype_of<Element>;
  LlamaAttention<C, no_lora> attention;
  std::uint64_t seed = 1;
  attention.for_each_projection("", [&](const std::string&, auto& projection) {
    auto& weight = projection.base.weight;
    weight = random_tensor({projection.base.out_features, C.hidden}, seed++).div(std::sqrt(1.0 * C.hidden)).to(dtype);
  });
  const auto rotary = RotaryEmbedding<width>::make(C.context, C.rope_theta, at::TensorOptions().dtype(dtype));
  KvCache cache(C.layers, C.context);
  const at::Tensor x = random_tensor({held + 1, C.hidden}, 9, dtype), newest = x.narrow(0, held, 1);
  const Segment before{held, &cache}, step{1, &cache};
  static_cast<void>(attention.forward(x.narrow(0, 0, held), {&before, 1}, 0, rotary));
  cache.advance(held);
  cache.reserve_limit();

  DecodePosition position(at::kCPU);
  position.set(held);
  const auto heads = [&](const auto& projection) { return projection.forward(newest).view({-1, width}); };
  const gpu::DecodeOperands operands{.q = heads(attention.q_proj),
                                     .k = heads(attention.k_proj),
                                     .v = heads(attention.v_proj),
                                     .cosine = rotary.cosine,
                                     .sine = rotary.sine,
                                     .keys = cache.storage(0).keys,
                                     .values = cache.storage(0).values,
                                     .sequence = position.sequence()};
  const Stepped found = run_in_emulator<Element, width>(operands, splits);
  const at::Tensor expected = attention.forward(newest, {&step, 1}, 0, rotary);  // appends to the cache
  cache.advance(1);

  // Rotation rounds as the library's does, so the appended rows are the same; nothing else of the cache changes.
  CHECK(found.keys.equal(cache.storage(0).keys));
  CHECK(found.values.equal(cache.storage(0).values));
  const auto seen = [&](const at::Tensor& stored) { return stored.narrow(1, 0, held + 1).to(at::kDouble); };
  const at::Tensor exact = causal_attention(rotary.rotate(operands.q.unsqueeze(1), held).to(at::kDouble),
                                            seen(found.keys), seen(found.values));
  const double largest = seen(found.values).abs().max().template item<double>();
  CHECK(largest_difference(found.out, exact.squeeze(1)) <= attention_bound(simt::unit_roundoff<Element>, largest));
  // LLaMA's own operators round scores as well.
  const at::Tensor projected = attention.o_proj.forward(found.out.view({1, C.hidden}));
  CHECK(relative_l2(projected, expected) < 8 * simt::unit_roundoff<Element>);
}

TEST_CASE("a step of decoding from tensors is LLaMA's attention, and its row is the cache's next") {
  check_step<Bf16, grouped>(1, 1);
  check_step<Bf16, grouped>(150, 3);
  check_step<Fp16, grouped>(64, 2);
  check_step<Fp16, ungrouped>(99, 4);  // the last row of the cache, and more splits than tiles of keys
  check_step<Bf16, ungrouped>(17, 1);
}

TEST_CASE("the position is in the words that kernels read") {
  DecodePosition position(at::kCPU);
  const auto rows = [&] {
    return *reinterpret_cast<const cuda::SequenceRows*>(position.sequence().const_data_ptr<std::int32_t>());
  };
  CHECK(rows().queries == 1);
  CHECK(rows().keys == 1);
  position.set(41);
  position.advance(aten::ones({1}, at::kLong));
  position.advance(aten::zeros({1}, at::kLong));
  CHECK(rows().keys == 43);
  CHECK(rows().queries == 1);
  CHECK(rows().first_query == 0);
  CHECK(rows().first_key == 0);
  CHECK(position.index().item<std::int64_t>() == 42);
}

}  // namespace
