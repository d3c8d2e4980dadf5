#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/image/image.hpp"

namespace lisa {

/// A binary mask, one bit per pixel. Rows are padded with zero bits to whole 64-bit words, so that areas and overlaps
/// are counted by words.
class BitMask {
 public:
  using Word = std::uint64_t;
  static constexpr int word_bits = 64;

  BitMask() = default;
  /// All background. Throws InputError unless both sides are at least 1.
  explicit BitMask(ImageSize size) : size_(size) {
    if (size.height < 1 || size.width < 1)
      throw InputError("mask", found_expected(std::to_string(size.width) + "x" + std::to_string(size.height),
                                              "at least one pixel on each side"));
    words_per_row_ = (static_cast<std::size_t>(size.width) + word_bits - 1) / word_bits;
    words_.resize(words_per_row_ * static_cast<std::size_t>(size.height));
  }

  [[nodiscard]] ImageSize size() const noexcept { return size_; }
  [[nodiscard]] int width() const noexcept { return size_.width; }
  [[nodiscard]] int height() const noexcept { return size_.height; }
  [[nodiscard]] std::size_t words_per_row() const noexcept { return words_per_row_; }

  [[nodiscard]] bool at(int x, int y) const {
    return (row(y)[static_cast<std::size_t>(x) / word_bits] >> (x % word_bits) & 1) != 0;
  }
  void set(int x, int y, bool value = true) {
    const Word bit = Word{1} << (x % word_bits);
    Word& word = row(y)[static_cast<std::size_t>(x) / word_bits];
    word = value ? word | bit : word & ~bit;
  }

  /// Words of row `y`; column x is bit x % 64 of word x / 64. Bits beyond the width must stay zero.
  [[nodiscard]] const Word* row(int y) const { return words_.data() + static_cast<std::size_t>(y) * words_per_row_; }
  [[nodiscard]] Word* row(int y) { return words_.data() + static_cast<std::size_t>(y) * words_per_row_; }
  /// All rows, one after the other.
  [[nodiscard]] const std::vector<Word>& words() const noexcept { return words_; }

  bool operator==(const BitMask&) const = default;

 private:
  ImageSize size_;
  std::size_t words_per_row_ = 0;
  std::vector<Word> words_;
};

/// Foreground where the logit exceeds `threshold` (SAM's mask_threshold is 0); NaN is background. `logits` holds
/// height * width values, row by row. Throws InputError for an empty size.
[[nodiscard]] inline BitMask mask_from_logits(const float* logits, ImageSize size, float threshold = 0.0F) {
  BitMask mask(size);
  for (int y = 0; y < size.height; ++y) {
    const float* source = logits + static_cast<std::size_t>(y) * static_cast<std::size_t>(size.width);
    BitMask::Word* word = mask.row(y);
    for (int x = 0; x < size.width; x += BitMask::word_bits, ++word) {
      const int count = std::min(BitMask::word_bits, size.width - x);
      BitMask::Word bits = 0;
      for (int i = 0; i < count; ++i) bits |= static_cast<BitMask::Word>(source[x + i] > threshold) << i;
      *word = bits;
    }
  }
  return mask;
}

/// The mask as bytes [H, W], `foreground` or 0 each.
[[nodiscard]] inline std::vector<std::uint8_t> mask_bytes(const BitMask& mask, std::uint8_t foreground = 1) {
  const auto width = static_cast<std::size_t>(mask.width());
  std::vector<std::uint8_t> bytes(width * static_cast<std::size_t>(mask.height()));
  for (int y = 0; y < mask.height(); ++y) {
    const BitMask::Word* words = mask.row(y);
    std::uint8_t* out = bytes.data() + static_cast<std::size_t>(y) * width;
    for (std::size_t x = 0; x < width; ++x)
      out[x] = (words[x / BitMask::word_bits] >> (x % BitMask::word_bits) & 1) != 0 ? foreground : 0;
  }
  return bytes;
}

/// Number of foreground pixels.
[[nodiscard]] inline std::int64_t area(const BitMask& mask) {
  std::int64_t count = 0;
  for (const BitMask::Word word : mask.words()) count += std::popcount(word);
  return count;
}

/// Smallest rectangle that holds every foreground pixel; all zero for an empty mask.
[[nodiscard]] inline Rect bounding_box(const BitMask& mask) {
  int top = -1, bottom = -1;
  std::vector<BitMask::Word> any(mask.words_per_row());
  for (int y = 0; y < mask.height(); ++y) {
    BitMask::Word in_row = 0;
    for (std::size_t i = 0; i < any.size(); ++i) {
      any[i] |= mask.row(y)[i];
      in_row |= mask.row(y)[i];
    }
    if (in_row == 0) continue;
    if (top < 0) top = y;
    bottom = y;
  }
  if (top < 0) return {};
  const auto occupied = [](BitMask::Word word) { return word != 0; };
  const auto first = std::find_if(any.begin(), any.end(), occupied);
  const auto last = std::find_if(any.rbegin(), any.rend(), occupied);
  const int left = static_cast<int>(first - any.begin()) * BitMask::word_bits + std::countr_zero(*first);
  const int right = static_cast<int>(any.rend() - last) * BitMask::word_bits - 1 - std::countl_zero(*last);
  return {left, top, right - left + 1, bottom - top + 1};
}

/// Intersection over union; 0 for two empty masks, as pycocotools has it. Throws InputError for different sizes.
[[nodiscard]] inline double iou(const BitMask& a, const BitMask& b) {
  if (a.size() != b.size())
    throw InputError("mask", found_expected(std::to_string(b.width()) + "x" + std::to_string(b.height()),
                                            std::to_string(a.width()) + "x" + std::to_string(a.height())));
  std::int64_t both = 0, either = 0;
  for (std::size_t i = 0; i < a.words().size(); ++i) {
    both += std::popcount(a.words()[i] & b.words()[i]);
    either += std::popcount(a.words()[i] | b.words()[i]);
  }
  return either == 0 ? 0.0 : static_cast<double>(both) / static_cast<double>(either);
}

namespace mask_detail {

/// 64x64 bits: bit i of word k becomes bit k of word i. Halves, quarters ... of the square are swapped.
inline void transpose_block(std::array<BitMask::Word, 64>& block) {
  BitMask::Word low_half = 0x00000000FFFFFFFF;
  for (std::size_t side = 32; side != 0; side >>= 1, low_half ^= low_half << side)
    for (std::size_t k = 0; k < 64; k = (k + side + 1) & ~side) {
      const BitMask::Word swapped = (block[k] >> side ^ block[k + side]) & low_half;
      block[k] ^= swapped << side;
      block[k + side] ^= swapped;
    }
}

}  // namespace mask_detail

/// The mask with rows and columns exchanged.
[[nodiscard]] inline BitMask transpose(const BitMask& mask) {
  if (mask.words().empty()) return {};
  BitMask out({mask.width(), mask.height()});
  constexpr int side = BitMask::word_bits;
  for (int y = 0; y < mask.height(); y += side)
    for (int x = 0; x < mask.width(); x += side) {
      std::array<BitMask::Word, side> block{};
      const int rows = std::min(side, mask.height() - y);
      for (int i = 0; i < rows; ++i) block[static_cast<std::size_t>(i)] = mask.row(y + i)[x / side];
      mask_detail::transpose_block(block);
      const int columns = std::min(side, mask.width() - x);
      for (int i = 0; i < columns; ++i) out.row(x + i)[y / side] = block[static_cast<std::size_t>(i)];
    }
  return out;
}

}  // namespace lisa
