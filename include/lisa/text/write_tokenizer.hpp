#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/files/atomic_write.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/protobuf_writer.hpp"
#include "lisa/text/sentencepiece_model.hpp"

namespace lisa {
namespace write_tokenizer_detail {

using Piece = SentencePieceModel::Piece;
using Type = SentencePieceModel::Type;

/// Tokens that LISA adds behind the vocabulary (train_ds.py).
inline constexpr std::array<std::string_view, 4> lisa_tokens{"<im_patch>", "<im_start>", "<im_end>", "[SEG]"};
/// The vocabulary of LLaMA's own tokenizer.model.
inline constexpr dim llama_pieces = 32000;
/// `<unk>`, `<s>`, `</s>` and the bytes.
inline constexpr dim smallest_model = 3 + 256;

inline std::vector<Piece> reserved_pieces() {
  std::vector<Piece> pieces{{"<unk>", 0, Type::unknown}, {"<s>", 0, Type::control}, {"</s>", 0, Type::control}};
  for (unsigned byte = 0; byte < 256; ++byte) {
    std::array<char, 8> name{};
    std::snprintf(name.data(), name.size(), "<0x%02X>", byte);
    pieces.push_back({name.data(), 0, Type::byte});
  }
  return pieces;
}

/// Texts of normal pieces, the most useful first. A word comes with all of its beginnings, so that merging from the
/// blank in front of it always leads to the word.
inline std::vector<std::string> normal_texts(const std::vector<std::string>& words) {
  std::vector<std::string> texts{std::string(SentencePieceModel::blank), "\n"};
  for (char c = '!'; c <= '~'; ++c) texts.emplace_back(1, c);
  for (const std::string& word : words)
    for (std::size_t length = 1; length <= word.size(); ++length)
      texts.push_back(std::string(SentencePieceModel::blank) + word.substr(0, length));
  return texts;
}

inline std::vector<Piece> all_pieces(const std::vector<std::string>& words, dim count) {
  std::vector<Piece> pieces = reserved_pieces();
  std::set<std::string> taken;
  const auto add = [&](std::string text) {
    if (static_cast<dim>(pieces.size()) == count || !taken.insert(text).second) return;
    pieces.push_back({std::move(text), -static_cast<float>(pieces.size()), Type::normal});
  };
  for (std::string& text : normal_texts(words)) add(std::move(text));
  for (std::size_t i = pieces.size(); static_cast<dim>(i) < count; ++i)
    add(std::string(SentencePieceModel::blank) + "word" + std::to_string(i));
  return pieces;
}

inline std::string model_file(const std::vector<Piece>& pieces) {
  ProtobufWriter model;
  for (const Piece& piece : pieces)
    model.bytes(1, ProtobufWriter()
                       .bytes(1, piece.text)
                       .fixed32(2, piece.score)
                       .varint(3, static_cast<std::uint64_t>(piece.type))
                       .message());
  // BPE with byte fallback.
  model.bytes(2, ProtobufWriter().varint(3, 2).varint(4, pieces.size()).varint(35, 1).message());
  model.bytes(3, ProtobufWriter().bytes(1, "identity").varint(3, 1).varint(4, 0).varint(5, 1).message());
  return model.message();
}

inline Json token_object(std::string_view text) {
  return {{"content", text}, {"lstrip", false}, {"normalized", true}, {"rstrip", false}, {"single_word", false}};
}

}  // namespace write_tokenizer_detail

/// The words of LISA's prompts and templates.
[[nodiscard]] inline std::vector<std::string> lisa_prompt_words() {
  constexpr std::string_view text =
      "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, detailed, "
      "and polite answers to the human's questions. user user's language visual content is able understand that "
      "provides assist with variety of tasks using natural USER: ASSISTANT: Can you segment the in this image? Please "
      "output segmentation mask. Sure, it is What who where which part object person explain why respond";
  std::vector<std::string> words;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    words.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

/// Writes the files of a tokenizer with `vocab` ids into a folder: tokenizer.model (SentencePiece BPE with byte
/// fallback: control and byte pieces, characters, every word with its beginnings, made-up words for the rest),
/// added_tokens.json with LISA's tokens at the end, special_tokens_map.json and tokenizer_config.json. Words that come
/// first have their pieces first; those for which no ids are left are spelt.
/// @param context longest sequence of the model that it is for
/// @throws InputError when `vocab` is too small for the control and byte pieces, IoError
inline void write_tokenizer(const std::filesystem::path& folder, const std::vector<std::string>& words, dim vocab,
                            dim context) {
  using namespace write_tokenizer_detail;
  // Checkpoints made without mm_use_im_patch_token lack the first token: where three complete LLaMA's vocabulary.
  const std::size_t first = vocab - llama_pieces == 3 ? 1 : 0;
  const dim pieces = vocab - static_cast<dim>(lisa_tokens.size() - first);
  if (pieces < smallest_model)
    throw InputError("vocabulary", found_expected(std::to_string(vocab) + " ids",
                                                  "at least " + std::to_string(smallest_model + vocab - pieces)));
  write_file(folder / "tokenizer.model", model_file(all_pieces(words, pieces)));
  Json added = Json::object();
  for (std::size_t i = first; i < lisa_tokens.size(); ++i)
    added[std::string(lisa_tokens[i])] = pieces + static_cast<dim>(i - first);
  write_file(folder / "added_tokens.json", added.dump(2) + "\n");
  const Json special{{"bos_token", token_object("<s>")},
                     {"eos_token", token_object("</s>")},
                     {"pad_token", "<unk>"},
                     {"unk_token", token_object("<unk>")}};
  write_file(folder / "special_tokens_map.json", special.dump(2) + "\n");
  const Json settings{{"add_bos_token", true},       {"add_eos_token", false},  {"legacy", true},
                      {"model_max_length", context}, {"padding_side", "right"}, {"tokenizer_class", "LlamaTokenizer"}};
  write_file(folder / "tokenizer_config.json", settings.dump(2) + "\n");
}

}  // namespace lisa
