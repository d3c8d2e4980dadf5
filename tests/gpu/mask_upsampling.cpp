#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "lisa/gpu/kernels.hpp"
#include "lisa/gpu/mask_upsample.hpp"
#include "lisa/sam/upsample.hpp"
#include "tests/gpu/checks.hpp"
#include "tests/support/mask_logit_bound.hpp"
#include "tests/support/tensor_compare.hpp"

namespace lisa::gpu_test {
namespace {

struct Case {
  const char* name;
  dim masks, side;
  gpu::MaskExtents extents;
};

constexpr Case cases[] = {
    {"one logit, one pixel", 1, 1, {1, 1, 1, 1, 1}},
    {"a pixel more than a word", 2, 16, {64, 40, 64, 33, 65}},
    {"a row more than a block", 1, 16, {64, 64, 43, 129, 63}},
    {"made smaller", 1, 256, {1024, 1024, 683, 30, 20}},
    {"4K", 3, 256, {1024, 576, 1024, 2160, 3840}},
};

constexpr dim capacity = 4096;

/// What a launch writes: logits [N, h, w], words by rows, and by columns with their run lengths.
struct Results {
  at::Tensor logits, rows;
  gpu::MaskRunLengthTensors run_lengths;
};

template <class Element>
Results launch(const at::Tensor& low_res, const gpu::MaskExtents& e, cuda::MaskRounding rounding) {
  const dim n = low_res.size(0);
  const auto options = low_res.options();
  Results out{at::empty({n, e.height, e.width}, options.dtype(at::kFloat)),
              at::empty({n, e.height, (e.width + 63) / 64}, options.dtype(at::kLong)),
              gpu::MaskRunLengthTensors::make(n, e.height, e.width, capacity, options)};
  auto arguments = gpu::mask_upsample_arguments<Element>(low_res, out.rows, e);
  arguments.logits = out.logits.mutable_data_ptr<float>();
  out.run_lengths.fill(arguments);
  // Twice: the first launch must leave the tickets as it found them.
  for (int times = 0; times < 2; ++times)
    gpu::launch_on_current_stream(low_res.device(), "mask_upsample",
                                  [&](auto stream) { return launch_mask_upsample(arguments, rounding, stream); });
  return out;
}

/// Whether bit `step` of word i / bits along the last axis of `words` is `mask` [n, outer, extent].
bool bits_are(const at::Tensor& words, const at::Tensor& mask, dim bits) {
  const at::Tensor index = at::arange(mask.size(2), words.options().dtype(at::kLong));
  const at::Tensor word = words.to(at::kLong).index_select(2, index.div(bits, "floor"));
  return word.bitwise_right_shift(index.remainder(bits)).bitwise_and(1).to(at::kBool).equal(mask);
}

/// COCO's run lengths of a mask [h, w], counted one pixel after the other.
std::vector<std::uint32_t> run_lengths(const at::Tensor& mask) {
  const at::Tensor pixels = mask.t().contiguous().flatten().to(at::kCPU);
  const bool* const pixel = pixels.const_data_ptr<bool>();
  std::vector<std::uint32_t> runs{0};
  bool value = false;
  for (dim i = 0; i < pixels.numel(); ++i) {
    if (pixel[i] != value) {
      runs.push_back(0);
      value = pixel[i];
    }
    ++runs.back();
  }
  return runs;
}

void check_run_lengths(Checks& checks, const std::string& name, const gpu::MaskRunLengthTensors& lengths,
                       const at::Tensor& mask) {
  const at::Tensor counts = lengths.counts.to(at::kCPU), runs = lengths.runs.to(at::kCPU);
  bool same = true;
  for (dim i = 0; i < mask.size(0); ++i) {
    const std::vector<std::uint32_t> expected = run_lengths(mask[i]);
    const auto* const found = gpu::elements_of<std::uint32_t>(counts) + i * capacity;
    const std::size_t kept = std::min<std::size_t>(expected.size(), static_cast<std::size_t>(capacity));
    same = same && gpu::elements_of<std::uint32_t>(runs)[i] == expected.size() &&
           std::equal(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(kept), found);
  }
  checks.equal(name + ", run lengths", same);
}

template <class Element>
void check(Checks& checks, const Case& c, at::ScalarType dtype, cuda::MaskRounding rounding) {
  const std::string name = std::string("mask upsampling, ") + c.name + ", " + std::string(c10::toString(dtype)) +
                           (rounding == cuda::MaskRounding::composed ? ", composed" : ", two steps");
  const gpu::MaskExtents& e = c.extents;
  const at::Tensor low_res = random_on_gpu({c.masks, c.side, c.side}, 5).mul(4).to(dtype);
  const Results found = launch<Element>(low_res, e, rounding);
  const at::Tensor reference = mask_logits(low_res.to(at::kDouble).unsqueeze(1), e.image_side,
                                           {e.resized_height, e.resized_width}, {e.height, e.width})
                                   .squeeze(1);
  checks.within(name + ", logits", test::largest_difference(found.logits, reference),
                test::mask_logit_bound(low_res, std::max(e.resized_height, e.resized_width)));
  const at::Tensor mask = found.logits.gt(0);
  checks.equal(name + ", bits by rows", bits_are(found.rows, mask, 64));
  checks.equal(name + ", bits by columns",
               bits_are(found.run_lengths.column_bits.transpose(1, 2).contiguous(), mask.transpose(1, 2), 32));
  check_run_lengths(checks, name, found.run_lengths, mask);
}

}  // namespace

void check_mask_upsampling(Checks& checks) {
  for (const Case& c : cases)
    for (const auto rounding : {cuda::MaskRounding::composed, cuda::MaskRounding::two_step}) {
      check<float>(checks, c, at::kFloat, rounding);
      check<cuda::Bf16>(checks, c, at::kBFloat16, rounding);
      check<cuda::Fp16>(checks, c, at::kHalf, rounding);
    }
}

}  // namespace lisa::gpu_test
