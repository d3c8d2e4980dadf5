#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lisa/text/sentencepiece_model.hpp"
#include "lisa/text/utf8.hpp"

namespace lisa {

/// Joins pieces to text one at a time, as SentencePiece's Decode does on all of them: U+2581 becomes a blank, the first
/// blank of the text is dropped where the model adds one, runs of byte pieces become characters (U+FFFD for each byte
/// that is not UTF-8), control pieces show nothing. What `push` returns never ends inside a character.
class PieceJoiner {
 public:
  explicit PieceJoiner(const SentencePieceModel& model) : model_(&model) {}

  /// Text that piece `id` makes certain; bytes of an unfinished character wait for the next call.
  [[nodiscard]] std::string push(std::int64_t id) {
    const SentencePieceModel::Piece& piece = model_->piece(id);
    if (piece.type == SentencePieceModel::Type::byte) {
      bytes_ += static_cast<char>(model_->byte_of(id));
      return complete_characters();
    }
    std::string text = finish();
    if (blank_seen_ || !empty_) at_start_ = false;
    blank_seen_ = false;
    if (piece.type == SentencePieceModel::Type::control) return text;
    std::string_view rest = piece.text;
    if (at_start_ && model_->adds_blank() && rest.starts_with(SentencePieceModel::blank)) {
      rest.remove_prefix(SentencePieceModel::blank.size());
      blank_seen_ = true;
    }
    append_with_blanks(text, rest);
    empty_ = empty_ && text.empty();
    return text;
  }

  /// Text of the bytes still waiting, which no further byte will complete.
  [[nodiscard]] std::string finish() {
    std::string text;
    for (std::size_t i = 0; i < bytes_.size(); ++i) text += replacement;
    bytes_.clear();
    empty_ = empty_ && text.empty();
    return text;
  }

 private:
  static constexpr std::string_view replacement = "\xEF\xBF\xBD";

  static void append_with_blanks(std::string& text, std::string_view piece) {
    for (std::size_t at = 0; at < piece.size();) {
      if (piece.substr(at).starts_with(SentencePieceModel::blank)) {
        text += ' ';
        at += SentencePieceModel::blank.size();
      } else {
        text += piece[at++];
      }
    }
  }

  std::string complete_characters() {
    std::string text;
    while (!bytes_.empty()) {
      const Utf8Character c = first_character(bytes_);
      if (!c.valid && unfinished_character(bytes_)) break;
      text += c.valid ? std::string_view(bytes_).substr(0, c.size) : replacement;
      bytes_.erase(0, c.size);
    }
    empty_ = empty_ && text.empty();
    return text;
  }

  const SentencePieceModel* model_;
  std::string bytes_;        ///< of a character that is not complete yet
  bool empty_ = true;        ///< no text so far
  bool at_start_ = true;     ///< the next piece's first blank may be the one that encoding added
  bool blank_seen_ = false;  ///< the last piece gave up its first blank
};

}  // namespace lisa
