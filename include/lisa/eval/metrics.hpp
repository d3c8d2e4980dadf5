#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/mask.hpp"

namespace lisa {

/// Pixels of a predicted mask and of its target. Those with label `LabelMask::ignored` are left out of every count.
struct MaskOverlap {
  std::int64_t predicted = 0;
  std::int64_t target = 0;  ///< label 1
  std::int64_t intersection = 0;

  [[nodiscard]] std::int64_t union_area() const { return predicted + target - intersection; }
  bool operator==(const MaskOverlap&) const = default;
};

/// Masks that belong to one image: they are weighted, resampled and rounded together.
using ImageOverlaps = std::vector<MaskOverlap>;

/// Counts the pixels as LISA's intersectionAndUnionGPU does with two classes (LISA utils/utils.py): a label other than
/// 0, 1 and 255 is no target but counts in the union where it is predicted.
/// @throws InputError for masks of different sizes
[[nodiscard]] inline MaskOverlap measure_overlap(const BitMask& predicted, const LabelMask& target) {
  const ImageSize size = target.size;
  const auto width = static_cast<std::size_t>(std::max(size.width, 0));
  if (predicted.size() != size || target.labels.size() != width * static_cast<std::size_t>(size.height))
    throw InputError("mask", found_expected("a prediction of " + shown_size(predicted.size()) + " pixels for " +
                                                std::to_string(target.labels.size()) + " labels",
                                            shown_size(size) + " both"));
  MaskOverlap overlap;
  for (int y = 0; y < size.height; ++y) {
    const std::uint8_t* labels = target.labels.data() + static_cast<std::size_t>(y) * width;
    for (std::size_t x = 0; x < width; x += BitMask::word_bits) {
      BitMask::Word wanted = 0, counted = 0;
      for (std::size_t i = 0; i < std::min<std::size_t>(BitMask::word_bits, width - x); ++i) {
        wanted |= static_cast<BitMask::Word>(labels[x + i] == 1) << i;
        counted |= static_cast<BitMask::Word>(labels[x + i] != LabelMask::ignored) << i;
      }
      const BitMask::Word found = predicted.row(y)[x / BitMask::word_bits] & counted;
      overlap.predicted += std::popcount(found);
      overlap.target += std::popcount(wanted);
      overlap.intersection += std::popcount(found & wanted);
    }
  }
  return overlap;
}

/// Intersection over union in [0, 1]; 1 where there is nothing to find and nothing was found.
[[nodiscard]] inline double overlap_iou(const MaskOverlap& overlap) {
  if (overlap.union_area() == 0) return 1.0;
  return static_cast<double>(overlap.intersection) / static_cast<double>(overlap.union_area());
}

/// The two scores of LISA (paper, section 4.1), each in [0, 1].
struct SegmentationScore {
  double giou = 0;  ///< mean of the masks' intersection over union
  double ciou = 0;  ///< sum of the intersections over the sum of the unions
  bool operator==(const SegmentationScore&) const = default;
};

namespace metrics_detail {

inline std::size_t count_masks(std::span<const ImageOverlaps> images) {
  std::size_t masks = 0;
  for (const ImageOverlaps& image : images) masks += image.size();
  if (masks == 0) throw InputError("score", found_expected("no masks", "at least one"));
  return masks;
}

/// Ratio of sums of pixels; 1 where there was nothing to find and nothing was found anywhere.
inline double pixel_ratio(std::int64_t intersection, std::int64_t union_area) {
  return union_area == 0 ? 1.0 : static_cast<double>(intersection) / static_cast<double>(union_area);
}

}  // namespace metrics_detail

/// The scores from whole pixel counts, without the small constants and the rounding of `original_score`.
/// @throws InputError when there are no masks
[[nodiscard]] inline SegmentationScore exact_score(std::span<const ImageOverlaps> images) {
  const std::size_t masks = metrics_detail::count_masks(images);
  double iou = 0;
  std::int64_t intersection = 0, union_area = 0;
  for (const ImageOverlaps& image : images)
    for (const MaskOverlap& mask : image) {
      iou += overlap_iou(mask);
      intersection += mask.intersection;
      union_area += mask.union_area();
    }
  return {iou / static_cast<double>(masks), metrics_detail::pixel_ratio(intersection, union_area)};
}

/// The scores to the last digit as the original's validate() gives them on one process (LISA train_ds.py and
/// AverageMeter of utils/utils.py): everything is summed in float32 in the order of `images`, 1e-5 is added to each
/// union and to the number of masks, 1e-10 to the sum of the unions, and a mask with an empty union gets 1.
/// @throws InputError when there are no masks
[[nodiscard]] inline SegmentationScore original_score(std::span<const ImageOverlaps> images) {
  const std::size_t masks = metrics_detail::count_masks(images);
  float iou_sum = 0, intersection_sum = 0, union_sum = 0;
  for (const ImageOverlaps& image : images) {
    if (image.empty()) continue;
    float iou = 0, intersection = 0, union_area = 0;
    for (const MaskOverlap& mask : image) {
      const auto mask_intersection = static_cast<float>(mask.intersection);
      const auto mask_union = static_cast<float>(mask.union_area());
      intersection += mask_intersection;
      union_area += mask_union;
      iou += mask_intersection / (mask_union + 1e-5F);
      if (mask.union_area() == 0) iou += 1.0F;
    }
    // The mean is taken and undone again, with its rounding. The product is exact in double, so that no compiler can
    // fuse it with the sum.
    const float mean = iou / static_cast<float>(image.size());
    iou_sum += static_cast<float>(static_cast<double>(mean) * static_cast<double>(image.size()));
    intersection_sum += intersection;
    union_sum += union_area;
  }
  const auto count = static_cast<float>(static_cast<double>(static_cast<float>(masks)) + 1e-5);
  return {iou_sum / count, intersection_sum / (union_sum + 1e-10F)};
}

/// Scores of generalized referring expressions, whose target may be absent (Liu, Ding, Jiang: GRES, CVPR 2023).
struct GeneralizedScore {
  double giou = 0;  ///< mean over all expressions; an absent target gives 1 where nothing was predicted, else 0
  double ciou = 0;  ///< over all expressions
  std::optional<double> no_target_accuracy;  ///< N-acc: share of absent targets for which nothing was predicted
  std::optional<double> target_accuracy;     ///< T-acc: share of present targets for which something was predicted
};

/// Scores of gRefCOCO, one overlap per expression. A prediction of fewer than `smallest_area` pixels counts as none:
/// the paper's baselines take 50, its own evaluation of a model that says so itself takes any.
/// @throws InputError when there are no expressions
[[nodiscard]] inline GeneralizedScore generalized_score(std::span<const MaskOverlap> expressions,
                                                        std::int64_t smallest_area = 1) {
  if (expressions.empty()) throw InputError("score", found_expected("no expressions", "at least one"));
  double iou = 0;
  std::int64_t intersection = 0, union_area = 0, absent = 0, absent_right = 0, present_right = 0;
  for (MaskOverlap mask : expressions) {
    if (mask.predicted < smallest_area) mask = {.target = mask.target};
    if (mask.target == 0) {
      ++absent;
      absent_right += mask.predicted == 0;
    } else {
      present_right += mask.predicted != 0;
    }
    iou += overlap_iou(mask);
    intersection += mask.intersection;
    union_area += mask.union_area();
  }
  const auto count = static_cast<std::int64_t>(expressions.size());
  const auto share = [](std::int64_t part, std::int64_t whole) -> std::optional<double> {
    if (whole == 0) return std::nullopt;
    return static_cast<double>(part) / static_cast<double>(whole);
  };
  return {iou / static_cast<double>(count), metrics_detail::pixel_ratio(intersection, union_area),
          share(absent_right, absent), share(present_right, count - absent)};
}

}  // namespace lisa
