#include "lisa/image/preprocess_tensor.hpp"

#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "lisa/image/read_image.hpp"
#include "tests/support/recorded_arrays.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

at::Tensor tensor_of(const test::RecordedArray& array) {
  return at::from_blob(const_cast<std::uint8_t*>(array.bytes.data()), array.shape, at::kFloat).clone();
}

at::Tensor bytes_of(const test::RecordedArray& array) {
  return at::from_blob(const_cast<std::uint8_t*>(array.bytes.data()), array.shape, at::kByte);
}

}  // namespace

TEST_CASE("an image becomes the inputs the original gave its towers") {
  for (const std::string name : {"a1", "a2", "a3"}) {
    CAPTURE(name);
    const std::string folder = LISA_TEST_DATA "/golden/" + name + "/" + name;
    const auto arrays = test::recorded_arrays(folder + ".safetensors");
    const Image image = read_image(folder + ".png");

    const ClipInput clip = preprocess_clip(image);
    const at::Tensor pixel_values = tensor_of(arrays.at("pixel_values"));  // [1, 3, 224, 224]
    CHECK(clip.crop.sizes() == at::IntArrayRef{224, 224, 3});
    CHECK(at::equal(clip.pixel_values.unsqueeze(0), pixel_values));

    if (arrays.contains("sam_resized_u8")) {
      const auto& resized = arrays.at("sam_resized_u8");  // [h, w, 3]
      const SamInput sam =
          preprocess_sam(image, {.side = static_cast<int>(std::max(resized.shape[0], resized.shape[1]))});
      CHECK(at::equal(sam.resized, bytes_of(resized)));
      CHECK(sam.original_size == image.size());
      CHECK(sam.resized_size == ImageSize{static_cast<int>(resized.shape[0]), static_cast<int>(resized.shape[1])});
      if (arrays.contains("sam_image")) {
        const at::Tensor expected = tensor_of(arrays.at("sam_image"));
        CHECK(at::equal(sam.image, expected.reshape(sam.image.sizes())));
      }
    }
  }
}

TEST_CASE("an image that does not fit the square is named") {
  CHECK_THROWS_WITH_AS(static_cast<void>(normalized_tensor(make_image({3, 5}), LevelTable{}, 4)),
                       "image: found 5x3, expected at most 4 pixels on each side", InputError);
}
