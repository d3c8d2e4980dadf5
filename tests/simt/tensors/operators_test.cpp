// The way from tensors to kernels: arguments filled from tensors, run by the emulator, against ATen's operators. What a
// GPU adds is the stream and the launch.
#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "attention_kernels.hpp"
#include "launch.hpp"
#include "lisa/gpu/mask_upsample.hpp"
#include "lisa/gpu/relative_attention.hpp"
#include "lisa/image/rle.hpp"
#include "lisa/model/mask_bits.hpp"
#include "mask_kernels.hpp"
#include "memory.hpp"
#include "reference_attention_kernels.hpp"
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
using lisa::gpu::RelativeAttentionKernel;
using simt::dtype_of;
using simt::in_memory;
using simt::unit_roundoff;

struct Grid {
  dim batch, heads, height, width, side;
};

template <class Element, int head_dim>
simt::Report launch_planned(simt::Memory& memory, const gpu::RelativeAttentionPlan<Element>& plan) {
  if constexpr (std::is_same_v<Element, float>)
    return simt::launch(memory, cuda::reference_window_attention_geometry(plan.arguments),
                        simt::reference_window_attention, plan.arguments);
  else if (plan.kernel == RelativeAttentionKernel::global)
    return simt::launch(memory, cuda::global_attention_geometry(plan.arguments.attention),
                        simt::global_attention<Element, head_dim>, plan.arguments.attention);
  else
    return simt::launch(memory, cuda::window_attention_geometry<cuda::sam_window_side>(plan.arguments),
                        simt::window_attention<Element, head_dim, cuda::sam_window_side>, plan.arguments);
}

template <class Element, int head_dim>
void check_attention(const Grid& grid, RelativeAttentionKernel expected_kernel) {
  CAPTURE(grid.height);
  CAPTURE(head_dim);
  const dim hidden = grid.heads * head_dim;
  const at::ScalarType dtype = dtype_of<Element>;
  const at::Tensor projected = random_tensor({grid.batch, grid.height, grid.width, 3 * hidden}, 1, dtype);
  const at::Tensor padding = random_tensor({3 * hidden}, 2, dtype);
  const at::Tensor rel_h = random_tensor({2 * grid.side - 1, head_dim}, 3).mul(0.2).to(dtype);
  const at::Tensor rel_w = random_tensor({2 * grid.side - 1, head_dim}, 4).mul(0.2).to(dtype);
  const auto wide = [](const at::Tensor& t) { return t.to(at::kDouble); };
  const at::Tensor reference =
      windowed_attention(wide(projected), wide(padding), wide(rel_h), wide(rel_w), head_dim, grid.side);

  simt::Memory memory;
  auto plan = gpu::plan_relative_attention<Element>(
      in_memory(memory, projected, "projected"), in_memory(memory, padding, "padding"),
      in_memory(memory, rel_h, "rel_h"), in_memory(memory, rel_w, "rel_w"), head_dim, grid.side);
  REQUIRE(plan.kernel == expected_kernel);
  auto* const out = memory.output<Element>(static_cast<std::size_t>(reference.numel()), "out");
  plan.arguments.attention.out = out;
  const simt::Report report = launch_planned<Element, head_dim>(memory, plan);
  REQUIRE_MESSAGE(report.clean(), report.text());
  CHECK(memory.unwritten_bytes(out) == 0);
  const at::Tensor found = at::from_blob(out, reference.sizes(), at::TensorOptions().dtype(dtype));
  const double largest = std::max(projected.abs().max().item<double>(), padding.abs().max().item<double>());
  const double bound = std::is_same_v<Element, float>
                           ? fp32_attention_bound(projected, padding, rel_h, rel_w, head_dim, grid.side, largest)
                           : attention_bound(unit_roundoff<Element>, largest);
  CHECK(largest_difference(found, reference) <= bound);
}

TEST_CASE("a whole grid's attention is that of ATen") {
  check_attention<Bf16, 80>({2, 2, 5, 5, 5}, RelativeAttentionKernel::global);
  check_attention<Fp16, 64>({1, 3, 9, 9, 9}, RelativeAttentionKernel::global);
}

TEST_CASE("attention in windows that reach over the grid is that of ATen") {
  check_attention<Bf16, 64>({2, 2, 15, 3, 14}, RelativeAttentionKernel::window);
  check_attention<Fp16, 80>({1, 2, 14, 16, 14}, RelativeAttentionKernel::window);
}

TEST_CASE("attention in fp32 is that of ATen, for heads and windows of any width") {
  check_attention<float, 80>({2, 2, 5, 5, 5}, RelativeAttentionKernel::reference);
  check_attention<float, 24>({1, 3, 7, 4, 3}, RelativeAttentionKernel::reference);
}

TEST_CASE("shapes that no kernel takes are left to ATen") {
  const auto kernel = [](dim height, dim width, dim heads, dim head_dim, dim side) {
    const at::Tensor projected = random_tensor({1, height, width, 3 * heads * head_dim}, 1, at::kBFloat16);
    const at::Tensor padding = random_tensor({3 * heads * head_dim}, 2, at::kBFloat16);
    const at::Tensor table = random_tensor({2 * side - 1, head_dim}, 3, at::kBFloat16);
    return gpu::plan_relative_attention<Bf16>(projected, padding, table, table, head_dim, side).kernel;
  };
  CHECK(kernel(5, 5, 1, 64, 5) == RelativeAttentionKernel::global);
  CHECK(kernel(64, 64, 1, 64, 64) == RelativeAttentionKernel::global);
  CHECK(kernel(65, 65, 1, 64, 65) == RelativeAttentionKernel::none);  // larger than a tile
  CHECK(kernel(5, 4, 1, 64, 5) == RelativeAttentionKernel::none);     // one window, not the grid, and not SAM's
  CHECK(kernel(13, 13, 1, 64, 14) == RelativeAttentionKernel::window);
  CHECK(kernel(14, 14, 1, 64, 14) == RelativeAttentionKernel::global);
  CHECK(kernel(5, 5, 2, 32, 5) == RelativeAttentionKernel::none);  // a head of another width
}

template <class Element>
void check_masks(dim count, dim side, const gpu::MaskExtents& extents) {
  CAPTURE(extents.width);
  const at::Tensor low_res = random_tensor({count, side, side}, 5).mul(4).to(dtype_of<Element>);
  simt::Memory memory;
  const dim words_per_row = (extents.width + gpu::mask_word_bits - 1) / gpu::mask_word_bits;
  auto* const bits =
      memory.output<std::uint64_t>(static_cast<std::size_t>(count * extents.height * words_per_row), "row_bits");
  const at::Tensor words =
      at::from_blob(bits, {count, extents.height, words_per_row}, at::TensorOptions().dtype(at::kLong));
  const auto arguments = gpu::mask_upsample_arguments<Element>(in_memory(memory, low_res, "low_res"), words, extents);
  REQUIRE(cuda::mask_upsample_refusal(arguments) == nullptr);
  const simt::Report report = simt::launch(memory, cuda::mask_upsample_geometry(arguments),
                                           simt::mask_upsample<Element, cuda::MaskRounding::composed>, arguments);
  REQUIRE_MESSAGE(report.clean(), report.text());
  const std::vector<BitMask> masks = lisa::detail::masks_of_words(
      words, {.height = static_cast<int>(extents.height), .width = static_cast<int>(extents.width)});
  const at::Tensor logits =
      mask_logits(low_res.unsqueeze(1), extents.image_side, {extents.resized_height, extents.resized_width},
                  {extents.height, extents.width});
  // As for the CPU's kernel: logits of zero to six digits may fall on either side.
  const double bound = 1e-6 * low_res.abs().max().item<double>();
  REQUIRE(static_cast<dim>(masks.size()) == count);
  for (std::size_t n = 0; n < masks.size(); ++n) {
    const at::Tensor mask = logits[static_cast<dim>(n)][0];
    const at::Tensor wrong = mask_tensor(masks[n]).ne(mask.gt(0)).logical_and(mask.abs().gt(bound));
    CHECK(wrong.sum().item<std::int64_t>() == 0);
  }
}

/// An uninitialised output of the emulator's memory, as a tensor.
at::Tensor int_output(simt::Memory& memory, const at::Tensor& like, const char* name) {
  auto* const data = memory.output<std::uint32_t>(static_cast<std::size_t>(like.numel()), name);
  return at::from_blob(data, like.sizes(), like.options());
}

TEST_CASE("run lengths in tensors are those of the masks in tensors") {
  const gpu::MaskExtents extents{
      .image_side = 64, .resized_height = 40, .resized_width = 64, .height = 140, .width = 75};
  constexpr dim capacity = 512;
  const at::Tensor low_res = random_tensor({2, 16, 16}, 6);
  simt::Memory memory;
  const auto made = gpu::MaskRunLengthTensors::make(2, extents.height, extents.width, capacity, {});
  std::vector<std::uint32_t> zeros(static_cast<std::size_t>(made.tickets.numel()));
  CHECK(made.tickets.abs().sum().item<int>() == 0);
  const gpu::MaskRunLengthTensors lengths{
      int_output(memory, made.counts, "counts"),
      int_output(memory, made.runs, "runs"),
      int_output(memory, made.column_bits, "column_bits"),
      at::from_blob(memory.in_out(zeros, "tickets"), made.tickets.sizes(), made.tickets.options()),
      int_output(memory, made.strip_changes, "strip_changes"),
      int_output(memory, made.positions, "positions")};
  auto* const bits = memory.output<std::uint64_t>(2 * 140 * 2, "row_bits");
  const at::Tensor words = at::from_blob(bits, {2, 140, 2}, at::TensorOptions().dtype(at::kLong));
  auto arguments = gpu::mask_upsample_arguments<float>(in_memory(memory, low_res, "low_res"), words, extents);
  lengths.fill(arguments);
  REQUIRE(cuda::mask_upsample_refusal(arguments) == nullptr);
  const simt::Report report = simt::launch(memory, cuda::mask_upsample_geometry(arguments),
                                           simt::mask_upsample<float, cuda::MaskRounding::composed>, arguments);
  REQUIRE_MESSAGE(report.clean(), report.text());
  const std::vector<BitMask> masks = lisa::detail::masks_of_words(words, {.height = 140, .width = 75});
  for (dim n = 0; n < 2; ++n) {
    const std::vector<std::uint32_t> expected = encode_rle(masks[static_cast<std::size_t>(n)]).counts;
    REQUIRE(static_cast<dim>(expected.size()) <= capacity);
    CHECK(lengths.runs[n].item<int>() == static_cast<int>(expected.size()));
    const auto* const counts = gpu::elements_of<std::uint32_t>(lengths.counts[n]);
    CHECK(std::vector<std::uint32_t>(counts, counts + expected.size()) == expected);
  }
}

TEST_CASE("a mask's bits are those of ATen's interpolations, and arrive as BitMask has them") {
  check_masks<float>(2, 16, {64, 40, 64, 75, 130});
  check_masks<Bf16>(1, 16, {64, 64, 43, 33, 21});
  check_masks<Fp16>(3, 8, {32, 32, 32, 5, 64});
}

}  // namespace
