// torch-free
#include "lisa/image/mask.hpp"

#include <rapidcheck.h>

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lisa/image/rle.hpp"
#include "tests/support/random_mask.hpp"
#include "tests/support/recorded_arrays.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

nlohmann::json recorded() {
  const auto text = test::file_bytes(LISA_TEST_DATA "/fixtures/masks/pycocotools.json");
  return nlohmann::json::parse(text.begin(), text.end());
}

BitMask mask_of(const nlohmann::json& record) {
  BitMask mask({record.at("size").at(0), record.at("size").at(1)});
  for (int y = 0; y < mask.height(); ++y)
    for (int x = 0; x < mask.width(); ++x)
      mask.set(
          x, y,
          record.at("rows").at(static_cast<std::size_t>(y)).get<std::string>()[static_cast<std::size_t>(x)] == '1');
  return mask;
}

}  // namespace

TEST_CASE("masks are coded and measured as pycocotools does it") {
  const nlohmann::json record = recorded();
  REQUIRE(record.at("masks").size() == 10);
  for (const auto& entry : record.at("masks")) {
    CAPTURE(entry.at("size").dump());
    const BitMask mask = mask_of(entry);
    const CocoRle rle = encode_rle(mask);
    CHECK(rle.counts == entry.at("uncompressed").get<std::vector<std::uint32_t>>());
    CHECK(compressed_counts(rle) == entry.at("counts").get<std::string>());
    CHECK(parse_compressed_counts(entry.at("counts").get<std::string>(), mask.height(), mask.width()) == rle);
    CHECK(decode_rle(rle) == mask);
    CHECK(area(mask) == entry.at("area").get<std::int64_t>());
    const auto box = entry.at("bbox").get<std::vector<int>>();
    if (area(mask) > 0) CHECK(bounding_box(mask) == Rect{box[0], box[1], box[2], box[3]});
    if (area(mask) == 0) CHECK(bounding_box(mask) == Rect{});
  }
  for (const auto& pair : record.at("pairs")) {
    const auto read = [&](const char* key) {
      return decode_rle(parse_compressed_counts(pair.at(key).get<std::string>(), pair.at("size").at(0).get<int>(),
                                                pair.at("size").at(1).get<int>()));
    };
    CHECK(iou(read("a"), read("b")) == doctest::Approx(pair.at("iou").get<double>()).epsilon(1e-12));
  }
}

TEST_CASE("coding and decoding gives the mask back") {
  CHECK(rc::check([] {
    const BitMask mask = test::random_mask(150);
    const CocoRle rle = encode_rle(mask);
    RC_ASSERT(decode_rle(rle) == mask);
    RC_ASSERT(parse_compressed_counts(compressed_counts(rle), mask.height(), mask.width()) == rle);
    RC_ASSERT(transpose(transpose(mask)) == mask);
  }));
}

TEST_CASE("measures agree with counting pixels") {
  CHECK(rc::check([] {
    const BitMask mask = test::random_mask(90);
    const std::vector<std::uint8_t> bytes = mask_bytes(mask);
    std::int64_t count = 0;
    int left = mask.width(), top = mask.height(), right = -1, bottom = -1;
    for (int y = 0; y < mask.height(); ++y)
      for (int x = 0; x < mask.width(); ++x) {
        RC_ASSERT((bytes[static_cast<std::size_t>(y) * static_cast<std::size_t>(mask.width()) +
                         static_cast<std::size_t>(x)] != 0) == mask.at(x, y));
        if (!mask.at(x, y)) continue;
        ++count;
        left = std::min(left, x), right = std::max(right, x), top = std::min(top, y), bottom = std::max(bottom, y);
      }
    RC_ASSERT(area(mask) == count);
    if (count > 0) RC_ASSERT(bounding_box(mask) == (Rect{left, top, right - left + 1, bottom - top + 1}));
    if (count > 0) RC_ASSERT(iou(mask, mask) == 1.0);
  }));
}

TEST_CASE("logits above the threshold are foreground, NaN is not") {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> logits{0.0F, 1e-30F, -1.0F, nan, infinity, -infinity};
  CHECK(mask_bytes(mask_from_logits(logits.data(), {2, 3})) == std::vector<std::uint8_t>{0, 1, 0, 0, 1, 0});
  CHECK(mask_bytes(mask_from_logits(logits.data(), {2, 3}, -2.0F), 255) ==
        std::vector<std::uint8_t>{255, 255, 255, 0, 255, 0});
  std::vector<float> wide(3 * 130, -1.0F);
  wide[2 * 130 + 129] = 1.0F;
  const BitMask mask = mask_from_logits(wide.data(), {3, 130});
  CHECK(area(mask) == 1);
  CHECK(mask.at(129, 2));
}

TEST_CASE("bad run lengths are refused with their place") {
  const RleSource source{"annotations.json", "annotation 7"};
  struct Case {
    std::string row;
    std::vector<std::int64_t> counts;
    std::int64_t height, width;
    std::string message;
  };
  for (const Case& c : {
           Case{"123 less", {3, 4}, 2, 4, "found runs of 7 pixels in all, expected 8"},
           Case{"123 more", {3, 6}, 2, 4, "found a run of 6 pixels after 3, expected 0..5"},
           Case{"123 negative", {3, -1, 6}, 2, 4, "found a run of -1 pixels after 3, expected 0..5"},
           Case{"123 huge",
                {std::numeric_limits<std::int64_t>::max(), 1},
                2,
                4,
                "found a run of 9223372036854775807 pixels after 0, expected 0..8"},
           Case{"123 none", {}, 2, 4, "found runs of 0 pixels in all, expected 8"},
           Case{"125 empty", {0}, 0, 0, "found 0x0 pixels, expected at least one pixel on each side"},
       }) {
    CAPTURE(c.row);
    const std::string message = "annotations.json: annotation 7: " + c.message;
    CHECK_THROWS_WITH_AS(static_cast<void>(checked_rle(c.counts, c.height, c.width, source)), message.c_str(),
                         FormatError);
  }
  CHECK_THROWS_AS(static_cast<void>(checked_rle({}, 1'000'000, 1'000'000, source)), LimitError);
  CHECK_THROWS_AS(static_cast<void>(checked_rle({}, std::int64_t{1} << 40, std::int64_t{1} << 40, source)), LimitError);
  CHECK_THROWS_AS(static_cast<void>(decode_rle({{2, 4}, {3, 4}})), FormatError);
}

TEST_CASE("bad compressed run lengths are refused with their place") {
  struct Case {
    std::string row, text, message;
  };
  for (const Case& c : {
           Case{"124 continuation", "o", "RLE character 1: found the end of the counts, expected the rest of a number"},
           Case{"124 long", "ooooooooooooooooo0",
                "RLE character 7: found a number of more than 7 characters, expected a shorter one"},
           Case{"124 outside", "3\x7f", "RLE character 1: found a character outside '0'..'o', expected one inside"},
           Case{"124 below", " 8", "RLE character 0: found a character outside '0'..'o', expected one inside"},
           Case{"124 empty", "", "RLE: found runs of 0 pixels in all, expected 8"},
           Case{"124 negative", "@8",
                "RLE character 1: found a run of -16 pixels, expected one that is not negative and fits the picture"},
       }) {
    CAPTURE(c.row);
    CHECK_THROWS_WITH_AS(static_cast<void>(parse_compressed_counts(c.text, 2, 4)), c.message.c_str(), FormatError);
  }
}

TEST_CASE("any text gives run lengths or an error") {
  CHECK(rc::check([] {
    const auto text = *rc::gen::container<std::string>(rc::gen::inRange<char>(40, 120));
    try {
      const CocoRle rle = parse_compressed_counts(text, 5, 6);
      RC_ASSERT(area(decode_rle(rle)) <= 30);
    } catch (const FormatError&) {
    }
  }));
}

TEST_CASE("masks of different sizes and empty masks are refused") {
  CHECK_THROWS_WITH_AS(static_cast<void>(iou(BitMask({2, 3}), BitMask({3, 2}))), "mask: found 2x3, expected 3x2",
                       InputError);
  CHECK_THROWS_AS(BitMask({0, 3}), InputError);
  CHECK_THROWS_AS(static_cast<void>(encode_rle(BitMask{})), InputError);
}
