#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <queue>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/text/protobuf_reader.hpp"
#include "lisa/text/utf8.hpp"

namespace lisa {

/// A SentencePiece BPE vocabulary as LLaMA uses it (Kudo & Richardson 2018; google/sentencepiece,
/// sentencepiece_model.proto): read from `tokenizer.model`, splits text into pieces by score and joins pieces again.
/// Supported: model type BPE, no character map (normalisation "identity"), blanks kept and escaped as U+2581. Anything
/// else is refused when the file is read, because it would tokenize differently without a word.
class SentencePieceModel {
 public:
  enum class Type : std::uint8_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

  struct Piece {
    std::string text;
    float score = 0;
    Type type = Type::normal;
  };

  /// Longest piece accepted, in bytes; real vocabularies stay under 200.
  static constexpr std::size_t longest_piece = 4096;
  /// U+2581, which stands for a blank inside pieces.
  static constexpr std::string_view blank = "\xE2\x96\x81";

  /// Parses the content of a `tokenizer.model`.
  /// @param content bytes of the file
  /// @param file    name for error messages
  /// @throws FormatError on malformed protobuf, an empty, duplicate or oversized piece, a score that is no number, no
  ///         `<unk>`, byte pieces missing; MismatchError on a model type or normaliser other than LLaMA's
  static SentencePieceModel parse(std::string_view content, const std::string& file) {
    SentencePieceModel model;
    ModelType type = ModelType::unigram;
    ProtobufReader reader(content, file);
    while (const auto field = reader.next()) {
      const std::size_t body = reader.offset() - field->bytes.size();
      if (field->number == 1) {
        model.pieces_.push_back(parse_piece(message(*field, reader, file), file, body, model.pieces_.size()));
      } else if (field->number == 2) {
        model.parse_trainer(message(*field, reader, file), file, body, type);
      } else if (field->number == 3) {
        model.parse_normalizer(message(*field, reader, file), file, body);
      } else if (field->number == 5) {
        refuse_character_map(message(*field, reader, file), file, body, "denormalizer_spec");
      }
    }
    if (type != ModelType::bpe)
      throw MismatchError(file, "trainer_spec.model_type",
                          found_expected(type_name(type), "BPE, the model type of LLaMA tokenizers"));
    model.index_pieces(file);
    return model;
  }

  [[nodiscard]] std::int64_t size() const noexcept { return static_cast<std::int64_t>(pieces_.size()); }
  /// Piece of an id, 0 <= id < size().
  [[nodiscard]] const Piece& piece(std::int64_t id) const { return pieces_.at(static_cast<std::size_t>(id)); }
  /// Id of the `<unk>` piece.
  [[nodiscard]] std::int64_t unknown() const noexcept { return unknown_; }

  /// Id of a piece by its text, control and byte pieces included, or `unknown()`.
  [[nodiscard]] std::int64_t id_of(std::string_view text) const {
    const auto reserved = reserved_.find(text);
    if (reserved != reserved_.end()) return reserved->second;
    const auto merged = mergeable_.find(text);
    return merged == mergeable_.end() ? unknown_ : merged->second;
  }

  /// Whether the vocabulary has a piece with this text.
  [[nodiscard]] bool contains(std::string_view text) const {
    return reserved_.contains(text) || mergeable_.contains(text);
  }

  /// Ids of `text`: blanks become U+2581, one more is put in front, then neighbouring symbols are merged, best score
  /// first and leftmost first among equals, in O(n log n). Symbols outside the vocabulary become their UTF-8 bytes, or
  /// one `<unk>` per run where the model has no byte pieces. Bytes that are not UTF-8 count as U+FFFD each, as in
  /// SentencePiece. Empty text gives no ids.
  [[nodiscard]] std::vector<std::int64_t> encode(std::string_view text) const {
    if (text.empty()) return {};
    const std::string normalized = normalize(text);
    std::vector<std::int64_t> ids;
    bool previous_unknown = false;
    for (const std::string_view symbol : merge(normalized)) {
      const std::int64_t id = id_of(symbol);
      const bool is_unknown = id == unknown_;
      if (!is_unknown)
        ids.push_back(id);
      else if (byte_fallback_)
        for (const char c : symbol) ids.push_back(byte_ids_[static_cast<unsigned char>(c)]);
      else if (!previous_unknown)
        ids.push_back(id);
      previous_unknown = is_unknown;
    }
    return ids;
  }

  /// The byte that a piece of type `byte` stands for.
  [[nodiscard]] std::uint8_t byte_of(std::int64_t id) const { return hex_byte(piece(id).text); }

  /// Whether the first blank of a text belongs to the encoding and not to the text.
  [[nodiscard]] bool adds_blank() const noexcept { return add_dummy_prefix_; }

 private:
  enum class ModelType : std::uint8_t { unigram = 1, bpe = 2, word = 3, character = 4 };

  /// Part of the text while pairs are merged: a range of bytes in a doubly linked list.
  struct Symbol {
    std::ptrdiff_t previous;
    std::ptrdiff_t next;
    std::string_view text;
  };
  struct Pair {
    float score;
    std::ptrdiff_t left;
    std::ptrdiff_t right;
    std::size_t size;
    bool operator<(const Pair& other) const {  // the largest is taken first: best score, then leftmost
      return score < other.score || (score == other.score && left > other.left);
    }
  };

  static std::string type_name(ModelType type) {
    switch (type) {
      case ModelType::unigram:
        return "UNIGRAM";
      case ModelType::bpe:
        return "BPE";
      case ModelType::word:
        return "WORD";
      case ModelType::character:
        return "CHAR";
    }
    return std::to_string(static_cast<int>(type));
  }

  static std::string at_byte(std::size_t offset) { return "byte " + std::to_string(offset); }

  /// Bytes of a length-delimited field.
  static std::string_view message(const ProtobufField& field, const ProtobufReader& reader, const std::string& file) {
    if (field.wire != ProtobufField::Wire::bytes)
      throw FormatError(file, at_byte(reader.field_offset()),
                        "field " + std::to_string(field.number) + ": " +
                            found_expected("wire type " + std::to_string(static_cast<int>(field.wire)), "2"));
    return field.bytes;
  }

  static std::uint64_t number(const ProtobufField& field, const ProtobufReader& reader, const std::string& file,
                              ProtobufField::Wire expected) {
    if (field.wire != expected)
      throw FormatError(file, at_byte(reader.field_offset()),
                        "field " + std::to_string(field.number) + ": " +
                            found_expected("wire type " + std::to_string(static_cast<int>(field.wire)),
                                           std::to_string(static_cast<int>(expected))));
    return field.number_value;
  }

  static Piece parse_piece(std::string_view content, const std::string& file, std::size_t origin, std::size_t index) {
    const std::string place = "piece " + std::to_string(index);
    Piece piece;
    ProtobufReader reader(content, file, origin);
    while (const auto field = reader.next()) {
      if (field->number == 1) {
        piece.text = message(*field, reader, file);
      } else if (field->number == 2) {
        const std::uint64_t bits = number(*field, reader, file, ProtobufField::Wire::fixed32);
        piece.score = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
      } else if (field->number == 3) {
        const std::uint64_t type = number(*field, reader, file, ProtobufField::Wire::varint);
        if (type < 1 || type > 6)
          throw FormatError(file, place, found_expected("type " + std::to_string(type), "1 to 6"));
        piece.type = static_cast<Type>(type);
      }
    }
    if (piece.text.empty()) throw FormatError(file, place, "found an empty piece");
    if (piece.text.size() > longest_piece)
      throw FormatError(file, place,
                        found_expected("a piece of " + std::to_string(piece.text.size()) + " bytes",
                                       "at most " + std::to_string(longest_piece)));
    if (!std::isfinite(piece.score))
      throw FormatError(file, place, found_expected("score " + std::to_string(piece.score), "a finite number"));
    if (piece.type == Type::user_defined || piece.type == Type::unused)
      throw MismatchError(file, place,
                          found_expected(piece.type == Type::unused ? "type UNUSED" : "type USER_DEFINED",
                                         "a normal, unknown, control or byte piece, as in LLaMA tokenizers"));
    return piece;
  }

  void parse_trainer(std::string_view content, const std::string& file, std::size_t origin, ModelType& type) {
    ProtobufReader reader(content, file, origin);
    while (const auto field = reader.next()) {
      const auto flag = [&] { return number(*field, reader, file, ProtobufField::Wire::varint) != 0; };
      if (field->number == 3) {
        const std::uint64_t value = number(*field, reader, file, ProtobufField::Wire::varint);
        if (value < 1 || value > 4)
          throw FormatError(file, "trainer_spec.model_type", found_expected(std::to_string(value), "1 to 4"));
        type = static_cast<ModelType>(value);
      } else if (field->number == 24 && flag()) {
        throw MismatchError(file, "trainer_spec.treat_whitespace_as_suffix", found_expected("true", "false"));
      } else if (field->number == 35) {
        byte_fallback_ = flag();
      }
    }
  }

  void parse_normalizer(std::string_view content, const std::string& file, std::size_t origin) {
    remove_extra_blanks_ = true;  // the schema's default, where the field is absent
    ProtobufReader reader(content, file, origin);
    while (const auto field = reader.next()) {
      const auto flag = [&] { return number(*field, reader, file, ProtobufField::Wire::varint) != 0; };
      if (field->number == 2 && !message(*field, reader, file).empty())
        throw MismatchError(file, "normalizer_spec.precompiled_charsmap",
                            found_expected(std::to_string(field->bytes.size()) + " bytes",
                                           "none: LLaMA tokenizers do not rewrite characters"));
      if (field->number == 3) add_dummy_prefix_ = flag();
      if (field->number == 4) remove_extra_blanks_ = flag();
      if (field->number == 5 && !flag())
        throw MismatchError(file, "normalizer_spec.escape_whitespaces", found_expected("false", "true"));
    }
  }

  static void refuse_character_map(std::string_view content, const std::string& file, std::size_t origin,
                                   const std::string& place) {
    ProtobufReader reader(content, file, origin);
    while (const auto field = reader.next())
      if (field->number == 2 && !message(*field, reader, file).empty())
        throw MismatchError(file, place + ".precompiled_charsmap",
                            found_expected(std::to_string(field->bytes.size()) + " bytes", "none"));
  }

  void index_pieces(const std::string& file) {
    if (pieces_.empty()) throw FormatError(file, "pieces", found_expected("0 pieces", "a vocabulary"));
    if (remove_extra_blanks_)
      throw MismatchError(file, "normalizer_spec.remove_extra_whitespaces",
                          found_expected("true", "false: LLaMA tokenizers keep every blank"));
    byte_ids_.fill(-1);
    Defects defects;
    for (std::size_t i = 0; i < pieces_.size(); ++i) index_piece(i, defects);
    if (unknown_ < 0) defects.add("no piece of type UNKNOWN (<unk>)");
    if (byte_fallback_)
      for (std::size_t b = 0; b < byte_ids_.size(); ++b)
        if (byte_ids_[b] < 0) defects.add("no piece for byte " + std::to_string(b) + ", which byte_fallback needs");
    if (!defects.empty()) throw FormatError(file, "pieces", defects.report("defects of the vocabulary"));
  }

  void index_piece(std::size_t i, Defects& defects) {
    const Piece& piece = pieces_[i];
    const auto id = static_cast<std::int64_t>(i);
    if (piece.type == Type::normal) longest_mergeable_ = std::max(longest_mergeable_, piece.text.size());
    if (contains(piece.text)) defects.add("piece " + std::to_string(i) + " repeats " + lisa::quoted(piece.text));
    (piece.type == Type::normal ? mergeable_ : reserved_).emplace(piece.text, id);
    if (piece.type == Type::unknown) {
      if (unknown_ >= 0) defects.add("piece " + std::to_string(i) + " is a second piece of type UNKNOWN");
      unknown_ = id;
    } else if (piece.type == Type::byte) {
      if (!is_hex_byte(piece.text))
        defects.add("byte piece " + std::to_string(i) + ": " +
                    found_expected(lisa::quoted(piece.text), "<0x00> to <0xFF>"));
      else
        byte_ids_[hex_byte(piece.text)] = id;
    }
  }

  static constexpr std::string_view hex_digits = "0123456789ABCDEF";

  static bool is_hex_byte(std::string_view text) {
    return text.size() == 6 && text.starts_with("<0x") && text.back() == '>' &&
           hex_digits.find(text[3]) != std::string_view::npos && hex_digits.find(text[4]) != std::string_view::npos;
  }

  static std::uint8_t hex_byte(std::string_view text) {
    return static_cast<std::uint8_t>(hex_digits.find(text[3]) * 16 + hex_digits.find(text[4]));
  }

  [[nodiscard]] std::string normalize(std::string_view text) const {
    std::string normalized;
    normalized.reserve(text.size() + blank.size());
    if (add_dummy_prefix_) normalized += blank;
    while (!text.empty()) {
      const Utf8Character c = first_character(text);
      if (!c.valid)
        normalized += "\xEF\xBF\xBD";
      else if (c.code == ' ')
        normalized += blank;
      else
        normalized += text.substr(0, c.size);
      text.remove_prefix(c.size);
    }
    return normalized;
  }

  /// Byte-pair merging as in SentencePiece's bpe_model.cc: an agenda of candidate pairs, stale ones recognised by size.
  [[nodiscard]] std::vector<std::string_view> merge(std::string_view text) const {
    std::vector<Symbol> symbols;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t size = first_character(text.substr(at)).size;
      const auto index = static_cast<std::ptrdiff_t>(symbols.size());
      symbols.push_back({index - 1, at + size == text.size() ? -1 : index + 1, text.substr(at, size)});
      at += size;
    }
    const auto symbol = [&](std::ptrdiff_t i) -> Symbol& { return symbols[static_cast<std::size_t>(i)]; };
    std::priority_queue<Pair> agenda;
    const auto consider = [&](std::ptrdiff_t left, std::ptrdiff_t right) {
      if (left < 0 || right < 0) return;
      const std::size_t size = symbol(left).text.size() + symbol(right).text.size();
      if (size > longest_mergeable_) return;
      const auto found = mergeable_.find(std::string_view(symbol(left).text.data(), size));
      if (found != mergeable_.end()) agenda.push({piece(found->second).score, left, right, size});
    };
    for (std::size_t i = 1; i < symbols.size(); ++i)
      consider(static_cast<std::ptrdiff_t>(i) - 1, static_cast<std::ptrdiff_t>(i));
    while (!agenda.empty()) {
      const Pair best = agenda.top();
      agenda.pop();
      Symbol& left = symbol(best.left);
      Symbol& right = symbol(best.right);
      if (left.text.empty() || right.text.empty() || left.text.size() + right.text.size() != best.size) continue;
      left.text = std::string_view(left.text.data(), best.size);
      left.next = right.next;
      if (right.next >= 0) symbol(right.next).previous = best.left;
      right.text = {};
      consider(left.previous, best.left);
      consider(best.left, left.next);
    }
    std::vector<std::string_view> merged;
    for (std::ptrdiff_t i = symbols.empty() ? -1 : 0; i >= 0; i = symbol(i).next) merged.push_back(symbol(i).text);
    return merged;
  }

  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
  };
  using Index = std::unordered_map<std::string, std::int64_t, TextHash, std::equal_to<>>;

  std::vector<Piece> pieces_;
  Index mergeable_;  ///< normal pieces, the results of merging
  Index reserved_;   ///< unknown, control and byte pieces, which typed text never becomes by merging
  std::array<std::int64_t, 256> byte_ids_{};
  std::int64_t unknown_ = -1;
  std::size_t longest_mergeable_ = 0;
  bool byte_fallback_ = false;
  bool add_dummy_prefix_ = true;
  bool remove_extra_blanks_ = true;
};

}  // namespace lisa
