#include "lisa/model/prepared_image.hpp"

#include <optional>

#include "tests/model/golden_spec.hpp"
#include "tests/support/random_parameters.hpp"
// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using namespace lisa::test;

/// What both encoders are given, from the image or, as on a GPU, from a tensor of its pixels; without the rest.
PreparedImage preprocessed(const Image& image, const std::optional<at::Tensor>& pixels, bool& sam_came_first) {
  const auto& loaded = golden_model();
  PreparedImage prepared;
  detail::preprocess_picture(loaded.model, image, pixels, loaded.sam_preprocess, loaded.clip_preprocess, prepared, [&] {
    sam_came_first = prepared.sam.image.defined() && !prepared.clip.pixel_values.defined();
  });
  return prepared;
}

}  // namespace

TEST_CASE("a picture of pixels is preprocessed as the image is, SAM's part first") {
  for (const char* name : {"a1", "a2", "a3"}) {
    CAPTURE(name);
    const Image image = GoldenCase(name).image;
    bool first[2] = {false, false};
    const PreparedImage of_image = preprocessed(image, std::nullopt, first[0]);
    const PreparedImage of_pixels = preprocessed(image, detail::pixels_on(image, at::kCPU), first[1]);
    CHECK((first[0] && first[1]));
    CHECK(of_pixels.sam.image.equal(of_image.sam.image));
    CHECK(of_pixels.sam.resized.equal(of_image.sam.resized));
    CHECK(of_pixels.sam.original_size == of_image.sam.original_size);
    CHECK(of_pixels.sam.resized_size == of_image.sam.resized_size);
    CHECK(of_pixels.clip.pixel_values.equal(of_image.clip.pixel_values));
    CHECK(of_pixels.clip.crop.equal(of_image.clip.crop));
  }
}

TEST_CASE("a picture of pixels becomes what its encoder takes") {
  auto model = golden_model().model;
  test::fill_parameters(model.image_encoder, 1, at::kBFloat16);
  const Image image = GoldenCase("a1").image;
  PreparedImage prepared;
  detail::preprocess_picture(model, image, detail::pixels_on(image, at::kCPU), golden_model().sam_preprocess,
                             golden_model().clip_preprocess, prepared, [] {});
  CHECK(prepared.sam.image.equal(preprocess_sam(image, golden_model().sam_preprocess).image.to(at::kBFloat16)));
  CHECK((prepared.clip.pixel_values.scalar_type() == at::kFloat));
}

TEST_CASE("on a CPU an encoder that is to work beside the rest waits for the first mask") {
  const auto& loaded = golden_model();
  StageTimes times;
  const PreparedImage image = prepare_image(loaded.model, GoldenCase("a1").image, loaded.sam_preprocess,
                                            loaded.clip_preprocess, times, {}, EncoderStart::beside);
  CHECK_FALSE(image.embedding.defined());
  CHECK_FALSE(image.pending_embedding.has_value());
  CHECK(image.visual_rows.defined());
}
