// From a picture's bytes on the CPU to SAM's and CLIP's planes on the GPU: the copy and the kernels, beside the CPU's
// preprocessing and the copy of its planes; and ATen's antialiased interpolation, which rounds otherwise, for the time
// alone of a resize in fp32.
#include <ATen/ops/_upsample_bilinear2d_aa.h>

#include <string>

#include "bench/gpu/timing.hpp"
#include "lisa/image/preprocess_pixels.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"

namespace lisa::gpu_bench {
namespace {

void bench(dim height, dim width) {
  const std::string name = "picture of " + std::to_string(width) + " x " + std::to_string(height) + ", SAM, bf16";
  const at::Tensor pixels = test::random_tensor({height, width, 3}, 1).mul(200).add(128).clamp(0, 255).to(at::kByte);
  const at::Tensor on_gpu = pixels.to(at::kCUDA);
  const auto kernels = [](const at::Tensor& bytes) { return sam_planes(bytes, {}, at::kBFloat16); };
  const auto of_cpu = [&] { return sam_planes(pixels, {}, at::kBFloat16).to(at::kCUDA); };
  const ImageSize size = longest_side_size({static_cast<int>(height), static_cast<int>(width)}, SamPreprocess{}.side);
  const auto interpolation = [&] {
    const at::Tensor planes = on_gpu.permute({2, 0, 1}).unsqueeze(0).to(at::kFloat);
    return at::_upsample_bilinear2d_aa(planes, {size.height, size.width}, /*align_corners=*/false);
  };
  require_close(name + ", kernels", test::largest_difference(kernels(on_gpu), of_cpu()), 0);
  compare_times(name, {{"lisa::cuda, bytes on the GPU", [&] { static_cast<void>(kernels(on_gpu)); }},
                       {"lisa::cuda, bytes copied there", [&] { static_cast<void>(kernels(pixels.to(at::kCUDA))); }},
                       {"the CPU, planes copied there", [&] { static_cast<void>(of_cpu()); }},
                       {"ATen's interpolation in fp32", [&] { static_cast<void>(interpolation()); }}});
}

}  // namespace

void bench_image_preprocess() {
  bench(480, 640);
  bench(2160, 3840);
}

}  // namespace lisa::gpu_bench
