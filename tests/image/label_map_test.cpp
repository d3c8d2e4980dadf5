// torch-free
#include <cstdint>
#include <string>
#include <vector>

#include "lisa/image/encode_png.hpp"
#include "lisa/image/read_image.hpp"
#include "tests/support/bad_input.hpp"
#include "tests/support/png_builder.hpp"
#include "tests/support/temp_dir.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

using test::Bytes;

/// A PNG file of these filtered rows.
Bytes png(std::uint32_t width, std::uint32_t height, std::uint8_t depth, std::uint8_t color, const Bytes& rows,
          const Bytes& palette = {}) {
  Bytes middle;
  if (!palette.empty()) test::append(middle, test::png_chunk("PLTE", palette));
  test::append(middle, test::png_chunk("IDAT", test::deflated(rows)));
  return test::png_file(width, height, depth, color, middle);
}

}  // namespace

TEST_CASE("labels are grey levels or entries of a palette") {
  const test::TempDir folder;
  const Bytes levels{0, 1, 2, 149, 150, 255};
  const Bytes grey = encode_grey_png(levels, {2, 3});
  test::write_text(folder / "grey.png", std::string(grey.begin(), grey.end()));
  CHECK(read_label_map(folder / "grey.png") == LabelMap{{2, 3}, levels});

  const Bytes palette{9, 9, 9, 255, 0, 0, 0, 255, 0, 1, 2, 3};
  CHECK(decode_label_png(png(3, 2, 8, 3, {0, 3, 0, 1, 0, 2, 2, 0}, palette), "p") ==
        LabelMap{{2, 3}, {3, 0, 1, 2, 2, 0}});
  CHECK(decode_label_png(png(3, 1, 2, 3, {0, 0b11'01'10'00}, palette), "p") == LabelMap{{1, 3}, {3, 1, 2}});
  CHECK(decode_label_png(png(10, 1, 1, 0, {0, 0b10110000, 0b01000000}), "p") ==
        LabelMap{{1, 10}, {1, 0, 1, 1, 0, 0, 0, 0, 0, 1}});
}

TEST_CASE("pictures that are no label maps are refused in words") {
  const auto refused = [](const Bytes& file, const std::string& word) {
    return test::broken_promises({.row = "label map", .kind = ErrorKind::format, .file = "m.png", .words = {word}},
                                 [&] { static_cast<void>(decode_label_png(file, "m.png")); });
  };
  CHECK(refused(encode_png(make_image({2, 2})), "in colours") == "");
  CHECK(refused(png(1, 1, 16, 0, {0, 1, 2}), "16 bits") == "");
  CHECK(refused(png(1, 1, 8, 4, {0, 1, 2}), "transparency") == "");
  CHECK(refused({'B', 'M', 0, 0, 0, 0, 0, 0}, "signature") == "");
  Bytes short_file = png(9, 9, 8, 0, {0, 1, 2});
  CHECK(refused(short_file, "damaged") == "");
}
