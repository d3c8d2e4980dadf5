#include <string>

#include "lisa/image/preprocess_pixels.hpp"
#include "tests/gpu/checks.hpp"

namespace lisa::gpu_test {
namespace {

struct Case {
  const char* name;
  dim height, width;
};

constexpr Case cases[] = {
    {"one pixel", 1, 1}, {"a row", 1, 700}, {"enlarged", 333, 500}, {"a side kept", 224, 1024}, {"4K", 2160, 3840},
};

void check(Checks& checks, const Case& c, at::ScalarType dtype) {
  const std::string name = std::string("pictures, ") + c.name + ", " + std::string(c10::toString(dtype));
  const at::Tensor pixels =
      test::random_tensor({c.height, c.width, 3}, 1).mul(200).add(128).clamp(0, 255).to(at::kByte);
  const at::Tensor on_gpu = pixels.to(at::kCUDA);
  const auto equal = [&](const char* what, const at::Tensor& found, const at::Tensor& expected) {
    checks.equal(name + what, found.is_cuda() && found.to(at::kCPU).equal(expected));
  };
  equal(", SAM", sam_planes(on_gpu, {}, dtype), sam_planes(pixels, {}, dtype));
  equal(", CLIP", clip_planes(on_gpu, {}, dtype), clip_planes(pixels, {}, dtype));
}

}  // namespace

void check_image_preprocess(Checks& checks) {
  for (const Case& c : cases) {
    check(checks, c, at::kFloat);
    check(checks, c, at::kBFloat16);
    check(checks, c, at::kHalf);
  }
}

}  // namespace lisa::gpu_test
