// A picture's way from a tensor of pixels to its kernels, against the preprocessing of images.
#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>

#include <cstdint>

#include "image_kernels.hpp"
#include "launch.hpp"
#include "lisa/image/preprocess_pixels.hpp"
#include "tensor_memory.hpp"
#include "tests/support/random_parameters.hpp"
// last: torch's logging macros of the same names must not win
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using lisa::cuda::Bf16;
using lisa::cuda::Fp16;
using simt::dtype_of;

/// Noise that a cubic filter takes beyond 0 .. 255 on both sides. uint8 [H, W, 3]
at::Tensor make_pixels(dim height, dim width) {
  return test::random_tensor({height, width, 3}, 1).mul(200).add(128).clamp(0, 255).to(at::kByte);
}

gpu::AxisTaps in_memory(simt::Memory& memory, const gpu::AxisTaps& taps) {
  return {.first = simt::in_memory(memory, taps.first, "first"),
          .count = simt::in_memory(memory, taps.count, "count"),
          .weights = simt::in_memory(memory, taps.weights, "weights")};
}

/// The rows that the second kernel takes: the first one's, or the picture's own where its width is kept.
at::Tensor run_columns(simt::Memory& memory, const at::Tensor& pixels, gpu::PictureTables tables) {
  const at::Tensor picture = simt::in_memory(memory, pixels, "pixels");
  if (!tables.columns.first.defined()) return gpu::kept_columns(picture, tables);
  tables.columns = in_memory(memory, tables.columns);
  const at::Tensor resized = at::from_blob(
      memory.output<std::uint8_t>(static_cast<std::size_t>(tables.row_count * tables.width * 3), "resized"),
      {tables.row_count, tables.width, 3}, at::kByte);
  const auto arguments = gpu::resize_columns_arguments(picture, tables, resized);
  REQUIRE(cuda::resize_columns_refusal(arguments) == nullptr);
  const simt::Report report =
      simt::launch(memory, cuda::resize_columns_geometry(arguments), simt::resize_columns, arguments);
  REQUIRE_MESSAGE(report.clean(), report.text());
  CHECK(memory.unwritten_bytes(arguments.out) == 0);
  return resized;
}

/// What the second kernel writes.
struct Written {
  at::Tensor planes;   // [3, side, side]
  at::Tensor resized;  // uint8 [height, width, 3]
};

template <class Element>
Written run(const at::Tensor& pixels, gpu::PictureTables tables) {
  simt::Memory of_columns, memory;
  // What the first launch wrote is no input of the second one's memory, as between launches of one stream.
  const at::Tensor rows = simt::in_memory(memory, run_columns(of_columns, pixels, tables), "rows");
  tables.rows = in_memory(memory, tables.rows);
  tables.levels = simt::in_memory(memory, tables.levels, "levels");
  const at::Tensor planes = simt::output_tensor<Element>(memory, {3, tables.side, tables.side}, "planes");
  const dim height = tables.rows.first.size(0);
  const at::Tensor resized =
      at::from_blob(memory.output<std::uint8_t>(static_cast<std::size_t>(height * tables.width * 3), "8-bit stage"),
                    {height, tables.width, 3}, at::kByte);
  const auto arguments = gpu::image_planes_arguments<Element>(rows, tables, planes, resized);
  REQUIRE(cuda::image_planes_refusal(arguments) == nullptr);
  const simt::Report report =
      simt::launch(memory, cuda::image_planes_geometry(arguments), simt::image_planes<Element>, arguments);
  REQUIRE_MESSAGE(report.clean(), report.text());
  CHECK(memory.unwritten_bytes(arguments.planes) == 0);
  CHECK(memory.unwritten_bytes(arguments.resized) == 0);
  return {planes.clone(), resized.clone()};
}

template <class Element>
void check_sam(dim height, dim width, int side) {
  CAPTURE(height);
  CAPTURE(width);
  const SamPreprocess config{.side = side};
  const at::Tensor pixels = make_pixels(height, width);
  const ImageSize size = lisa::detail::picture_size(pixels);
  const auto tables = lisa::detail::picture_tables(size, sam_region(size, config), level_table(config), side, at::kCPU);
  const SamInput expected = preprocess_sam(lisa::detail::image_of(pixels, size), config);
  const Written written = run<Element>(pixels, tables);
  CHECK(written.planes.equal(expected.image.to(dtype_of<Element>)));
  CHECK(written.resized.equal(expected.resized));
  const SamInput found = preprocess_sam(pixels, config, dtype_of<Element>);
  CHECK(found.image.equal(written.planes));
  CHECK(found.resized.equal(expected.resized));
  CHECK(found.original_size == expected.original_size);
  CHECK(found.resized_size == expected.resized_size);
}

template <class Element>
void check_clip(dim height, dim width, int edge, int crop) {
  CAPTURE(height);
  CAPTURE(width);
  const ClipPreprocess config{.shortest_edge = edge, .crop = crop};
  const at::Tensor pixels = make_pixels(height, width);
  const ImageSize size = lisa::detail::picture_size(pixels);
  const auto tables =
      lisa::detail::picture_tables(size, clip_region(size, config), level_table(config), crop, at::kCPU);
  const ClipInput expected = preprocess_clip(lisa::detail::image_of(pixels, size), config);
  const Written written = run<Element>(pixels, tables);
  CHECK(written.planes.equal(expected.pixel_values.to(dtype_of<Element>)));
  CHECK(written.resized.equal(expected.crop));
  const ClipInput found = preprocess_clip(pixels, config, dtype_of<Element>);
  CHECK(found.pixel_values.equal(written.planes));
  CHECK(found.crop.equal(expected.crop));
}

TEST_CASE("SAM's planes of a tensor of pixels are those of the image, to the bit") {
  check_sam<float>(23, 37, 64);
  check_sam<Bf16>(61, 40, 17);
  check_sam<Fp16>(20, 32, 32);  // its width and height are kept
  check_sam<float>(1, 90, 33);
}

TEST_CASE("CLIP's planes of a tensor of pixels are those of the image, to the bit") {
  check_clip<float>(61, 40, 17, 17);
  check_clip<Bf16>(23, 37, 40, 32);
  check_clip<Fp16>(33, 24, 24, 21);  // its width is kept, and columns are cut
}

TEST_CASE("a picture goes where kernels preprocess it, and nowhere else") {
  const Image image = lisa::detail::image_of(make_pixels(5, 7), {5, 7});
  CHECK(lisa::detail::pixels_on(image, at::kCPU).equal(pixel_tensor(image)));
  CHECK_FALSE(pixels_for_kernels(image, at::kCPU, {.linked = true, .enabled = true}).has_value());
  const c10::Device gpu(c10::DeviceType::CUDA, 0);
  CHECK_FALSE(pixels_for_kernels(image, gpu, {.linked = false, .enabled = true}).has_value());
  CHECK_FALSE(pixels_for_kernels(image, gpu, {.linked = true, .enabled = false}).has_value());
  CHECK(gpu::picture_kernels_apply(gpu, {.linked = true, .enabled = true}));
  CHECK_THROWS_AS(static_cast<void>(pixels_for_kernels(Image{}, at::kCPU)), InputError);
}

TEST_CASE("what are no pixels is refused in words") {
  CHECK_THROWS_WITH_AS(static_cast<void>(sam_planes(make_pixels(2, 3).select(2, 0))),
                       "pixels: found Byte of 2 dimensions, expected Byte [H, W, 3]", InputError);
  CHECK_THROWS_AS(static_cast<void>(clip_planes(make_pixels(2, 3).to(at::kFloat))), InputError);
  CHECK_THROWS_AS(static_cast<void>(sam_planes(make_pixels(2, 3).narrow(0, 0, 0))), InputError);
}

}  // namespace
