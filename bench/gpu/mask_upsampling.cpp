// From low-res logits to bits at the picture's size: the kernel beside ATen's two interpolations and a comparison,
// which leave a byte per pixel.
#include <ATen/ops/gt.h>

#include <string>

#include "bench/gpu/timing.hpp"
#include "lisa/gpu/mask_upsample.hpp"
#include "lisa/model/mask_bits.hpp"
#include "lisa/sam/upsample.hpp"
#include "tests/support/mask_logit_bound.hpp"
#include "tests/support/random_parameters.hpp"

namespace lisa::gpu_bench {
namespace {

void bench(dim masks) {
  const std::string name = std::to_string(masks) + " masks, 256 x 256 to 3840 x 2160";
  const gpu::MaskExtents extents{
      .image_side = 1024, .resized_height = 576, .resized_width = 1024, .height = 2160, .width = 3840};
  const at::Tensor low_res = test::random_tensor({masks, 256, 256}, 5).mul(4).to(at::kCUDA);
  const auto logits = [&] { return mask_logits(low_res.unsqueeze(1), 1024, {576, 1024}, {2160, 3840}).squeeze(1); };

  // A pixel may differ whose logit is zero up to both ways' rounding.
  const at::Tensor values = logits().to(at::kCPU);
  const double bound = 2 * test::mask_logit_bound(low_res, 1024);
  const auto found =
      lisa::detail::masks_of_words(*gpu::mask_row_bits(low_res, extents), {.height = 2160, .width = 3840});
  std::int64_t wrong = 0;
  for (dim n = 0; n < masks; ++n) {
    const at::Tensor mask = mask_tensor(found[static_cast<std::size_t>(n)]);
    wrong += mask.ne(values[n].gt(0)).logical_and(values[n].abs().gt(bound)).sum().item<std::int64_t>();
  }
  require_close(name, static_cast<double>(wrong), 0);
  // Noise has more run lengths than any mask of a thing, and only the first ones are written.
  constexpr dim capacity = 16384;
  const auto lengths = gpu::MaskRunLengthTensors::make(masks, 2160, 3840, capacity, low_res.options());
  const at::Tensor words = *gpu::mask_row_bits(low_res, extents);
  auto arguments = gpu::mask_upsample_arguments<float>(low_res, words, extents);
  lengths.fill(arguments);
  const auto bits_and_lengths = [&] {
    gpu::launch_on_current_stream(low_res.device(), "mask_upsample", [&](auto stream) {
      return launch_mask_upsample(arguments, cuda::MaskRounding::composed, stream);
    });
  };
  compare_times(name, {{"lisa::cuda, bits", [&] { static_cast<void>(*gpu::mask_row_bits(low_res, extents)); }},
                       {"lisa::cuda, bits and run lengths", bits_and_lengths},
                       {"lisa::cuda, bits on the CPU", [&] { gpu::mask_row_bits(low_res, extents)->to(at::kCPU); }},
                       {"ATen, bytes", [&] { static_cast<void>(logits().gt(0)); }},
                       {"ATen, bytes on the CPU", [&] { static_cast<void>(logits().gt(0).to(at::kCPU)); }}});
}

}  // namespace

void bench_mask_upsampling() {
  bench(1);
  bench(16);
}

}  // namespace lisa::gpu_bench
