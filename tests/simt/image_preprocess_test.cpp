// torch-free
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "element_values.hpp"
#include "image_kernels.hpp"
#include "launch.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/preprocess.hpp"
#include "lisa/image/resize.hpp"

//
#include <doctest/doctest.h>

using namespace simt;
using lisa::Image;
using lisa::ImageSize;
using lisa::LevelTable;
using lisa::Rect;
using lisa::Resample;
using lisa::cuda::Bf16;
using lisa::cuda::Fp16;
using lisa::cuda::ImagePlanesArguments;
using lisa::cuda::ResizeColumnsArguments;
using lisa::cuda::ResizeTaps;
using lisa::resize_detail::Taps;

namespace {

/// Noise with dark and bright corners, so that a cubic filter leaves 0..255 on both sides.
Image make_picture(ImageSize size) {
  Image image = lisa::make_image(size);
  std::mt19937 random(21);
  for (std::uint8_t& level : image.pixels) {
    const auto draw = random();
    level = static_cast<std::uint8_t>(draw % 4 == 0 ? 0 : draw % 4 == 1 ? 255 : draw >> 24);
  }
  return image;
}

/// What the library's preprocessing asks of the resize: a region of the picture at another size.
struct Resize {
  ImageSize size;
  Rect region;
  Resample filter;
};

ResizeTaps on_device(Memory& memory, const Taps& taps) {
  return {memory.input(taps.first, "first"), memory.input(taps.count, "count"), memory.input(taps.value, "weights"),
          taps.stride};
}

/// The rows of pixels that the second kernel takes.
struct Rows {
  const std::uint8_t* begin;
  std::int64_t stride;
  std::vector<std::uint8_t> memory;
};

/// The first kernel over the rows [first, first + rows), or the picture's own where its width is kept.
Rows resized_columns(const Image& image, const Resize& wanted, int first, int rows, Schedule schedule) {
  if (wanted.size.width == image.width)
    return {image.row(first) + wanted.region.x * 3, std::int64_t{image.width} * 3, {}};
  Memory memory;
  const std::uint8_t* const pixels = memory.input(image.pixels, "image");
  const int columns = wanted.region.width;
  const auto bytes = static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns) * 3;
  const ResizeColumnsArguments arguments{
      pixels + (image.row(first) - image.row(0)),
      std::int64_t{image.width} * 3,
      on_device(memory, lisa::resize_detail::make_taps(image.width, wanted.size.width, wanted.region.x, columns,
                                                       wanted.filter)),
      memory.output<std::uint8_t>(bytes, "columns"),
      rows,
      columns};
  REQUIRE(lisa::cuda::resize_columns_refusal(arguments) == nullptr);
  const Report report =
      launch(memory, lisa::cuda::resize_columns_geometry(arguments), resize_columns, arguments, {schedule, 2, 4});
  REQUIRE_MESSAGE(report.clean(), report.text());
  CHECK(memory.unwritten_bytes(arguments.out) == 0);
  Rows made{nullptr, std::int64_t{columns} * 3, {arguments.out, arguments.out + bytes}};
  made.begin = made.memory.data();
  return made;
}

template <class Element>
struct Results {
  std::vector<std::uint8_t> resized;
  std::vector<Element> planes;
};

template <class Element>
Results<Element> run(const Image& image, const Resize& wanted, const LevelTable& levels, int side, Schedule schedule,
                     bool bytes_wanted = true) {
  const Taps taps = lisa::resize_detail::make_taps(image.height, wanted.size.height, wanted.region.y,
                                                   wanted.region.height, wanted.filter);
  const int first = taps.first.front(), rows = taps.first.back() + taps.count.back() - first;
  const Rows source = resized_columns(image, wanted, first, rows, schedule);
  const auto source_bytes =
      static_cast<std::size_t>((rows - 1) * source.stride + std::int64_t{wanted.region.width} * 3);

  Memory memory;
  const auto pixels = static_cast<std::size_t>(side) * static_cast<std::size_t>(side) * 3;
  const std::size_t bytes = lisa::image_bytes({wanted.region.height, wanted.region.width});
  std::vector<float> table;
  for (const auto& channel : levels) table.insert(table.end(), channel.begin(), channel.end());
  const ImagePlanesArguments<Element> arguments{
      memory.input(std::vector<std::uint8_t>(source.begin, source.begin + source_bytes), "columns"),
      source.stride,
      on_device(memory, taps),
      first,
      memory.input(table, "levels"),
      bytes_wanted ? memory.output<std::uint8_t>(bytes, "resized") : nullptr,
      memory.output<Element>(pixels, "planes"),
      wanted.region.height,
      wanted.region.width,
      side};
  REQUIRE(lisa::cuda::image_planes_refusal(arguments) == nullptr);
  const Report report =
      launch(memory, lisa::cuda::image_planes_geometry(arguments), image_planes<Element>, arguments, {schedule, 2, 4});
  REQUIRE_MESSAGE(report.clean(), report.text());
  CHECK(memory.unwritten_bytes(arguments.planes) == 0);
  Results<Element> results{{}, {arguments.planes, arguments.planes + pixels}};
  if (bytes_wanted) {
    CHECK(memory.unwritten_bytes(arguments.resized) == 0);
    results.resized.assign(arguments.resized, arguments.resized + bytes);
  }
  return results;
}

/// Bytes, and normalised values rounded to Element, as the library computes them on the CPU.
template <class Element>
void check(const Image& image, const Resize& wanted, const LevelTable& levels, const Image& expected, int side,
           Schedule schedule) {
  CAPTURE(image.width);
  CAPTURE(image.height);
  CAPTURE(side);
  const Results<Element> found = run<Element>(image, wanted, levels, side, schedule);
  CHECK(found.resized == expected.pixels);
  std::vector<float> planes(found.planes.size());
  lisa::normalize_planes(expected, levels, side, planes.data());
  int wrong = 0;
  for (std::size_t i = 0; i < planes.size(); ++i) {
    const Element rounded = to_element<Element>(planes[i]);
    wrong += std::memcmp(&rounded, &found.planes[i], sizeof rounded) != 0;
  }
  CHECK(wrong == 0);
}

template <class Element>
void check_sam(ImageSize picture, int side, Schedule schedule) {
  lisa::SamPreprocess config;
  config.side = side;
  const Image image = make_picture(picture);
  const ImageSize size = lisa::longest_side_size(picture, side);
  check<Element>(image, {size, {0, 0, size.width, size.height}, Resample::bilinear}, lisa::level_table(config),
                 lisa::sam_pixels(image, config).resized, side, schedule);
}

template <class Element>
void check_clip(ImageSize picture, int shortest_edge, int crop, Schedule schedule) {
  lisa::ClipPreprocess config;
  config.shortest_edge = shortest_edge;
  config.crop = crop;
  const Image image = make_picture(picture);
  const ImageSize size = lisa::shortest_edge_size(picture, shortest_edge);
  check<Element>(image, {size, {(size.width - crop) / 2, (size.height - crop) / 2, crop, crop}, Resample::bicubic},
                 lisa::level_table(config), lisa::clip_pixels(image, config), crop, schedule);
}

}  // namespace

TEST_CASE("image_preprocess: SAM's square, enlarged, kept and reduced, equal to the CPU's bytes and floats") {
  for (const Schedule schedule : schedules) {
    check_sam<float>({23, 37}, 64, schedule);
    check_sam<float>({61, 40}, 17, schedule);
    check_sam<float>({32, 20}, 32, schedule);
    check_sam<float>({1, 1}, 5, schedule);
    check_sam<float>({1, 90}, 129, schedule);
    check_sam<float>({150, 2}, 130, schedule);
    check_sam<float>({20, 32}, 32, schedule);
    check_sam<float>({5, 700}, 128, schedule);
    check_sam<float>({7, 2}, 1, schedule);
  }
}

TEST_CASE("image_preprocess: CLIP's centre, enlarged, kept and reduced, equal to the CPU's bytes and floats") {
  for (const Schedule schedule : schedules) {
    check_clip<float>({23, 37}, 40, 32, schedule);
    check_clip<float>({61, 40}, 17, 17, schedule);
    check_clip<float>({24, 33}, 24, 21, schedule);
    check_clip<float>({33, 24}, 24, 23, schedule);
    check_clip<float>({1, 1}, 6, 4, schedule);
    check_clip<float>({2, 301}, 8, 8, schedule);
    check_clip<float>({301, 2}, 8, 7, schedule);
    check_clip<float>({140, 131}, 130, 129, schedule);
  }
}

TEST_CASE("image_preprocess: planes of 16 bits are the floats rounded to the nearest") {
  for (const Schedule schedule : schedules) {
    check_sam<Bf16>({23, 37}, 33, schedule);
    check_sam<Fp16>({40, 13}, 20, schedule);
    check_sam<Bf16>({1, 90}, 129, schedule);
    check_sam<Fp16>({7, 2}, 1, schedule);
    check_clip<Bf16>({30, 21}, 16, 12, schedule);
    check_clip<Fp16>({12, 40}, 16, 15, schedule);
    check_clip<Bf16>({1, 1}, 6, 4, schedule);
    check_clip<Fp16>({140, 131}, 130, 129, schedule);
  }
}

TEST_CASE("image_preprocess: the 8-bit stage need not be kept") {
  const Image image = make_picture({9, 14});
  const LevelTable levels = lisa::level_table(lisa::SamPreprocess{});
  const Resize wanted{{6, 10}, {0, 0, 10, 6}, Resample::bilinear};
  const Results<float> kept = run<float>(image, wanted, levels, 10, Schedule::forward);
  const Results<float> left_out = run<float>(image, wanted, levels, 10, Schedule::forward, false);
  CHECK(left_out.planes == kept.planes);
}

TEST_CASE("image_preprocess: what the kernels can't do is refused in words") {
  const ResizeColumnsArguments columns{nullptr, 30, {nullptr, nullptr, nullptr, 3}, nullptr, 10, 10};
  REQUIRE(lisa::cuda::resize_columns_refusal(columns) == nullptr);
  const ImagePlanesArguments<float> planes{nullptr, 30, {nullptr, nullptr, nullptr, 3}, 0, nullptr, nullptr, nullptr, 8,
                                           10,      16};
  REQUIRE(lisa::cuda::image_planes_refusal(planes) == nullptr);
  const auto refused = [](auto arguments, auto refusal_of, auto change, const char* words) {
    change(arguments);
    const char* const refusal = refusal_of(arguments);
    REQUIRE(refusal != nullptr);
    CHECK(std::string(refusal).find(words) != std::string::npos);
  };
  const auto refused_columns = [&](auto change, const char* words) {
    refused(columns, lisa::cuda::resize_columns_refusal, change, words);
  };
  refused_columns([](auto& a) { a.rows = 0; }, "1 to 65535");
  refused_columns([](auto& a) { a.rows = 65536; }, "1 to 65535");
  refused_columns([](auto& a) { a.columns = 0; }, "1 to 65535");
  refused_columns([](auto& a) { a.columns = 65536; }, "1 to 65535");
  refused_columns([](auto& a) { a.taps.stride = 0; }, "room for a weight");
  const auto refused_planes = [&](auto change, const char* words) {
    refused(planes, lisa::cuda::image_planes_refusal<float>, change, words);
  };
  refused_planes([](auto& a) { a.side = 0; }, "1 to 16384");
  refused_planes([](auto& a) { a.side = 16385; }, "1 to 16384");
  refused_planes([](auto& a) { a.height = 0; }, "inside the planes");
  refused_planes([](auto& a) { a.height = 17; }, "inside the planes");
  refused_planes([](auto& a) { a.width = 0; }, "inside the planes");
  refused_planes([](auto& a) { a.width = 17; }, "inside the planes");
  refused_planes([](auto& a) { a.row_stride = 29; }, "must not overlap");
  refused_planes([](auto& a) { a.taps.stride = 0; }, "room for a weight");
}
