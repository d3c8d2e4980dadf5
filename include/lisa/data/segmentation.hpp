#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/data/label_mask.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/json_fields.hpp"
#include "lisa/image/image_limits.hpp"
#include "lisa/image/polygon_mask.hpp"
#include "lisa/image/rle.hpp"

namespace lisa {

/// An object's outline as annotation files hold it: polygons or run lengths of its parts.
struct CocoSegmentation {
  std::vector<std::vector<double>> polygons;  ///< x0, y0, x1, y1 ..., at least three points each
  std::vector<CocoRle> runs;
  std::size_t dropped_polygons = 0;  ///< of one or two points, which enclose nothing

  [[nodiscard]] std::size_t parts() const noexcept { return polygons.size() + runs.size(); }
};

namespace detail {

/// The numbers of a polygon. Throws FormatError unless they are finite pairs.
[[nodiscard]] inline std::vector<double> parse_polygon(const Json& value, const RleSource& source) {
  const auto refuse = [&](const std::string& found, const std::string& expected) {
    throw FormatError(source.file, source.place, found_expected(found, expected));
  };
  if (!value.is_array()) refuse(json_in_words(value), "a polygon (a list of coordinates) or run lengths");
  if (value.empty()) refuse("a polygon without points", "at least one point");
  if (value.size() % 2 != 0) refuse(std::to_string(value.size()) + " coordinates", "an even number of them");
  std::vector<double> outline;
  outline.reserve(value.size());
  for (const Json& coordinate : value) {
    if (!coordinate.is_number()) refuse(json_in_words(coordinate) + " as a coordinate", "a number");
    outline.push_back(coordinate.get<double>());
    if (!(std::abs(outline.back()) <= max_polygon_coordinate))
      refuse("coordinate " + coordinate.dump(), "one between -1e8 and 1e8");
  }
  return outline;
}

/// `{"size": [height, width], "counts": "..." or [...]}`
[[nodiscard]] inline CocoRle parse_rle(const Json& value, const RleSource& source, const ImageLimits& limits) {
  const auto refuse = [&](const std::string& found, const std::string& expected) {
    throw FormatError(source.file, source.place, found_expected(found, expected));
  };
  const auto whole = [](const Json& number) {
    return number.is_number_integer() &&
           !(number.is_number_unsigned() && number.get<std::uint64_t>() > std::uint64_t{INT64_MAX});
  };
  const auto size = value.find("size");
  if (size == value.end() || !size->is_array() || size->size() != 2 || !whole((*size)[0]) || !whole((*size)[1]))
    refuse(size == value.end() ? "run lengths without a size" : "size " + printable(size->dump(), 60),
           "[height, width]");
  const auto height = (*size)[0].get<std::int64_t>(), width = (*size)[1].get<std::int64_t>();
  const auto counts = value.find("counts");
  if (counts == value.end()) refuse("run lengths without counts", "a string or a list of whole numbers");
  if (counts->is_string()) {
    if (counts->get_ref<const std::string&>().empty()) refuse("empty counts", "a run length at least");
    return parse_compressed_counts(counts->get_ref<const std::string&>(), height, width, source, limits);
  }
  if (!counts->is_array()) refuse("counts that are " + json_in_words(*counts), "a string or a list of whole numbers");
  std::vector<std::int64_t> lengths;
  lengths.reserve(counts->size());
  for (const Json& length : *counts) {
    if (!whole(length)) refuse(json_in_words(length) + " as a run length", "a whole number");
    lengths.push_back(length.get<std::int64_t>());
  }
  return checked_rle(lengths, height, width, source, limits);
}

}  // namespace detail

/// Reads a COCO segmentation: a list of polygons, one object with run lengths (compressed or not), or a list of such
/// objects, as RefCLEF has them. Polygons of one or two points are dropped and counted (pycocotools would take four
/// numbers for a box). `source` names it in messages. An empty list is an empty segmentation: whether that may be is
/// the caller's to say. Throws FormatError, LimitError.
[[nodiscard]] inline CocoSegmentation parse_segmentation(const Json& value, const RleSource& source,
                                                         const ImageLimits& limits = {}) {
  CocoSegmentation result;
  if (value.is_object()) {
    result.runs.push_back(detail::parse_rle(value, source, limits));
    return result;
  }
  if (!value.is_array())
    throw FormatError(source.file, source.place, found_expected(json_in_words(value), "polygons or run lengths"));
  for (std::size_t i = 0; i < value.size(); ++i) {
    const RleSource part{source.file, source.place + "[" + std::to_string(i) + "]"};
    if (value[i].is_object()) {
      result.runs.push_back(detail::parse_rle(value[i], part, limits));
      continue;
    }
    std::vector<double> outline = detail::parse_polygon(value[i], part);
    if (outline.size() < 6)
      ++result.dropped_polygons;
    else
      result.polygons.push_back(std::move(outline));
  }
  if (!result.polygons.empty() && !result.runs.empty())
    throw FormatError(source.file, source.place, "found polygons and run lengths in one list, expected one kind");
  return result;
}

/// Calls `visit` with the mask of every part of `segmentation` in an image of `size`. Throws InputError when run
/// lengths belong to another size; `place` names the segmentation.
template <class Visit>
void for_each_part(const CocoSegmentation& segmentation, ImageSize size, const std::string& place, const Visit& visit) {
  for (const std::vector<double>& outline : segmentation.polygons) visit(polygon_mask(outline, size, place));
  for (const CocoRle& rle : segmentation.runs) {
    if (rle.size != size)
      throw MismatchError({}, place,
                          found_expected("run lengths of " + shown_size(rle.size) + " pixels", shown_size(size)));
    visit(decode_rle(rle, {{}, place}));
  }
}

/// Pixels of any part, as pycocotools' annToMask gives them. @throws MismatchError as `for_each_part`
[[nodiscard]] inline BitMask segmentation_mask(const CocoSegmentation& segmentation, ImageSize size,
                                               const std::string& place = "segmentation") {
  BitMask whole(size);
  for_each_part(segmentation, size, place, [&](const BitMask& part) {
    for (int y = 0; y < size.height; ++y)
      for (std::size_t i = 0; i < whole.words_per_row(); ++i) whole.row(y)[i] |= part.row(y)[i];
  });
  return whole;
}

/// In how many parts a pixel lies, modulo 256: LISA's label of referring data (utils/refer_seg_dataset.py), where
/// overlapping parts make a pixel hold 2. @throws MismatchError as `for_each_part`
[[nodiscard]] inline LabelMask summed_parts(const CocoSegmentation& segmentation, ImageSize size,
                                            const std::string& place = "segmentation") {
  LabelMask sum = empty_label_mask(size);
  for_each_part(segmentation, size, place, [&](const BitMask& part) {
    const std::vector<std::uint8_t> bytes = mask_bytes(part);
    for (std::size_t i = 0; i < bytes.size(); ++i) sum.labels[i] = static_cast<std::uint8_t>(sum.labels[i] + bytes[i]);
  });
  return sum;
}

}  // namespace lisa
