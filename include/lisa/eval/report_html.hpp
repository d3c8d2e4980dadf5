#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/base64.hpp"
#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/data/label_mask.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/eval/evaluation_record.hpp"
#include "lisa/eval/metrics.hpp"
#include "lisa/eval/record_file.hpp"
#include "lisa/eval/report_examples.hpp"
#include "lisa/eval/summary.hpp"
#include "lisa/image/encode_png.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/overlay.hpp"
#include "lisa/image/preprocess.hpp"
#include "lisa/image/resize.hpp"
#include "lisa/image/rle.hpp"

namespace lisa {

namespace report_detail {

/// Text that stands in HTML as it is.
inline std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : printable(text, 4000)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

/// A picture whose legend can be read and whose file is not large: small ones are enlarged by whole numbers.
inline constexpr int narrowest = 320, widest = 640;

inline Image enlarged(const Image& image, int factor) {
  Image out = make_image({image.height * factor, image.width * factor});
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width; ++x) std::copy_n(image.row(y / factor) + x / factor * 3, 3, out.row(y) + x * 3);
  return out;
}

inline BitMask enlarged(const BitMask& mask, int factor) {
  BitMask out({mask.height() * factor, mask.width() * factor});
  for (int y = 0; y < out.height(); ++y)
    for (int x = 0; x < out.width(); ++x)
      if (mask.at(x / factor, y / factor)) out.set(x, y);
  return out;
}

/// A picture with masks, as an inline PNG.
inline std::string figure(const Image& image, const std::vector<BitMask>& masks, const std::vector<double>& scores,
                          const std::string& caption) {
  const int factor = std::max(1, narrowest / std::max(image.width, image.height));
  std::vector<BitMask> large;
  for (const BitMask& mask : masks) large.push_back(enlarged(mask, factor));
  std::vector<OverlayItem> items;
  for (std::size_t i = 0; i < large.size(); ++i)
    items.push_back({.mask = &large[i],
                     .phrase = i < scores.size() ? "IoU" : "mask",
                     .score = i < scores.size() ? scores[i] : -1.0});
  Image picture = draw_overlay(enlarged(image, factor), items);
  const int side = std::max(picture.width, picture.height);
  if (side > widest) picture = resize(picture, longest_side_size(picture.size(), widest), Resample::bilinear);
  return "<figure><img src=\"data:image/png;base64," + base64(encode_png(picture)) + "\" alt=\"" + escaped(caption) +
         "\"><figcaption>" + escaped(caption) + "</figcaption></figure>\n";
}

/// Whether every mask that a model gave belongs to a target and every target has one.
inline bool masks_pair_up(const DialogueRecord& record, const MethodResult& result) {
  for (std::size_t i = 0; i < result.mask_counts.size(); ++i)
    if (result.mask_counts[i] != expected_masks(record.exchanges.at(i))) return false;
  return result.masks.size() == result.overlaps.size();
}

/// IoU of every mask that a model gave, in their order; nothing where they do not pair up with the targets.
inline std::vector<double> scores_of(const DialogueRecord& record, const MethodResult& result) {
  std::vector<double> scores;
  if (!masks_pair_up(record, result)) return scores;
  for (const MaskOverlap& overlap : result.overlaps) scores.push_back(overlap_iou(overlap));
  return scores;
}

inline std::string percent(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f %%", 100 * value);
  return text.data();
}

inline std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::string html = "<div class=\"wide\"><table>\n";
  for (std::size_t r = 0; r < rows.size(); ++r) {
    html += "<tr>";
    for (const std::string& cell : rows[r])
      html += (r == 0 ? "<th>" : "<td>") + escaped(cell) + (r == 0 ? "</th>" : "</td>");
    html += "</tr>\n";
  }
  return html + "</table></div>\n";
}

/// One example: the words, then the targets beside the method's masks.
inline std::string article(const DialogueRecord& record, Method method, const ReportExample& example,
                           const Sample& sample) {
  const MethodResult* result = record.find(method);
  if (result == nullptr || example.dialogue >= sample.dialogues.size())
    throw InputError("report", found_expected("an example that its sample does not hold", "one of the records"));
  std::string html = "<article>\n<p class=\"quiet\">" + escaped(sample.id) +
                     (record.group.empty() ? std::string() : " \u00b7 " + escaped(record.group)) + " \u00b7 IoU " +
                     percent(example.iou) + "</p>\n";
  for (std::size_t i = 0; i < record.exchanges.size(); ++i) {
    html += "<p><b>Question</b> " + escaped(record.exchanges[i].question) + "</p>\n<p><b>Expected</b> " +
            escaped(record.exchanges[i].answer) + "</p>\n";
    if (i < result->answers.size()) html += "<p><b>Answer</b> " + escaped(result->answers[i]) + "</p>\n";
  }
  std::vector<BitMask> wanted, found;
  for (const LabelMask& mask : sample.dialogues[example.dialogue].masks) wanted.push_back(foreground(mask));
  for (const CocoRle& mask : result->masks) found.push_back(decode_rle(mask));
  return html + "<div class=\"figures\">\n" + figure(sample.image, wanted, {}, "Expected") +
         figure(sample.image, found, scores_of(record, *result), "Found") + "</div>\n</article>\n";
}

inline constexpr std::string_view head = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; --text: #1d1d1f; --quiet: #5c5c66; --page: #ffffff; --panel: #f3f3f6; --line: #d0d0d8; }
@media (prefers-color-scheme: dark) {
  :root { --text: #ececf0; --quiet: #a6a6b2; --page: #17171b; --panel: #232329; --line: #45454f; }
}
body { color: var(--text); background: var(--page); font: 16px/1.5 system-ui, sans-serif; max-width: 72rem;
  margin: 0 auto; padding: 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .8rem .3rem 0; text-align: left; white-space: nowrap; }
.wide { overflow-x: auto; }
article { background: var(--panel); border: 1px solid var(--line); border-radius: .5rem; padding: .8rem 1rem;
  margin: 1rem 0; }
article p { margin: .2rem 0; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; margin-top: .6rem; }
figure { margin: 0; max-width: 100%; }
img { max-width: 100%; height: auto; display: block; background: #ffffff; }
figcaption, .quiet { color: var(--quiet); font-size: .9rem; }
</style>
)";

}  // namespace report_detail

/// What a report shows.
struct Report {
  std::string title;
  std::vector<std::pair<std::string, std::string>> facts;  ///< model, data set ...: name and value
  std::vector<MethodSummary> summaries;
  ScoreRule rule = ScoreRule::exact;
  Method method = Method::free_running;  ///< whose masks the examples show
  std::vector<ReportSection> sections;   ///< as `choose_examples`
};

/// A report as one HTML file that needs nothing else: the table of results, then for every example its questions, the
/// right and the given answers, and two pictures, of the targets and of the method's masks. Readable on light and dark
/// screens.
/// @param records holds the examples
/// @param read    the sample at an index, as it was evaluated
/// @throws what `read` throws; InputError where a record does not fit its sample
template <class ReadSample>
[[nodiscard]] std::string report_html(const Report& report, const SampleRecords& records, const ReadSample& read) {
  using namespace report_detail;
  std::string html(head);
  html += "<title>" + escaped(report.title) + "</title>\n</head>\n<body>\n<h1>" + escaped(report.title) + "</h1>\n";
  html += "<p class=\"quiet\">";
  for (std::size_t i = 0; i < report.facts.size(); ++i)
    html += (i == 0 ? "" : " \u00b7 ") + escaped(report.facts[i].first) + " " + escaped(report.facts[i].second);
  html += "</p>\n" + table(summary_table(report.summaries, report.rule));
  html += "<p class=\"quiet\">Percent; brackets hold the 95 % confidence interval of the bootstrap over images.</p>\n";
  for (const ReportSection& section : report.sections) {
    if (section.examples.empty()) continue;
    html += "<h2>" + escaped(section.title) + " (" + escaped(to_string(report.method)) + ")</h2>\n";
    for (const ReportExample& example : section.examples)
      html += article(records.at(example.index).dialogues.at(example.dialogue), report.method, example,
                      read(example.index));
  }
  return html + "</body>\n</html>\n";
}

}  // namespace lisa
