#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/data/label_mask.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/overlay.hpp"
#include "lisa/text/seg_mark.hpp"

namespace lisa {

/// How many pictures stand side by side, and how large they are.
struct ContactSheet {
  int columns = 3;
  int cell_width = 480;  ///< pixels; at least 320
};

namespace detail {

/// The image as wide as a cell, at most twice as high as wide.
[[nodiscard]] inline Image cell_image(const Image& image, int width) {
  const double scale = std::min(static_cast<double>(width) / image.width, 2.0 * width / image.height);
  const auto side = [&](int pixels) { return std::max(1, static_cast<int>(pixels * scale)); };
  Image out = make_image({side(image.height), side(image.width)});
  // OpenCV does not write to its source.
  const cv::Mat from(image.height, image.width, CV_8UC3, const_cast<std::uint8_t*>(image.pixels.data()));
  cv::Mat to(out.height, out.width, CV_8UC3, out.pixels.data());
  cv::resize(from, to, to.size(), 0, 0, scale < 1 ? cv::INTER_AREA : cv::INTER_NEAREST);
  return out;
}

/// The foreground of a mask at another size, by the nearest pixel.
[[nodiscard]] inline BitMask cell_mask(const LabelMask& mask, ImageSize size) {
  BitMask out(size);
  for (int y = 0; y < size.height; ++y)
    for (int x = 0; x < size.width; ++x) {
      const auto row = static_cast<std::size_t>(std::int64_t{y} * mask.size.height / size.height);
      const auto column = static_cast<std::size_t>(std::int64_t{x} * mask.size.width / size.width);
      const std::uint8_t label = mask.labels[row * static_cast<std::size_t>(mask.size.width) + column];
      if (label != 0 && label != LabelMask::ignored) out.set(x, y);
    }
  return out;
}

/// What stands in the legend: each mask beside the exchange it belongs to.
struct CellMasks {
  std::deque<BitMask> masks;
  std::vector<OverlayItem> items;
  std::vector<std::string> texts;  ///< exchanges without a mask
};

[[nodiscard]] inline CellMasks cell_masks(const Sample& sample, ImageSize size) {
  CellMasks cell;
  for (const Dialogue& dialogue : sample.dialogues) {
    std::size_t next = 0;
    for (const Exchange& exchange : dialogue.exchanges) {
      const std::string text = exchange.question + " - " + exchange.answer;
      const std::size_t end =
          std::min(next + count_segs(exchange.question) + count_segs(exchange.answer), dialogue.masks.size());
      if (next == end) cell.texts.push_back(text);
      for (bool first = true; next < end; ++next, first = false) {
        cell.masks.push_back(cell_mask(dialogue.masks[next], size));
        cell.items.push_back({&cell.masks.back(), first ? text : "(the same answer)"});
      }
    }
  }
  return cell;
}

/// `lines` in black on white, as wide as a cell.
[[nodiscard]] inline Image text_strip(const std::vector<std::string>& texts, int width) {
  const overlay_detail::Style style(width);
  std::vector<std::string> lines;
  for (const std::string& text : texts)
    for (std::string& line : overlay_detail::wrap(overlay_detail::drawable(text), width - 2 * style.margin, style))
      lines.push_back(std::move(line));
  Image strip = make_image({std::max(1, static_cast<int>(lines.size()) * style.line_height + style.margin), width});
  cv::Mat canvas(strip.height, strip.width, CV_8UC3, strip.pixels.data());
  canvas.setTo(cv::Scalar(255, 255, 255));
  for (std::size_t i = 0; i < lines.size(); ++i)
    style.draw(canvas, lines[i], {style.margin, static_cast<int>(i) * style.line_height + style.line_height * 3 / 4},
               cv::Scalar(0, 0, 0));
  return strip;
}

/// A sample's name, its picture with masks and legend, and its exchanges without masks.
[[nodiscard]] inline Image sheet_cell(const Sample& sample, int width) {
  const Image image = cell_image(sample.image, width);
  const CellMasks masks = cell_masks(sample, image.size());
  const Image parts[] = {text_strip({sample.id}, width), draw_overlay(image, masks.items),
                         text_strip(masks.texts, width)};
  int height = 0;
  for (const Image& part : parts) height += part.height;
  Image cell = make_image({height, width});
  std::fill(cell.pixels.begin(), cell.pixels.end(), std::uint8_t{255});
  int y = 0;
  for (const Image& part : parts)
    for (int row = 0; row < part.height; ++row, ++y)
      std::copy_n(part.row(row), static_cast<std::size_t>(part.width) * 3, cell.row(y));
  return cell;
}

}  // namespace detail

/// Pictures of samples side by side: each with its name above, its masks tinted and numbered, and questions and answers
/// below. Throws InputError for no sample, no column or cells narrower than 320 pixels.
[[nodiscard]] inline Image contact_sheet(std::span<const Sample> samples, const ContactSheet& form = {}) {
  if (samples.empty()) throw InputError("contact sheet", found_expected("no sample", "at least one"));
  if (form.columns < 1 || form.cell_width < 320)
    throw InputError("contact sheet", found_expected(std::to_string(form.columns) + " columns of " +
                                                         std::to_string(form.cell_width) + " pixels",
                                                     "at least 1 of at least 320"));
  std::vector<Image> cells;
  for (const Sample& sample : samples) cells.push_back(detail::sheet_cell(sample, form.cell_width));
  const auto columns = std::min(static_cast<std::size_t>(form.columns), cells.size());
  std::vector<int> tops{0};
  for (std::size_t first = 0; first < cells.size(); first += columns) {
    int height = 0;
    for (std::size_t i = first; i < std::min(first + columns, cells.size()); ++i)
      height = std::max(height, cells[i].height);
    tops.push_back(tops.back() + height);
  }
  Image sheet = make_image({tops.back(), static_cast<int>(columns) * form.cell_width});
  std::fill(sheet.pixels.begin(), sheet.pixels.end(), std::uint8_t{255});
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const std::size_t left = i % columns * static_cast<std::size_t>(form.cell_width) * 3;
    for (int y = 0; y < cells[i].height; ++y)
      std::copy_n(cells[i].row(y), static_cast<std::size_t>(form.cell_width) * 3,
                  sheet.row(tops[i / columns] + y) + left);
  }
  return sheet;
}

}  // namespace lisa
