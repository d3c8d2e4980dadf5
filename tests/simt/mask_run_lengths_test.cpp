// torch-free
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "launch.hpp"
#include "lisa/image/rle.hpp"
#include "mask_kernels.hpp"

//
#include <doctest/doctest.h>

using namespace simt;
using lisa::cuda::MaskRunLengthsArguments;

namespace {

enum class Pattern { empty, full, noise, blobs, first_pixel, last_pixel, stripes };
constexpr std::array patterns{Pattern::empty,       Pattern::full,       Pattern::noise,  Pattern::blobs,
                              Pattern::first_pixel, Pattern::last_pixel, Pattern::stripes};

lisa::BitMask make_mask(Pattern pattern, int height, int width) {
  lisa::BitMask mask({height, width});
  std::mt19937 random(9);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      bool value = false;
      switch (pattern) {
        case Pattern::empty:
          break;
        case Pattern::full:
          value = true;
          break;
        case Pattern::noise:
          value = (random() & 1) != 0;
          break;
        case Pattern::blobs:
          value = (x / 11 + y / 7) % 3 == 0;
          break;
        case Pattern::first_pixel:
          value = x == 0 && y == 0;
          break;
        case Pattern::last_pixel:
          value = x == width - 1 && y == height - 1;
          break;
        case Pattern::stripes:
          value = x % 2 == 0;
          break;
      }
      if (value) mask.set(x, y);
    }
  return mask;
}

std::vector<std::uint32_t> column_bits(const lisa::BitMask& mask) {
  const auto width = static_cast<std::size_t>(mask.width());
  std::vector<std::uint32_t> words(static_cast<std::size_t>((mask.height() + 31) / 32) * width);
  for (int y = 0; y < mask.height(); ++y)
    for (int x = 0; x < mask.width(); ++x)
      if (mask.at(x, y))
        words[static_cast<std::size_t>(y / 32) * width + static_cast<std::size_t>(x)] |= std::uint32_t{1} << (y % 32);
  return words;
}

struct Runs {
  std::vector<std::vector<std::uint32_t>> counts;
  std::vector<std::uint32_t> runs;
};

Runs run(const std::vector<lisa::BitMask>& masks, int capacity, Schedule schedule) {
  std::vector<std::uint32_t> bits;
  for (const lisa::BitMask& mask : masks) {
    const std::vector<std::uint32_t> words = column_bits(mask);
    bits.insert(bits.end(), words.begin(), words.end());
  }
  const auto room = static_cast<std::size_t>(capacity);
  Memory memory;
  const MaskRunLengthsArguments a{memory.input(bits, "column_bits"),
                                  memory.output<std::uint32_t>(masks.size() * room, "counts"),
                                  memory.output<std::uint32_t>(masks.size(), "runs"),
                                  static_cast<int>(masks.size()),
                                  masks[0].height(),
                                  masks[0].width(),
                                  capacity};
  REQUIRE(lisa::cuda::mask_run_lengths_refusal(a) == nullptr);
  const Report report = launch(memory, lisa::cuda::mask_run_lengths_geometry(a), mask_run_lengths, a, {schedule, 3, 4});
  REQUIRE_MESSAGE(report.clean(), report.text());
  Runs result{{}, {a.runs, a.runs + masks.size()}};
  for (std::size_t m = 0; m < masks.size(); ++m)
    result.counts.emplace_back(a.counts + m * room, a.counts + m * room + std::min<std::size_t>(room, result.runs[m]));
  return result;
}

}  // namespace

TEST_CASE("mask_run_lengths: COCO's runs, under every schedule") {
  // More columns than threads, one column more than whole groups, heights around the words.
  const std::vector<lisa::ImageSize> sizes{{1, 1},  {1, 513},  {31, 20}, {32, 33}, {33, 64},
                                           {64, 5}, {65, 512}, {7, 700}, {3, 1030}};
  for (const lisa::ImageSize size : sizes) {
    std::vector<lisa::BitMask> masks;
    for (const Pattern pattern : patterns) masks.push_back(make_mask(pattern, size.height, size.width));
    for (const Schedule schedule : schedules) {
      const Runs found = run(masks, size.height * size.width + 1, schedule);
      for (std::size_t m = 0; m < masks.size(); ++m) {
        CAPTURE(size.height);
        CAPTURE(size.width);
        CAPTURE(m);
        const lisa::CocoRle expected = lisa::encode_rle(masks[m]);
        CHECK(found.runs[m] == expected.counts.size());
        CHECK(found.counts[m] == expected.counts);
      }
    }
  }
}

TEST_CASE(
    "mask_run_lengths: the number of runs is told where they do not fit, and nothing is written behind the room") {
  const lisa::BitMask mask = make_mask(Pattern::noise, 40, 50);
  const std::vector<std::uint32_t> expected = lisa::encode_rle(mask).counts;
  for (const int capacity : {1, 7, static_cast<int>(expected.size()) - 1, static_cast<int>(expected.size())}) {
    const Runs found = run({mask, mask}, capacity, Schedule::random);
    for (std::size_t m = 0; m < 2; ++m) {
      CHECK(found.runs[m] == expected.size());
      CHECK(found.counts[m] == std::vector<std::uint32_t>(expected.begin(), expected.begin() + capacity));
    }
  }
}

TEST_CASE("mask_run_lengths: what it can't do is refused in words") {
  const MaskRunLengthsArguments good{nullptr, nullptr, nullptr, 1, 480, 640, 100};
  REQUIRE(lisa::cuda::mask_run_lengths_refusal(good) == nullptr);
  const auto refused = [&](auto change, const char* words) {
    auto a = good;
    change(a);
    const char* const refusal = lisa::cuda::mask_run_lengths_refusal(a);
    REQUIRE(refusal != nullptr);
    CHECK(std::string(refusal).find(words) != std::string::npos);
  };
  refused([](auto& a) { a.masks = 65536; }, "0 to 65535 masks");
  refused([](auto& a) { a.masks = -1; }, "0 to 65535 masks");
  refused([](auto& a) { a.height = 0; }, "1 to 65535 pixels");
  refused([](auto& a) { a.width = 65536; }, "1 to 65535 pixels");
  refused([](auto& a) { a.capacity = 0; }, "at least one run length");
}
