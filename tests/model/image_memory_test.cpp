// Images that are set again: known by their pixels, kept within a bound of memory and in a folder.

#include "lisa/model/image_memory.hpp"

#include <c10/core/InferenceMode.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lisa/model/predictor.hpp"
#include "tests/model/answer_difference.hpp"
#include "tests/model/golden_spec.hpp"
#include "tests/support/temp_dir.hpp"
// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using namespace lisa::test;

namespace fs = std::filesystem;

constexpr std::size_t plenty = std::size_t{1} << 30;

/// An image that takes `side` * `side` * 3 bytes.
SeenImage seen(int side, std::uint64_t name) {
  auto image = std::make_unique<PreparedImage>();
  image->sam.resized = pixel_tensor(make_image({side, side}));
  return {.picture = {side, side, name, 0}, .image = std::move(image)};
}

bool has(ImageMemory& memory, int side, std::uint64_t name) {
  std::optional<SeenImage> taken = memory.take({side, side, name, 0});
  if (!taken) return false;
  memory.put(std::move(*taken));
  return true;
}

Predictor<GoldenSpec> predictor_with(std::size_t bytes, const fs::path& folder = {}) {
  Predictor<GoldenSpec> predictor(golden_model());
  predictor.keep_images(bytes, folder);
  return predictor;
}

Answer ask(Predictor<GoldenSpec>& predictor, const GoldenCase& recorded) {
  predictor.set_image(recorded.image);
  return predictor.ask(recorded.question);
}

Answer ask_anew(const GoldenCase& recorded) {
  Predictor<GoldenSpec> predictor(golden_model());
  return ask(predictor, recorded);
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder)) paths.push_back(entry.path());
  return paths;
}

}  // namespace

TEST_CASE("the least recently used image goes first, and one that is too large is not kept") {
  ImageMemory memory(3 * 300);
  for (std::uint64_t name = 1; name <= 3; ++name) memory.put(seen(10, name));
  CHECK(memory.bytes() == 900);
  CHECK(has(memory, 10, 1));  // now the most recently used
  memory.put(seen(10, 4));
  CHECK(memory.size() == 3);
  CHECK_FALSE(has(memory, 10, 2));
  CHECK(has(memory, 10, 3));
  memory.put(seen(18, 5));  // 972 bytes
  CHECK(memory.size() == 3);
  memory.put(seen(17, 6));  // 867 bytes: leaves no room for others
  CHECK(memory.size() == 1);
  CHECK_FALSE(memory.take({10, 10, 6, 0}).has_value());  // another size
  CHECK(memory.take({17, 17, 6, 0}).has_value());
  CHECK(memory.size() == 0);
}

TEST_CASE("an image that comes back is encoded no more, and answers as on its first visit") {
  const GoldenCase a("a1"), b("a2");
  Predictor<GoldenSpec> predictor = predictor_with(plenty);
  const Answer first = ask(predictor, a), between = ask(predictor, b);
  CHECK(first.times.vision_tower > 0);
  const Answer again = ask(predictor, a);
  CHECK(again.times.preprocess == 0);
  CHECK(again.times.vision_tower == 0);
  CHECK(again.times.image_encoder == 0);
  CHECK(difference(again, first) == "");
  CHECK(difference(ask(predictor, b), between) == "");
  CHECK(difference(between, ask_anew(b)) == "");
  // The same image once more is a new conversation about it.
  CHECK(difference(ask(predictor, b), between) == "");
}

TEST_CASE("keys and values of an image come back with it") {
  const GoldenCase a("a1"), b("a2");
  Predictor<GoldenSpec> predictor = predictor_with(plenty);
  const Answer first = ask(predictor, a);
  (void)ask(predictor, b);
  predictor.set_image(a.image);
  {
    const c10::InferenceMode inference;
    predictor.image().visual_rows.zero_();  // would spoil the answer if the image were run again
  }
  CHECK(difference(predictor.ask(a.question), first) == "");

  // Where memory has room for the features only, the image is run again.
  std::size_t features = 0;
  {
    Predictor<GoldenSpec> measured(golden_model());
    (void)ask(measured, a);
    features = bytes_of(measured.image());
  }
  Predictor<GoldenSpec> narrow = predictor_with(features);
  (void)ask(narrow, a);
  (void)ask(narrow, b);
  const Answer again = ask(narrow, a);
  CHECK(again.times.vision_tower == 0);
  CHECK(difference(again, first) == "");
}

TEST_CASE("without memory an image is encoded each time") {
  const GoldenCase a("a1");
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1000}}) {
    Predictor<GoldenSpec> predictor = predictor_with(bytes);
    (void)ask(predictor, a);
    (void)ask(predictor, GoldenCase("a2"));
    CHECK(ask(predictor, a).times.vision_tower > 0);
  }
}

TEST_CASE("an image that cannot be used leaves the present one") {
  const GoldenCase a("a1");
  Predictor<GoldenSpec> predictor = predictor_with(plenty);
  const Answer first = ask(predictor, a);
  CHECK_THROWS_AS(predictor.set_image(Image{}), InputError);
  predictor.reset();
  CHECK(difference(predictor.ask(a.question), first) == "");
}

TEST_CASE("features in a folder serve a later run, and a broken file is as good as none") {
  const TempDir folder;
  const GoldenCase a("a1");
  Predictor<GoldenSpec> first_run = predictor_with(0, folder / "features");
  const Answer first = ask(first_run, a);
  REQUIRE(files_in(folder / "features").size() == 1);

  Predictor<GoldenSpec> later = predictor_with(0, folder / "features");
  later.set_image(a.image);
  CHECK(at::equal(later.image().visual_features, first_run.image().visual_features));
  REQUIRE(later.image().embedding.defined());
  CHECK(at::equal(later.image().embedding, first_run.image().embedding));
  CHECK(difference(later.ask(a.question), first) == "");

  fs::resize_file(files_in(folder / "features").front(), 100);
  Predictor<GoldenSpec> after = predictor_with(0, folder / "features");
  after.set_image(a.image);
  CHECK_FALSE(after.image().embedding.defined());
  CHECK(difference(after.ask(a.question), first) == "");
  CHECK(fs::file_size(files_in(folder / "features").front()) > 1000);  // written anew
}

TEST_CASE("an answer without a mask keeps the vision tower's features, a later one the embedding too") {
  const TempDir folder;
  const GoldenCase a("a1");
  Predictor<GoldenSpec> predictor = predictor_with(0, folder / "features");
  predictor.set_image(a.image);
  AskOptions text_only;
  text_only.segmentation = Segmentation::off;
  text_only.max_new_tokens = 3;
  (void)predictor.ask(a.question, text_only);
  const auto size = fs::file_size(files_in(folder / "features").front());
  (void)predictor.ask_each({a.question});
  CHECK(fs::file_size(files_in(folder / "features").front()) > size);
  CHECK(files_in(folder / "features").size() == 1);
}

TEST_CASE("other weights never find the features, and a folder that cannot be made is an error") {
  const TempDir folder;
  const GoldenCase a("a1");
  Predictor<GoldenSpec> predictor = predictor_with(0, folder / "features");
  (void)ask(predictor, a);
  const auto other = load<GoldenSpec>(golden_checkpoint, golden_options(Precision::bf16));
  Predictor<GoldenSpec> rounded(other);
  rounded.keep_images(0, folder / "features");
  rounded.set_image(a.image);
  CHECK_FALSE(rounded.image().embedding.defined());
  (void)rounded.ask(a.question);
  CHECK(files_in(folder / "features").size() == 2);
  CHECK_THROWS_AS(predictor.keep_images(0, golden_folder + "a1/a1.png"), IoError);
}
