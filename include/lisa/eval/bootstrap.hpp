#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/data/random.hpp"
#include "lisa/eval/metrics.hpp"

namespace lisa {

/// Bounds of a confidence interval.
struct Interval {
  double low = 0;
  double high = 0;
  bool operator==(const Interval&) const = default;
};

/// How many resamples are drawn and what share of them the interval covers.
struct BootstrapOptions {
  int resamples = 1000;
  double confidence = 0.95;
};

/// Something computed from drawn indices; nothing where it is not defined for them, a share of an empty group for
/// instance.
template <class T>
concept ResampleStatistic = requires(const T& statistic, std::span<const std::size_t> indices) {
  { statistic(indices) } -> std::convertible_to<std::optional<double>>;
};

namespace bootstrap_detail {

/// Quantile of sorted values, linear between neighbours.
inline double quantile(const std::vector<double>& sorted, double probability) {
  const double at = probability * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace bootstrap_detail

/// The percentile bootstrap (Efron 1979): `statistic` of `count` indices below `count`, drawn with replacement, again
/// and again; the interval holds the middle `confidence` of the values. An index should stand for what is independent:
/// an image, not one of its masks. The same `random` gives the same interval on every platform.
/// @returns nothing when the statistic was not defined for any resample
/// @throws InputError for no indices or senseless options
template <ResampleStatistic Statistic>
[[nodiscard]] std::optional<Interval> bootstrap_interval(std::size_t count, const Statistic& statistic, Random& random,
                                                         const BootstrapOptions& options = {}) {
  if (count == 0) throw InputError("bootstrap", found_expected("nothing to draw from", "at least one"));
  if (options.resamples < 1 || !(options.confidence > 0 && options.confidence < 1))
    throw InputError("bootstrap", found_expected(std::to_string(options.resamples) + " resamples and a confidence of " +
                                                     std::to_string(options.confidence),
                                                 "at least 1 and between 0 and 1"));
  std::vector<std::size_t> drawn(count);
  std::vector<double> values;
  for (int i = 0; i < options.resamples; ++i) {
    for (std::size_t& index : drawn) index = static_cast<std::size_t>(random.below(count));
    if (const std::optional<double> value = statistic(std::span<const std::size_t>(drawn))) values.push_back(*value);
  }
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  const double tail = (1 - options.confidence) / 2;
  return Interval{bootstrap_detail::quantile(values, tail), bootstrap_detail::quantile(values, 1 - tail)};
}

/// Confidence intervals of `exact_score`, by drawing images.
struct ScoreIntervals {
  Interval giou;
  Interval ciou;
  bool operator==(const ScoreIntervals&) const = default;
};

/// `bootstrap_interval` of gIoU and cIoU; images without masks are left out. @throws InputError when there are no masks
[[nodiscard]] inline ScoreIntervals score_intervals(std::span<const ImageOverlaps> images, const Random& random,
                                                    const BootstrapOptions& options = {}) {
  struct Sums {
    double iou = 0;
    double masks = 0;
    std::int64_t intersection = 0;
    std::int64_t union_area = 0;
  };
  std::vector<Sums> sums;
  for (const ImageOverlaps& image : images) {
    if (image.empty()) continue;
    Sums& sum = sums.emplace_back();
    for (const MaskOverlap& mask : image) {
      sum.iou += overlap_iou(mask);
      sum.masks += 1;
      sum.intersection += mask.intersection;
      sum.union_area += mask.union_area();
    }
  }
  const auto giou = [&](std::span<const std::size_t> indices) {
    double iou = 0, masks = 0;
    for (const std::size_t i : indices) {
      iou += sums[i].iou;
      masks += sums[i].masks;
    }
    return std::optional(iou / masks);
  };
  const auto ciou = [&](std::span<const std::size_t> indices) {
    std::int64_t intersection = 0, union_area = 0;
    for (const std::size_t i : indices) {
      intersection += sums[i].intersection;
      union_area += sums[i].union_area;
    }
    return std::optional(metrics_detail::pixel_ratio(intersection, union_area));
  };
  // Both see the same resamples.
  Random for_giou = random, for_ciou = random;
  return {*bootstrap_interval(sums.size(), giou, for_giou, options),
          *bootstrap_interval(sums.size(), ciou, for_ciou, options)};
}

}  // namespace lisa
