#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/mask.hpp"
#include "lisa/image/polygon.hpp"

namespace lisa {

/// One mask of an overlay and what its line in the legend says.
struct OverlayItem {
  const BitMask* mask = nullptr;  ///< of the picture's size
  std::string phrase;             ///< may be long: it is wrapped; characters outside ASCII are drawn as '?'
  double score = -1.0;            ///< shown with two decimals; not shown when negative
};

/// Red, green, blue.
using Color = std::array<std::uint8_t, 3>;

/// Colours that stay apart under the common forms of colour blindness (Okabe and Ito, "Color Universal Design", 2008;
/// its black is left out because outlines are black). Beyond seven masks they repeat and the numbers tell them apart.
inline constexpr std::array<Color, 7> overlay_palette{
    {{230, 159, 0}, {86, 180, 233}, {0, 158, 115}, {240, 228, 66}, {0, 114, 178}, {213, 94, 0}, {204, 121, 167}}};

namespace overlay_detail {

inline constexpr int most_lines = 6;  // of one phrase; the rest is cut and marked

inline cv::Scalar scalar(const Color& c) { return {double(c[0]), double(c[1]), double(c[2])}; }

/// Sizes of lines and letters for a picture of this width.
struct Style {
  double font_scale;
  int thickness;  // of outlines, pixels
  int line_height;
  int margin;

  explicit Style(int width)
      : font_scale(std::clamp(width / 1600.0, 0.45, 3.0)),
        thickness(std::max(1, width / 400)),
        line_height(static_cast<int>(34 * font_scale)),
        margin(static_cast<int>(10 * font_scale)) {}

  [[nodiscard]] int stroke() const { return font_scale < 0.8 ? 1 : static_cast<int>(font_scale * 1.5); }
  [[nodiscard]] cv::Size text_size(const std::string& text) const {
    int baseline = 0;
    return cv::getTextSize(text, cv::FONT_HERSHEY_SIMPLEX, font_scale, stroke(), &baseline);
  }
  void draw(cv::Mat& target, const std::string& text, cv::Point at, const cv::Scalar& color, int extra = 0) const {
    cv::putText(target, text, at, cv::FONT_HERSHEY_SIMPLEX, font_scale, color, stroke() + extra, cv::LINE_AA);
  }
};

/// Printable ASCII, which is all that OpenCV's letters cover; one '?' for each other character.
inline std::string drawable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F) {
      out += c;
    } else if (byte == '\n' || byte == '\t') {
      out += ' ';
    } else if (byte < 0x80 || byte >= 0xC0) {  // control characters and first bytes of UTF-8 sequences
      out += '?';
    }
  }
  return out;
}

/// `text` cut into lines of at most `width` pixels, at blanks where there are any; at most `most_lines`.
inline std::vector<std::string> wrap(std::string_view text, int width, const Style& style) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    std::size_t fits = 1;
    while (fits < text.size() && style.text_size(std::string(text.substr(0, fits + 1))).width <= width) ++fits;
    if (fits < text.size()) {
      const std::size_t blank = text.substr(0, fits + 1).rfind(' ');
      if (blank != std::string_view::npos && blank > 0) fits = blank;
    }
    lines.emplace_back(text.substr(0, fits));
    text.remove_prefix(fits);
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    if (lines.size() == most_lines && !text.empty()) {
      lines.back() += " ...";
      break;
    }
  }
  return lines;
}

/// Mixes `color` into the pixels of `mask`: out = (pixel + color) / 2.
inline void blend(Image& image, const BitMask& mask, const Color& color) {
  for (int y = 0; y < image.height; ++y) {
    const BitMask::Word* words = mask.row(y);
    for (int x = 0; x < image.width; ++x) {
      const BitMask::Word word = words[x / BitMask::word_bits];
      if (word == 0) {
        x |= BitMask::word_bits - 1;  // the loop goes on with the next word
        continue;
      }
      if ((word >> (x % BitMask::word_bits) & 1) == 0) continue;
      std::uint8_t* pixel = image.row(y) + static_cast<std::size_t>(x) * 3;
      for (std::size_t c = 0; c < 3; ++c) pixel[c] = static_cast<std::uint8_t>((pixel[c] + color[c]) / 2);
    }
  }
}

/// The pixel of `mask` around its largest part that is farthest from background; -1, -1 in an empty mask.
inline cv::Point deepest_pixel(const BitMask& mask, const MaskContours& contours) {
  const auto largest = std::max_element(contours.outer.begin(), contours.outer.end(), [](const auto& a, const auto& b) {
    return cv::contourArea(a) < cv::contourArea(b);
  });
  if (largest == contours.outer.end()) return {-1, -1};
  const cv::Rect box = cv::boundingRect(*largest);
  // A quarter of a megapixel tells the place well enough, whatever the picture's size.
  const int step = 1 + static_cast<int>(std::sqrt(static_cast<double>(box.width) * box.height / 262144.0));
  const int rows = (box.height + step - 1) / step, columns = (box.width + step - 1) / step;
  cv::Mat sampled = cv::Mat::zeros(rows + 2, columns + 2, CV_8UC1);  // with a border of background
  for (int y = 0; y < rows; ++y)
    for (int x = 0; x < columns; ++x)
      sampled.at<std::uint8_t>(y + 1, x + 1) = mask.at(box.x + x * step, box.y + y * step) ? 1 : 0;
  cv::Mat distance;
  cv::distanceTransform(sampled, distance, cv::DIST_L2, 3);
  cv::Point deepest;
  cv::minMaxLoc(distance, nullptr, nullptr, nullptr, &deepest);
  return {box.x + std::max(0, deepest.x - 1) * step, box.y + std::max(0, deepest.y - 1) * step};
}

/// Draws the number of a mask centred on `place`, moved inside the picture where it would leave it.
inline void draw_number(cv::Mat& picture, cv::Point place, const std::string& number, const Style& style) {
  const cv::Size text = style.text_size(number);
  const cv::Point at(std::clamp(place.x - text.width / 2, 0, std::max(0, picture.cols - text.width)),
                     std::clamp(place.y + text.height / 2, text.height, std::max(text.height, picture.rows - 1)));
  style.draw(picture, number, at, cv::Scalar(0, 0, 0), 2);
  style.draw(picture, number, at, cv::Scalar(255, 255, 255));
}

}  // namespace overlay_detail

/// `image` with every mask tinted, outlined and numbered, above a legend that repeats number and colour beside phrase
/// and score. The picture keeps its size in the upper left; the legend is added below it, and a picture narrower than
/// 320 pixels is widened with white. Throws InputError for an invalid image or a mask of another size.
[[nodiscard]] inline Image draw_overlay(const Image& image, std::span<const OverlayItem> items) {
  using namespace overlay_detail;
  require_valid(image);
  for (std::size_t i = 0; i < items.size(); ++i)
    if (items[i].mask == nullptr || items[i].mask->size() != image.size())
      throw InputError("mask " + std::to_string(i + 1),
                       found_expected(items[i].mask == nullptr ? "none"
                                                               : std::to_string(items[i].mask->width()) + "x" +
                                                                     std::to_string(items[i].mask->height()),
                                      std::to_string(image.width) + "x" + std::to_string(image.height)));
  const int width = std::max(image.width, 320);
  const Style style(width);
  const int text_left = style.margin * 2 + style.line_height;

  std::vector<std::vector<std::string>> legend;
  std::size_t lines = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    std::string text = std::to_string(i + 1) + "  ";
    if (items[i].score >= 0) {
      std::array<char, 32> score{};
      std::snprintf(score.data(), score.size(), "(%.2f)  ", items[i].score);
      text += score.data();  // before the phrase, which may be cut
    }
    text += drawable(std::string_view(items[i].phrase).substr(0, 4096));
    legend.push_back(wrap(text, width - text_left - style.margin, style));
    lines += legend.back().size();
  }
  const int legend_height = items.empty() ? 0 : static_cast<int>(lines) * style.line_height + 2 * style.margin;

  Image tinted = image;
  for (std::size_t i = 0; i < items.size(); ++i)
    blend(tinted, *items[i].mask, overlay_palette[i % overlay_palette.size()]);
  Image out = make_image({image.height + legend_height, width});
  cv::Mat canvas(out.height, out.width, CV_8UC3, out.pixels.data());
  canvas.setTo(cv::Scalar(255, 255, 255));
  cv::Mat picture = canvas(cv::Rect(0, 0, image.width, image.height));
  cv::Mat(image.height, image.width, CV_8UC3, tinted.pixels.data()).copyTo(picture);

  std::vector<cv::Point> number_places;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const MaskContours contours = mask_contours(*items[i].mask);
    const cv::Scalar color = scalar(overlay_palette[i % overlay_palette.size()]);
    for (const auto* borders : {&contours.outer, &contours.holes}) {
      cv::polylines(picture, *borders, true, cv::Scalar(0, 0, 0), style.thickness + 2, cv::LINE_8);
      cv::polylines(picture, *borders, true, color, style.thickness, cv::LINE_8);
    }
    number_places.push_back(deepest_pixel(*items[i].mask, contours));
  }
  for (std::size_t i = 0; i < items.size(); ++i)
    if (number_places[i].x >= 0) draw_number(picture, number_places[i], std::to_string(i + 1), style);

  int y = image.height + style.margin;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const cv::Rect sample(style.margin, y + style.line_height / 6, style.line_height, style.line_height * 2 / 3);
    cv::rectangle(canvas, sample, scalar(overlay_palette[i % overlay_palette.size()]), cv::FILLED);
    cv::rectangle(canvas, sample, cv::Scalar(0, 0, 0), 1);
    for (const std::string& line : legend[i]) {
      style.draw(canvas, line, {text_left, y + style.line_height * 3 / 4}, cv::Scalar(0, 0, 0));
      y += style.line_height;
    }
  }
  return out;
}

}  // namespace lisa
