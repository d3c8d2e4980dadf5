#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/data/label_mask.hpp"
#include "lisa/data/loader.hpp"
#include "lisa/data/opened_data_set.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/text/image_placeholder.hpp"
#include "lisa/text/seg_mark.hpp"

namespace lisa {

/// What a data set holds and what is wrong with it.
struct DataReport {
  std::string name;
  std::size_t samples = 0;
  std::size_t readable = 0;  ///< samples that could be read
  std::size_t dialogues = 0;
  std::size_t questions = 0;
  std::size_t masks = 0;
  std::size_t empty_masks = 0;      ///< without a foreground pixel: right only for an absent object
  std::size_t ignored_masks = 0;    ///< with no pixel but ignored ones: every answer scores as empty against empty
  double foreground = 0;            ///< mean share of an image that a mask covers, of masks that are not empty
  std::int64_t smallest_mask = 0;   ///< foreground pixels of the smallest mask that is not empty
  std::int64_t smallest_image = 0;  ///< pixels
  std::int64_t largest_image = 0;   ///< pixels
  std::map<std::string, std::size_t> groups;  ///< dialogues by group; "" holds those without one
  Defects defects;                            ///< samples that cannot be used, and why
  Defects notes;                              ///< what may be meant so: warnings of the files, empty and ignored masks
};

/// How a data set is gone through.
struct DataCheck {
  int threads = 2;
  std::uint64_t seed = 0;  ///< of what the set leaves to chance
  std::function<void(std::size_t done)> progress;
};

namespace detail {

/// What one sample adds to a report.
struct SampleFindings {
  std::optional<std::string> id;  ///< nothing when the sample cannot be read
  std::int64_t pixels = 0;
  std::size_t questions = 0;
  std::vector<std::string> groups;
  std::vector<std::int64_t> mask_areas;  ///< foreground pixels of each mask
  std::size_t ignored_masks = 0;
  std::vector<std::string> defects;
  std::vector<std::string> notes;
};

inline void find_in_texts(const Dialogue& dialogue, const std::string& place, SampleFindings& findings) {
  std::size_t marks = 0;
  for (const Exchange& exchange : dialogue.exchanges) {
    ++findings.questions;
    for (const std::string* text : {&exchange.question, &exchange.answer}) {
      const std::string which = text == &exchange.question ? "question" : "answer";
      marks += count_segs(*text);
      if (text->empty()) findings.defects.push_back(place + "nothing in the " + which);
      if (count_images(*text) > 0) findings.defects.push_back(place + "\"<image>\" in the " + which);
    }
  }
  if (dialogue.exchanges.empty()) findings.defects.push_back(place + "no question");
  if (marks != dialogue.masks.size())
    findings.defects.push_back(place + std::to_string(dialogue.masks.size()) + " masks for " + std::to_string(marks) +
                               " [SEG]");
}

inline void find_in_masks(const Dialogue& dialogue, ImageSize image, const std::string& place,
                          SampleFindings& findings) {
  for (std::size_t m = 0; m < dialogue.masks.size(); ++m) {
    const LabelMask& mask = dialogue.masks[m];
    const std::string which = place + "mask " + std::to_string(m + 1) + " ";
    const std::size_t pixels = static_cast<std::size_t>(mask.size.height) * static_cast<std::size_t>(mask.size.width);
    if (mask.size != image || mask.labels.size() != pixels) {
      findings.defects.push_back(which + "is " + shown_size(mask.size) + ", the image " + shown_size(image));
      continue;
    }
    const auto ignored = std::count(mask.labels.begin(), mask.labels.end(), LabelMask::ignored);
    const auto background = std::count(mask.labels.begin(), mask.labels.end(), std::uint8_t{0});
    const auto area = static_cast<std::int64_t>(pixels) - ignored - background;
    findings.mask_areas.push_back(area);
    if (area > 0) continue;
    if (background == 0) ++findings.ignored_masks;
    findings.notes.push_back(which + (background == 0 ? "holds ignored pixels alone" : "is empty"));
  }
}

[[nodiscard]] inline SampleFindings findings_of(const DataSet& set, std::size_t index, std::uint64_t seed) {
  SampleFindings findings;
  try {
    Random random{seed, index};
    const Sample sample = set.read(index, random);
    findings.id = sample.id;
    findings.pixels = std::int64_t{sample.image.height} * sample.image.width;
    if (sample.dialogues.empty()) findings.defects.emplace_back("no conversation");
    for (std::size_t d = 0; d < sample.dialogues.size(); ++d) {
      const std::string place =
          sample.dialogues.size() == 1 ? std::string() : "conversation " + std::to_string(d + 1) + ": ";
      findings.groups.push_back(sample.dialogues[d].group);
      find_in_texts(sample.dialogues[d], place, findings);
      find_in_masks(sample.dialogues[d], sample.image.size(), place, findings);
    }
  } catch (const Error& error) {
    findings.defects.emplace_back(error.what());
  }
  return findings;
}

/// Adds samples to a report, in their order.
class DataReportBuilder {
 public:
  explicit DataReportBuilder(const OpenedDataSet& opened) {
    report_.name = opened.data_set.name;
    report_.samples = opened.data_set.size;
    for (const std::string& warning : opened.warnings) report_.notes.add(warning);
    if (opened.data_set.size == 0) report_.defects.add("no samples");
  }

  void add(const SampleFindings& findings, std::size_t index) {
    const std::string sample =
        "sample " + std::to_string(index) + (findings.id ? " (" + printable(*findings.id) + ")" : std::string()) + ": ";
    for (const std::string& defect : findings.defects) report_.defects.add(sample + defect);
    for (const std::string& note : findings.notes) report_.notes.add(sample + note);
    if (!findings.id) return;
    if (!ids_.insert(*findings.id).second) report_.notes.add(sample + "another sample has the same name");
    report_.smallest_image =
        report_.readable == 0 ? findings.pixels : std::min(report_.smallest_image, findings.pixels);
    report_.largest_image = std::max(report_.largest_image, findings.pixels);
    ++report_.readable;
    report_.dialogues += findings.groups.size();
    report_.questions += findings.questions;
    for (const std::string& group : findings.groups) ++report_.groups[group];
    add_masks(findings);
  }

  [[nodiscard]] DataReport finish() {
    const std::size_t covering = report_.masks - report_.empty_masks;
    if (covering > 0) report_.foreground = covered_ / static_cast<double>(covering);
    return std::move(report_);
  }

 private:
  void add_masks(const SampleFindings& findings) {
    report_.masks += findings.mask_areas.size();
    report_.ignored_masks += findings.ignored_masks;
    for (const std::int64_t area : findings.mask_areas) {
      if (area == 0) {
        ++report_.empty_masks;
        continue;
      }
      covered_ += static_cast<double>(area) / static_cast<double>(findings.pixels);
      report_.smallest_mask = report_.smallest_mask == 0 ? area : std::min(report_.smallest_mask, area);
    }
  }

  DataReport report_;
  double covered_ = 0;
  std::unordered_set<std::string> ids_;
};

}  // namespace detail

/// Reads every sample of a data set and reports what it holds, which samples are broken and why, and which masks are
/// empty: all findings at once, the first of them in full. Never throws for what a sample holds.
/// @throws InputError for less than one thread
[[nodiscard]] inline DataReport check_data_set(const OpenedDataSet& opened, const DataCheck& check = {}) {
  detail::DataReportBuilder builder(opened);
  const DataSet& set = opened.data_set;
  if (set.size == 0) return builder.finish();
  Loader<detail::SampleFindings> loader(set.size,
                                        [&](const SamplePlace& place) {
                                          return detail::findings_of(set, static_cast<std::size_t>(place.index),
                                                                     check.seed);
                                        },
                                        {}, {.threads = check.threads, .prefetch = 4 * check.threads, .end_epoch = 1});
  for (std::size_t index = 0; auto findings = loader.next(); ++index) {
    builder.add(*findings, index);
    if (check.progress) check.progress(index + 1);
  }
  return builder.finish();
}

}  // namespace lisa
