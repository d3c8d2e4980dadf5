// torch-free
// What the attention kernels are compiled with: a change of a choice is a change of this list, of budget.json, and of
// what a GPU measured.
#include "lisa/cuda/attention_choices.hpp"

#include "lisa/cuda/element.hpp"

//
#include <doctest/doctest.h>

using namespace lisa::cuda;

namespace {

constexpr Architecture generic = Architecture::sm80;

template <class Element>
constexpr bool global_is(int head_dim, AttentionTile expected) {
  const AttentionTile tile = global_attention_tile<Element>(generic, head_dim);
  return tile.queries == expected.queries && tile.keys == expected.keys && tile.threads() == 128;
}
static_assert(global_is<Bf16>(64, {64, 64}) && global_is<Bf16>(80, {64, 64}));
static_assert(global_is<Fp16>(64, {64, 64}) && global_is<Fp16>(80, {64, 64}));

constexpr bool hopper_is(int head_dim, HopperAttentionTile expected) {
  const HopperAttentionTile tile = hopper_attention_tile(head_dim);
  return tile.query_rows == expected.query_rows && tile.stages == expected.stages &&
         tile.panel_columns == expected.panel_columns && tile.threads() == 288;
}
static_assert(hopper_is(64, {2, 4, 64}) && hopper_is(80, {2, 4, 16}));

template <class Element>
constexpr bool window_is(int head_dim, int side, WindowTile expected) {
  const WindowTile tile = window_attention_tile<Element>(generic, head_dim, side);
  return tile.warps == expected.warps && tile.threads() == 32 * expected.warps;
}
static_assert(window_is<Bf16>(64, 14, {7}) && window_is<Bf16>(80, 14, {7}));
static_assert(window_is<Fp16>(64, 14, {7}) && window_is<Fp16>(80, 14, {7}));
static_assert(window_is<Bf16>(80, 5, {3}));

template <class Element>
constexpr bool causal_is(int head_dim, AttentionTile expected) {
  const AttentionTile tile = causal_attention_tile<Element>(generic, head_dim);
  return tile.queries == expected.queries && tile.keys == expected.keys && tile.threads() == 128;
}
static_assert(causal_is<Bf16>(64, {64, 64}) && causal_is<Bf16>(128, {64, 64}));
static_assert(causal_is<Fp16>(64, {64, 64}) && causal_is<Fp16>(128, {64, 64}));

template <class Element>
constexpr bool gradient_is(int head_dim, GradientTile expected) {
  const GradientTile tile = causal_gradient_tile<Element>(generic, head_dim);
  return tile.rows == expected.rows && tile.stage_rows == expected.stage_rows && tile.threads() == 128;
}
static_assert(gradient_is<Bf16>(64, {64, 32}) && gradient_is<Bf16>(128, {64, 32}));
static_assert(gradient_is<Fp16>(64, {64, 32}) && gradient_is<Fp16>(128, {64, 32}));

template <class Element>
constexpr bool decode_is(int head_dim, DecodeTile expected) {
  const DecodeTile tile = decode_attention_tile<Element>(generic, head_dim);
  return tile.warps == expected.warps && tile.warp_keys == expected.warp_keys && tile.keys() == 64 &&
         tile.threads() == 128;
}
static_assert(decode_is<Bf16>(64, {4, 16}) && decode_is<Bf16>(128, {4, 16}));
static_assert(decode_is<Fp16>(64, {4, 16}) && decode_is<Fp16>(128, {4, 16}));

}  // namespace

TEST_CASE("attention_choices: a block's shared memory on the smallest machine that runs a kernel") {
  CHECK(most_shared_bytes(Architecture::sm80) == 99 * 1024);
  CHECK(most_shared_bytes(Architecture::sm90a) == 227 * 1024);
}
