#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lisa/data/random.hpp"
#include "lisa/data/tabletop/phrases.hpp"
#include "lisa/data/tabletop/pictures.hpp"
#include "lisa/files/atomic_write.hpp"
#include "lisa/files/json.hpp"
#include "lisa/image/mask.hpp"
#include "lisa/image/polygon.hpp"

namespace lisa::tabletop {

namespace reason_detail {

/// What is asked about a picture: wordings of questions with one target, and why it is the target.
struct Asked {
  std::vector<std::string> texts;
  bool is_sentence = false;
  std::size_t object = 0;
  std::string reason;
};

/// Facts about one object, in up to five wordings; every fourth picture, and those without a fact to ask for, have a
/// phrase instead.
[[nodiscard]] inline Asked ask(const Picture& picture, Random& random) {
  constexpr std::array makers{fact_of_use, fact_of_use, fact_of_material, fact_of_place, fact_of_user};
  constexpr std::size_t most_texts = 5;
  const View view{picture.scene(), picture.style, random};
  Asked asked;
  for (int i = 0; picture.number % 4 != 0 && i < 20; ++i) {
    const std::optional<FactQuestion> fact = makers[static_cast<std::size_t>(random.below(makers.size()))](view);
    if (!fact || (asked.is_sentence && fact->object != asked.object)) continue;
    if (!asked.is_sentence) asked = {{}, true, fact->object, fact->reason};
    const bool repeated = std::find(asked.texts.begin(), asked.texts.end(), fact->sentence) != asked.texts.end();
    if (!repeated && asked.texts.size() < most_texts) asked.texts.push_back(fact->sentence);
  }
  if (asked.is_sentence) return asked;
  const std::optional<Phrase> phrase = by_color_and_kind(view);
  return {{phrase->name}, false, phrase->objects.front(), {}};
}

inline void append_shapes(const MaskContours& contours, const std::string& label, Json& shapes) {
  for (const std::vector<cv::Point>& contour : contours.outer) {
    Json& shape = shapes.emplace_back(Json::object());
    shape["label"] = label;
    shape["shape_type"] = "polygon";
    shape["points"] = Json::array();
    for (const cv::Point& point : contour) {
      Json& pair = shape["points"].emplace_back(Json::array());
      pair.push_back(point.x);
      pair.push_back(point.y);
    }
  }
}

/// What the outlines of a mask enclose besides it.
[[nodiscard]] inline BitMask holes_of(const BitMask& mask, const MaskContours& contours) {
  cv::Mat filled = cv::Mat::zeros(mask.height(), mask.width(), CV_8UC1);
  cv::fillPoly(filled, contours.outer, 1);
  BitMask holes(mask.size());
  for (int y = 0; y < mask.height(); ++y)
    for (int x = 0; x < mask.width(); ++x)
      if (filled.at<std::uint8_t>(y, x) != 0 && !mask.at(x, y)) holes.set(x, y);
  return holes;
}

[[nodiscard]] inline Json annotation(const Picture& picture, const Asked& asked) {
  Json file = Json::object();
  file["text"] = asked.texts;
  file["is_sentence"] = asked.is_sentence;
  file["shapes"] = Json::array();
  const BitMask& mask = picture.objects[asked.object];
  const MaskContours contours = mask_contours(mask);
  append_shapes(contours, "target", file["shapes"]);
  append_shapes(mask_contours(holes_of(mask, contours)), "ignore", file["shapes"]);
  return file;
}

}  // namespace reason_detail

/// ReasonSeg's layout below `root`: splits train and val; what a handle encloses is ignored, as an outline cannot leave
/// it out. Every other training picture asked for by a sentence has an explanation.
inline void write_reason_seg(const std::filesystem::path& root, const std::vector<Picture>& pictures) {
  const std::filesystem::path folder = root / "reason_seg" / "ReasonSeg";
  Json explanations = Json::array();
  for (const Picture& picture : pictures) {
    Random random = picture_random(picture, 0);
    const reason_detail::Asked asked = reason_detail::ask(picture, random);
    const std::filesystem::path split = made_folder(folder / (picture.training ? "train" : "val"));
    write_file(split / picture.file_name(), picture.jpeg);
    write_json(split / (picture.stem + ".json"), reason_detail::annotation(picture, asked));
    if (!picture.training || !asked.is_sentence || picture.number % 2 == 0) continue;
    Json& explanation = explanations.emplace_back(Json::object());
    explanation["image"] = picture.file_name();
    explanation["query"] = asked.texts.front();
    explanation["outputs"] = asked.reason;
  }
  write_json(folder / "explanatory" / "train.json", explanations);
}

}  // namespace lisa::tabletop
