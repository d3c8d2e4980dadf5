#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "lisa/eval/evaluation_record.hpp"
#include "lisa/eval/metrics.hpp"
#include "lisa/eval/record_file.hpp"

namespace lisa {

/// A dialogue among those of an evaluation, and how well its masks were found.
struct ReportExample {
  std::size_t index = 0;     ///< of the sample in its data set
  std::size_t dialogue = 0;  ///< in the sample
  double iou = 0;            ///< mean over its masks, surplus ones included
  bool operator==(const ReportExample&) const = default;
};

/// A headed row of examples.
struct ReportSection {
  std::string title;
  std::vector<ReportExample> examples;
};

/// The dialogues with masks that a method found best, worst and in the middle, `count` each, at most one of a sample in
/// a section while others are left. Equal ones stand in the order of the data set.
[[nodiscard]] inline std::vector<ReportSection> choose_examples(const SampleRecords& records, Method method,
                                                                std::size_t count) {
  std::vector<ReportExample> all;
  for (const auto& [index, record] : records)
    for (std::size_t d = 0; d < record.dialogues.size(); ++d) {
      const MethodResult* result = record.dialogues[d].find(method);
      if (result == nullptr || result->overlaps.size() + result->surplus.size() == 0) continue;
      double sum = 0;
      for (const auto* overlaps : {&result->overlaps, &result->surplus})
        for (const MaskOverlap& overlap : *overlaps) sum += overlap_iou(overlap);
      all.push_back({index, d, sum / static_cast<double>(result->overlaps.size() + result->surplus.size())});
    }
  const auto take = [&](const std::vector<ReportExample>& ordered) {
    const auto seen_before = [&](std::size_t i) {
      const auto end = ordered.begin() + static_cast<std::ptrdiff_t>(i);
      return std::any_of(ordered.begin(), end, [&](const auto& other) { return other.index == ordered[i].index; });
    };
    std::vector<ReportExample> fresh, repeated;
    for (std::size_t i = 0; i < ordered.size() && fresh.size() < count; ++i)
      (seen_before(i) ? repeated : fresh).push_back(ordered[i]);
    for (std::size_t i = 0; i < repeated.size() && fresh.size() < count; ++i) fresh.push_back(repeated[i]);
    return fresh;
  };
  std::vector<ReportExample> best = all, worst = all, middle;
  const auto place = [](const ReportExample& example) { return std::pair(example.index, example.dialogue); };
  std::ranges::sort(best, [&](const ReportExample& a, const ReportExample& b) {
    return a.iou != b.iou ? a.iou > b.iou : place(a) < place(b);
  });
  std::ranges::sort(worst, [&](const ReportExample& a, const ReportExample& b) {
    return a.iou != b.iou ? a.iou < b.iou : place(a) < place(b);
  });
  const std::size_t half = best.size() / 2;
  for (std::size_t away = 0; middle.size() < best.size(); ++away) {
    if (half + away < best.size()) middle.push_back(best[half + away]);
    if (away > 0 && away <= half) middle.push_back(best[half - away]);
  }
  return {{"Best", take(best)}, {"Median", take(middle)}, {"Worst", take(worst)}};
}

}  // namespace lisa
