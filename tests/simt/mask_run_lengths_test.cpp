// torch-free
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "launch.hpp"
#include "lisa/image/rle.hpp"
#include "mask_kernels.hpp"

//
#include <doctest/doctest.h>

using namespace simt;
using lisa::cuda::ColumnChanges;
using lisa::cuda::MaskRounding;
using lisa::cuda::MaskUpsampleArguments;

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

/// Sizes of a launch: low-res pixels of the picture's part, and the picture.
struct Sizes {
  lisa::ImageSize low_res, picture;
};

/// Masks in low resolution and the memory of a launch. Pictures of their masks' own size have the masks' pixels; others
/// are interpolated between them.
struct Problem {
  Sizes sizes;
  std::size_t masks, room;
  Memory memory;
  MaskUpsampleArguments<float> arguments{};

  Problem(const std::vector<lisa::BitMask>& low_res, const Sizes& s, int capacity)
      : sizes(s), masks(low_res.size()), room(static_cast<std::size_t>(capacity)) {
    const int side = std::max(s.low_res.height, s.low_res.width);
    const auto strips = static_cast<std::size_t>(lisa::cuda::mask_strips(s.picture.width));
    const auto height = static_cast<std::size_t>(s.picture.height), width = static_cast<std::size_t>(s.picture.width);
    arguments.low_res = memory.input(logits(low_res, side), "low_res");
    arguments.row_bits = memory.output<std::uint64_t>(masks * height * ((width + 63) / 64), "row_bits");
    arguments.column_bits = memory.output<std::uint32_t>(masks * ((height + 31) / 32) * width, "column_bits");
    arguments.run_lengths = {
        memory.output<std::uint32_t>(masks * room, "counts"),
        memory.output<std::uint32_t>(masks, "runs"),
        memory.in_out(std::vector<std::uint32_t>(masks * (strips + 1)), "tickets"),
        memory.output<ColumnChanges>(masks * strips, "strip_changes"),
        memory.output<std::uint32_t>(
            masks * strips * static_cast<std::size_t>(lisa::cuda::mask_strip_room(s.picture.height, capacity)),
            "positions"),
        capacity};
    arguments.masks = static_cast<int>(masks);
    arguments.side = arguments.image_side = side;
    arguments.resized_height = s.low_res.height;
    arguments.resized_width = s.low_res.width;
    arguments.height = s.picture.height;
    arguments.width = s.picture.width;
  }

  static std::vector<float> logits(const std::vector<lisa::BitMask>& masks, int side) {
    std::vector<float> values;
    for (const lisa::BitMask& mask : masks)
      for (int y = 0; y < side; ++y)
        for (int x = 0; x < side; ++x)
          values.push_back(y < mask.height() && x < mask.width() && mask.at(x, y) ? 1.0F : -1.0F);
    return values;
  }

  void run(Schedule schedule) {
    REQUIRE(lisa::cuda::mask_upsample_refusal(arguments) == nullptr);
    const Report report = launch(memory, lisa::cuda::mask_upsample_geometry(arguments),
                                 mask_upsample<float, MaskRounding::two_step>, arguments, {schedule, 3, 4});
    REQUIRE_MESSAGE(report.clean(), report.text());
    REQUIRE(memory.unwritten_bytes(arguments.run_lengths.runs) == 0);
  }

  /// The mask that the launch has packed by rows.
  [[nodiscard]] lisa::BitMask mask(std::size_t m) const {
    lisa::BitMask packed(sizes.picture);
    const std::size_t words = packed.words().size();
    std::memcpy(packed.row(0), arguments.row_bits + m * words, words * sizeof(std::uint64_t));
    return packed;
  }
  [[nodiscard]] std::uint32_t runs(std::size_t m) const { return arguments.run_lengths.runs[m]; }
  /// The run lengths that there was room for.
  [[nodiscard]] std::vector<std::uint32_t> counts(std::size_t m) const {
    const std::uint32_t* const first = arguments.run_lengths.counts + m * room;
    return {first, first + std::min<std::size_t>(room, runs(m))};
  }
};

std::vector<lisa::BitMask> all_patterns(const lisa::ImageSize& size) {
  std::vector<lisa::BitMask> masks;
  for (const Pattern pattern : patterns) masks.push_back(make_mask(pattern, size.height, size.width));
  return masks;
}

void check(Problem& problem, Schedule schedule) {
  CAPTURE(problem.sizes.picture.height);
  CAPTURE(problem.sizes.picture.width);
  problem.run(schedule);
  for (std::size_t m = 0; m < problem.masks; ++m) {
    CAPTURE(m);
    const std::vector<std::uint32_t> expected = lisa::encode_rle(problem.mask(m)).counts;
    CHECK(problem.runs(m) == expected.size());
    CHECK(problem.counts(m) ==
          std::vector<std::uint32_t>(
              expected.begin(),
              expected.begin() + std::min(std::ssize(expected), static_cast<std::ptrdiff_t>(problem.room))));
  }
}

}  // namespace

TEST_CASE("mask_run_lengths: COCO's runs, under every schedule") {
  // Around the words, the halves of a column, the blocks of 128 rows and the strips of 64 columns.
  const std::vector<lisa::ImageSize> sizes{{1, 1},   {1, 65},  {31, 20},  {32, 33},  {33, 64},  {64, 5},
                                           {65, 63}, {96, 66}, {128, 64}, {129, 65}, {200, 130}};
  for (const lisa::ImageSize& size : sizes) {
    const std::vector<lisa::BitMask> masks = all_patterns(size);
    for (const Schedule schedule : schedules) {
      Problem problem(masks, {size, size}, size.height * size.width + 1);
      check(problem, schedule);
      for (std::size_t m = 0; m < masks.size(); ++m) CHECK(problem.mask(m) == masks[m]);
    }
  }
}

TEST_CASE("mask_run_lengths: more strips than a warp has lanes") {
  const lisa::ImageSize low_res{4, 705}, picture{5, 2 * 32 * 64 + 1};
  for (const Schedule schedule : schedules) {
    Problem problem(all_patterns(low_res), {low_res, picture}, 4000);
    check(problem, schedule);
  }
}

TEST_CASE("mask_run_lengths: a launch leaves the memory between blocks as it found it") {
  const lisa::ImageSize size{130, 70};
  Problem problem(all_patterns(size), {size, size}, 500);
  for (const Schedule schedule : schedules) check(problem, schedule);
}

TEST_CASE(
    "mask_run_lengths: the number of runs is told where they do not fit, and nothing is written behind the room") {
  const lisa::ImageSize size{40, 140};
  const lisa::BitMask mask = make_mask(Pattern::noise, size.height, size.width);
  const int runs = static_cast<int>(lisa::encode_rle(mask).counts.size());
  for (const Schedule schedule : schedules)
    for (const int capacity : {1, 7, runs / 2, runs - 1, runs}) {
      Problem problem({mask, mask}, {size, size}, capacity);
      check(problem, schedule);
    }
}
