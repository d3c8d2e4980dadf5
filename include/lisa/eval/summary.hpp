#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/data/random.hpp"
#include "lisa/eval/bootstrap.hpp"
#include "lisa/eval/evaluation_record.hpp"
#include "lisa/eval/metrics.hpp"
#include "lisa/eval/record_file.hpp"
#include "lisa/files/json.hpp"
#include "lisa/text/seg_mark.hpp"

namespace lisa {

/// A share with its confidence interval.
struct Rate {
  double value = 0;
  Interval interval{};
};

/// Scores of one method on one group of dialogues. What has no meaning for them is empty.
struct MethodSummary {
  Method method{};
  std::optional<std::string> group{};  ///< nothing: all dialogues
  std::size_t images = 0;
  std::size_t dialogues = 0;
  std::size_t targets = 0;  ///< masks that were to be found
  std::size_t surplus = 0;  ///< masks that were found beyond them
  std::optional<SegmentationScore> exact{};
  std::optional<ScoreIntervals> intervals{};      ///< of `exact`
  std::optional<SegmentationScore> original{};    ///< as the original sums them
  std::optional<GeneralizedScore> generalized{};  ///< where targets are absent; surplus masks are left out
  std::optional<Rate> exact_answers{};            ///< share of answers that are the right text
  std::optional<Rate> mask_counts{};              ///< share of exchanges with as many masks as targets
};

struct SummaryOptions {
  BootstrapOptions bootstrap{};
  std::uint64_t seed = 0;          ///< of the bootstrap
  std::int64_t smallest_area = 1;  ///< as `generalized_score`
};

/// A text for comparison: white space around `[SEG]`, which decoding adds, and at the ends is dropped; elsewhere it
/// counts as one blank.
[[nodiscard]] inline std::string normalized_answer(std::string_view text) {
  const auto is_blank = [](char c) { return std::string_view(" \t\r\n").find(c) != std::string_view::npos; };
  std::string out;
  bool blank = false;
  for (std::size_t at = 0; at < text.size();) {
    if (is_blank(text[at])) {
      blank = true;
      ++at;
      continue;
    }
    const bool seg = text.substr(at).starts_with(seg_mark);
    if (blank && !out.empty() && !seg && !out.ends_with(seg_mark)) out += ' ';
    blank = false;
    const std::size_t size = seg ? seg_mark.size() : 1;
    out += text.substr(at, size);
    at += size;
  }
  return out;
}

namespace summary_detail {

/// Answers and masks of one image that were as wanted.
struct SpokenCounts {
  double exchanges = 0;
  double exact = 0;
  double counts = 0;
};

inline SpokenCounts count_spoken(const DialogueRecord& dialogue, const MethodResult& result) {
  SpokenCounts sums;
  for (std::size_t i = 0; i < std::min(result.answers.size(), dialogue.exchanges.size()); ++i) {
    sums.exchanges += 1;
    sums.exact += normalized_answer(result.answers[i]) == normalized_answer(dialogue.exchanges[i].answer) ? 1 : 0;
    sums.counts += result.mask_counts[i] == expected_masks(dialogue.exchanges[i]) ? 1 : 0;
  }
  return sums;
}

/// `part` summed over `exchanges` summed, with its interval over images; nothing without exchanges.
inline std::optional<Rate> rate(const std::vector<SpokenCounts>& images, double SpokenCounts::* part,
                                const SummaryOptions& options) {
  const auto share = [&](std::span<const std::size_t> indices) -> std::optional<double> {
    double right = 0, all = 0;
    for (const std::size_t i : indices) {
      right += images[i].*part;
      all += images[i].exchanges;
    }
    return all == 0 ? std::nullopt : std::optional(right / all);
  };
  if (images.empty()) return std::nullopt;
  std::vector<std::size_t> every(images.size());
  for (std::size_t i = 0; i < every.size(); ++i) every[i] = i;
  const std::optional<double> value = share(every);
  if (!value) return std::nullopt;
  Random random{options.seed};
  return Rate{*value, bootstrap_interval(images.size(), share, random, options.bootstrap).value_or(Interval{})};
}

inline MethodSummary summarize_group(const SampleRecords& records, Method method,
                                     const std::optional<std::string>& group, const SummaryOptions& options) {
  MethodSummary summary{.method = method, .group = group};
  std::vector<ImageOverlaps> images;
  std::vector<MaskOverlap> expressions;
  std::vector<SpokenCounts> spoken;
  for (const auto& [index, record] : records) {
    ImageOverlaps overlaps;
    SpokenCounts said;
    std::size_t dialogues = 0;
    for (const DialogueRecord& dialogue : record.dialogues) {
      const MethodResult* result = dialogue.find(method);
      if (result == nullptr || (group && dialogue.group != *group)) continue;
      ++dialogues;
      summary.targets += result->overlaps.size();
      summary.surplus += result->surplus.size();
      overlaps.insert(overlaps.end(), result->overlaps.begin(), result->overlaps.end());
      overlaps.insert(overlaps.end(), result->surplus.begin(), result->surplus.end());
      expressions.insert(expressions.end(), result->overlaps.begin(), result->overlaps.end());
      const SpokenCounts counts = count_spoken(dialogue, *result);
      said.exchanges += counts.exchanges;
      said.exact += counts.exact;
      said.counts += counts.counts;
    }
    if (dialogues == 0) continue;
    ++summary.images;
    summary.dialogues += dialogues;
    images.push_back(std::move(overlaps));
    spoken.push_back(said);
  }
  if (summary.targets + summary.surplus > 0) {
    summary.exact = exact_score(images);
    summary.original = original_score(images);
    summary.intervals = score_intervals(images, Random{options.seed}, options.bootstrap);
  }
  if (std::ranges::any_of(expressions, [](const MaskOverlap& overlap) { return overlap.target == 0; }))
    summary.generalized = generalized_score(expressions, options.smallest_area);
  summary.exact_answers = rate(spoken, &SpokenCounts::exact, options);
  summary.mask_counts = rate(spoken, &SpokenCounts::counts, options);
  return summary;
}

}  // namespace summary_detail

/// Scores of every method that the records hold: over all dialogues and, where groups are named, for each group in the
/// order of its first dialogue. Confidence intervals come from drawing images with replacement.
[[nodiscard]] inline std::vector<MethodSummary> summarize(const SampleRecords& records,
                                                          const SummaryOptions& options = {}) {
  std::vector<std::string> groups;
  std::vector<Method> methods;
  for (const auto& [index, record] : records)
    for (const DialogueRecord& dialogue : record.dialogues) {
      if (std::ranges::find(groups, dialogue.group) == groups.end()) groups.push_back(dialogue.group);
      for (const MethodResult& result : dialogue.results)
        if (std::ranges::find(methods, result.method) == methods.end()) methods.push_back(result.method);
    }
  std::ranges::sort(methods);
  const bool by_group = groups.size() > 1 || (groups.size() == 1 && !groups.front().empty());
  std::vector<MethodSummary> summaries;
  for (const Method method : methods) {
    summaries.push_back(summary_detail::summarize_group(records, method, std::nullopt, options));
    if (!by_group) continue;
    for (const std::string& group : groups) {
      MethodSummary summary = summary_detail::summarize_group(records, method, group, options);
      if (summary.dialogues > 0) summaries.push_back(std::move(summary));
    }
  }
  return summaries;
}

/// Summaries as a list of JSON objects; the group of all dialogues is null.
[[nodiscard]] inline Json summaries_json(const std::vector<MethodSummary>& summaries) {
  const auto number = [](const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); };
  const auto interval = [](const Interval& bounds) { return Json{bounds.low, bounds.high}; };
  Json list = Json::array();
  for (const MethodSummary& summary : summaries) {
    Json json{{"method", to_string(summary.method)},
              {"group", summary.group ? Json(*summary.group) : Json(nullptr)},
              {"images", summary.images},
              {"dialogues", summary.dialogues},
              {"targets", summary.targets},
              {"surplus_masks", summary.surplus}};
    if (summary.exact) {
      json["giou"] = summary.exact->giou;
      json["ciou"] = summary.exact->ciou;
      json["giou_interval"] = interval(summary.intervals->giou);
      json["ciou_interval"] = interval(summary.intervals->ciou);
      json["original_giou"] = summary.original->giou;
      json["original_ciou"] = summary.original->ciou;
    }
    if (summary.generalized) {
      json["generalized_giou"] = summary.generalized->giou;
      json["generalized_ciou"] = summary.generalized->ciou;
      json["no_target_accuracy"] = number(summary.generalized->no_target_accuracy);
      json["target_accuracy"] = number(summary.generalized->target_accuracy);
    }
    for (const auto& [name, rate] :
         {std::pair("exact_answers", &summary.exact_answers), std::pair("mask_counts_right", &summary.mask_counts)})
      if (*rate) {
        json[name] = (*rate)->value;
        json[std::string(name) + "_interval"] = interval((*rate)->interval);
      }
    list.push_back(std::move(json));
  }
  return list;
}

/// Which of the two ways of summing a table shows.
enum class ScoreRule { exact, original };

/// Summaries as rows of text under a row of headings; scores in percent, confidence intervals of the exact ones in
/// brackets.
[[nodiscard]] inline std::vector<std::vector<std::string>> summary_table(const std::vector<MethodSummary>& summaries,
                                                                         ScoreRule rule = ScoreRule::exact) {
  const auto percent = [](double value) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.1f", 100 * value);
    return std::string(text.data());
  };
  const auto with_interval = [&](double value, const Interval& bounds) {
    return percent(value) + " [" + percent(bounds.low) + ", " + percent(bounds.high) + "]";
  };
  const auto maybe = [&](const std::optional<double>& value) { return value ? percent(*value) : std::string("-"); };
  const auto maybe_rate = [&](const std::optional<Rate>& rate) {
    return rate ? with_interval(rate->value, rate->interval) : std::string("-");
  };
  const bool generalized = std::ranges::any_of(summaries, [](const auto& s) { return s.generalized.has_value(); });
  std::vector<std::vector<std::string>> rows{{"method", "group", "images", "masks", "gIoU", "cIoU"}};
  if (generalized) rows.front().insert(rows.front().end(), {"N-acc", "T-acc"});
  rows.front().insert(rows.front().end(), {"exact answer", "[SEG] count"});
  for (const MethodSummary& summary : summaries) {
    std::vector<std::string>& row = rows.emplace_back();
    row = {std::string(to_string(summary.method)), summary.group.value_or("all"), std::to_string(summary.images),
           std::to_string(summary.targets)};
    if (!summary.exact) {
      row.insert(row.end(), {"-", "-"});
    } else if (rule == ScoreRule::exact) {
      row.push_back(with_interval(summary.exact->giou, summary.intervals->giou));
      row.push_back(with_interval(summary.exact->ciou, summary.intervals->ciou));
    } else {
      row.push_back(percent(summary.original->giou));
      row.push_back(percent(summary.original->ciou));
    }
    if (generalized) {
      const auto& score = summary.generalized;
      row.push_back(maybe(score ? score->no_target_accuracy : std::nullopt));
      row.push_back(maybe(score ? score->target_accuracy : std::nullopt));
    }
    row.push_back(maybe_rate(summary.exact_answers));
    row.push_back(maybe_rate(summary.mask_counts));
  }
  return rows;
}

}  // namespace lisa
