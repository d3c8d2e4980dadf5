#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "lisa/data/random.hpp"
#include "lisa/image/image.hpp"

namespace lisa {

/// What a mask should be, a byte per pixel: 0 background, 1 foreground, 255 ignored. Under the original's rules a pixel
/// covered by two overlapping polygons may hold 2.
struct LabelMask {
  static constexpr std::uint8_t ignored = 255;

  ImageSize size;
  std::vector<std::uint8_t> labels;  ///< [H, W], rows from the top
  bool operator==(const LabelMask&) const = default;
};

/// A question and its answer, as plain text: without image placeholder and end token, `[SEG]` where a mask belongs.
struct Exchange {
  std::string question;
  std::string answer;
  bool operator==(const Exchange&) const = default;
};

/// A conversation about an image. The masks belong to the `[SEG]` of its questions and answers, in their order.
struct Dialogue {
  std::vector<Exchange> exchanges;
  std::vector<LabelMask> masks;
  std::string group;  ///< what results are broken down by, such as "reasoning" or "short"; may be empty
};

/// An image with conversations that share it, ready to be trained on or evaluated.
struct Sample {
  std::string id;  ///< names the sample in messages and logs: "reason_seg|train|kitchen.jpg"
  Image image;
  std::vector<Dialogue> dialogues;
};

/// A set of samples that are read, or drawn, one at a time.
struct DataSet {
  std::string name;  ///< "reason_seg|val"
  std::size_t size = 0;
  /// Sample `index` < size. What a set leaves to chance, a template or which of several texts, comes from `random`
  /// alone. May be called from several threads at once.
  /// @throws Error naming the file at fault
  std::function<Sample(std::size_t index, Random& random)> read;
};

}  // namespace lisa
