#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/text/image_placeholder.hpp"
#include "lisa/text/piece_joiner.hpp"
#include "lisa/text/sentencepiece_model.hpp"
#include "lisa/text/tokenizer_settings.hpp"
#include "lisa/text/utf8.hpp"

namespace lisa {

/// Text to token ids and back, equal to the slow LlamaTokenizer of transformers 4.31.0, with which LISA's checkpoints
/// were trained: text is split at added and special tokens (leftmost, longest first), tokens added as plain strings
/// take the white space of their neighbours with them, and each part between them is encoded on its own.
/// `clean_up_tokenization_spaces` of a folder is not applied.
class Tokenizer {
 public:
  /// @param file name for error messages, usually the folder
  /// @throws MismatchError where ids collide, leave a hole, or a bos, eos or unk token is not in the vocabulary
  Tokenizer(SentencePieceModel model, TokenizerSettings settings, std::string file)
      : model_(std::move(model)), settings_(std::move(settings)), file_(std::move(file)) {
    index_added();
    index_special();
    for (std::size_t i = 0; i < whole_.size(); ++i)
      starts_[static_cast<unsigned char>(whole_[i].text.front())].push_back(i);
    for (std::vector<std::size_t>& same_start : starts_)
      std::ranges::sort(same_start, {}, [&](std::size_t i) {
        return std::pair(-static_cast<std::ptrdiff_t>(whole_[i].text.size()), i);  // longest first, then as given
      });
  }

  /// Number of ids, added tokens included: the rows that the embedding must have.
  [[nodiscard]] std::int64_t vocab_size() const noexcept {
    return model_.size() + static_cast<std::int64_t>(added_texts_.size());
  }

  [[nodiscard]] std::int64_t bos() const noexcept { return bos_; }
  [[nodiscard]] std::int64_t eos() const noexcept { return eos_; }
  [[nodiscard]] std::int64_t unk() const noexcept { return unk_; }
  /// LISA pads with `<unk>` whatever the folder says (chat.py: `tokenizer.pad_token = tokenizer.unk_token`).
  [[nodiscard]] std::int64_t pad() const noexcept { return unk_; }

  /// Id of a token that text contains as a whole, added or special; nothing where there is none.
  [[nodiscard]] std::optional<std::int64_t> find(std::string_view token) const {
    for (const WholeToken& whole : whole_)
      if (whole.text == token) return whole.id;
    return std::nullopt;
  }

  /// Id of `[SEG]`, `<im_start>`, `<im_end>` or another added token. @throws MismatchError where it is missing
  [[nodiscard]] std::int64_t id_of(std::string_view token) const {
    if (const auto id = find(token)) return *id;
    throw MismatchError(file_, "token " + lisa::quoted(token),
                        found_expected(std::to_string(split_count(token)) + " pieces and no added token",
                                       "one id in added_tokens.json"));
  }
  [[nodiscard]] std::int64_t seg() const { return id_of("[SEG]"); }
  [[nodiscard]] std::int64_t im_start() const { return id_of("<im_start>"); }
  [[nodiscard]] std::int64_t im_end() const { return id_of("<im_end>"); }

  /// @throws MismatchError unless the embedding has one row per id
  void check_embedding_rows(std::int64_t rows) const {
    if (rows != vocab_size())
      throw MismatchError(file_, "vocabulary",
                          found_expected(std::to_string(vocab_size()) + " token ids (" + std::to_string(model_.size()) +
                                             " pieces and " + std::to_string(added_texts_.size()) + " added tokens)",
                                         std::to_string(rows) + ", the rows of the embedding"));
  }

  /// Token ids of `text`, with bos in front (and eos behind) where the folder asks for them. Bytes that are not UTF-8
  /// count as U+FFFD.
  [[nodiscard]] std::vector<std::int64_t> encode(std::string_view text) const {
    std::vector<std::int64_t> ids;
    if (settings_.add_bos) ids.push_back(bos_);
    append(ids, text);
    if (settings_.add_eos) ids.push_back(eos_);
    return ids;
  }

  /// Token ids of `text` without bos and eos: a piece to follow other ids.
  [[nodiscard]] std::vector<std::int64_t> encode_continuation(std::string_view text) const {
    std::vector<std::int64_t> ids;
    append(ids, text);
    return ids;
  }

  /// Token ids of a prompt with one `image_token_id` for every "<image>" (LLaVA mm_utils.py, tokenizer_image_token):
  /// the parts between are encoded on their own, only the first bos is kept.
  [[nodiscard]] std::vector<std::int64_t> encode_with_images(std::string_view prompt) const {
    std::vector<std::int64_t> ids;
    bool first = true;
    std::size_t leading = 0;
    for (std::size_t at = 0; at <= prompt.size();) {
      const std::size_t end = std::min(prompt.find(image_placeholder, at), prompt.size());
      const std::vector<std::int64_t> part = encode(prompt.substr(at, end - at));
      if (first) {
        leading = !part.empty() && part.front() == bos_ ? 1 : 0;
        ids.insert(ids.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(leading));
      } else {
        ids.push_back(image_token_id);
      }
      const std::size_t skipped = std::min(leading, part.size());
      ids.insert(ids.end(), part.begin() + static_cast<std::ptrdiff_t>(skipped), part.end());
      first = false;
      at = end + image_placeholder.size();
    }
    return ids;
  }

  /// Text of ids, as transformers' `decode`: blanks around added tokens, special tokens shown or skipped; image
  /// positions are left out. @throws InputError on an id outside the vocabulary
  [[nodiscard]] std::string decode(std::span<const std::int64_t> ids, bool skip_special = false) const;

  /// Whether an id is one of the special tokens (bos, eos, unk, pad, ...), which `decode` can skip.
  [[nodiscard]] bool is_special(std::int64_t id) const { return special_ids_.contains(id); }

  /// Text of an added token, or nothing for ids of tokenizer.model. @throws InputError outside the vocabulary
  [[nodiscard]] std::optional<std::string_view> added_text(std::int64_t id) const {
    if (id < 0 || id >= vocab_size())
      throw InputError(file_, "token id",
                       found_expected(std::to_string(id), "0 to " + std::to_string(vocab_size() - 1)));
    if (id < model_.size()) return std::nullopt;
    return added_texts_[static_cast<std::size_t>(id - model_.size())];
  }

  [[nodiscard]] const SentencePieceModel& model() const noexcept { return model_; }

 private:
  /// A token that text is split at.
  struct WholeToken {
    std::string text;
    std::int64_t id;
    bool strips_left;
    bool strips_right;
  };

  /// Part of a text: a whole token or ordinary text.
  struct Part {
    std::string_view text;
    const WholeToken* token;
  };

  void index_added() {
    std::ranges::sort(settings_.added, {}, &AddedToken::id);
    Defects defects;
    std::unordered_set<std::string_view> seen;
    for (const AddedToken& token : settings_.added) {
      const std::string name = "added token " + lisa::quoted(token.text);
      if (token.text.empty()) {
        defects.add("found an added token without text");
        continue;
      }
      if (!seen.insert(token.text).second) {
        defects.add(name + " has two ids");
        continue;
      }
      if (model_.contains(token.text)) {
        // Some converters repeat <s>, </s>, <unk> with the ids they have anyway.
        if (model_.id_of(token.text) != token.id)
          defects.add(name + ": " +
                      found_expected("id " + std::to_string(token.id),
                                     std::to_string(model_.id_of(token.text)) + ", its id in tokenizer.model"));
        continue;
      }
      const std::int64_t expected = vocab_size();
      if (token.id != expected)
        defects.add(name + ": " + found_expected("id " + std::to_string(token.id), std::to_string(expected)));
      added_texts_.push_back(token.text);
      whole_.push_back({token.text, expected, true, true});
    }
    if (!defects.empty()) throw MismatchError(file_, "added_tokens.json", defects.report("defects"));
  }

  void index_special() {
    for (const SpecialToken& token : settings_.special) {
      const bool is_added = std::ranges::find(added_texts_, token.text) != added_texts_.end();
      const bool known = is_added || model_.contains(token.text);
      const bool required = token.role == "bos_token" || token.role == "eos_token" || token.role == "unk_token";
      if (!known && required)
        throw MismatchError(file_, token.role, found_expected(lisa::quoted(token.text), "a token of the vocabulary"));
      if (!known || token.text.empty()) continue;
      auto whole = std::ranges::find(whole_, token.text, &WholeToken::text);
      if (whole == whole_.end())
        whole = whole_.insert(whole_.end(), {token.text, model_.id_of(token.text), true, true});
      if (!token.plain) {  // an object's flags win over any plain mention of the same token
        whole->strips_left = token.strips_left;
        whole->strips_right = token.strips_right;
      }
      special_ids_.insert(whole->id);
      if (token.role == "bos_token") bos_ = whole->id;
      if (token.role == "eos_token") eos_ = whole->id;
      if (token.role == "unk_token") unk_ = whole->id;
    }
  }

  [[nodiscard]] std::size_t split_count(std::string_view text) const { return encode_continuation(text).size(); }

  [[nodiscard]] const WholeToken* token_at(std::string_view text) const {
    for (const std::size_t i : starts_[static_cast<unsigned char>(text.front())])
      if (text.starts_with(whole_[i].text)) return &whole_[i];
    return nullptr;
  }

  /// `text` cut at whole tokens; every part holds at least one byte.
  [[nodiscard]] std::vector<Part> split(std::string_view text) const {
    std::vector<Part> parts;
    std::size_t start = 0;
    for (std::size_t at = 0; at < text.size();) {
      const WholeToken* token = token_at(text.substr(at));
      if (token == nullptr) {
        ++at;
        continue;
      }
      if (at > start) parts.push_back({text.substr(start, at - start), nullptr});
      parts.push_back({text.substr(at, token->text.size()), token});
      at += token->text.size();
      start = at;
    }
    if (start < text.size()) parts.push_back({text.substr(start), nullptr});
    return parts;
  }

  static void strip_neighbours(std::vector<Part>& parts) {
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (parts[i].token == nullptr) continue;
      if (parts[i].token->strips_right && i + 1 < parts.size() && parts[i + 1].token == nullptr)
        parts[i + 1].text = strip_left(parts[i + 1].text);
      if (parts[i].token->strips_left && i > 0 && parts[i - 1].token == nullptr)
        parts[i - 1].text = strip_right(parts[i - 1].text);
    }
  }

  void append(std::vector<std::int64_t>& ids, std::string_view text) const {
    std::string marked;
    if (!settings_.legacy) {
      marked = mark_start(text);
      text = marked;
    }
    std::vector<Part> parts = split(text);
    strip_neighbours(parts);
    for (const Part& part : parts) {
      if (part.token != nullptr) {
        ids.push_back(part.token->id);
      } else if (!part.text.empty()) {
        const std::vector<std::int64_t> encoded =
            settings_.legacy ? model_.encode(part.text) : encode_unmarked(part.text);
        ids.insert(ids.end(), encoded.begin(), encoded.end());
      }
    }
  }

  /// transformers without `legacy`: U+2581 marks the start of the text, and only there.
  static std::string mark_start(std::string_view text) {
    std::string marked(SentencePieceModel::blank);
    for (std::size_t at = 0; at < text.size();) {
      if (text.substr(at).starts_with(SentencePieceModel::blank)) {
        marked += ' ';
        at += SentencePieceModel::blank.size();
      } else {
        marked += text[at++];
      }
    }
    return marked;
  }

  /// transformers without `legacy`: drops the blank that encoding puts in front of text that is not at the start.
  [[nodiscard]] std::vector<std::int64_t> encode_unmarked(std::string_view text) const {
    if (text.starts_with(SentencePieceModel::blank))
      return model_.encode(text.substr(SentencePieceModel::blank.size()));
    std::vector<std::int64_t> ids = model_.encode(text);
    if (text.starts_with(' ') || ids.empty()) return ids;
    const std::string_view first = model_.piece(ids.front()).text;
    if (!first.starts_with(SentencePieceModel::blank)) return ids;
    if (first.size() == SentencePieceModel::blank.size())
      ids.erase(ids.begin());
    else
      ids.front() = model_.id_of(first.substr(SentencePieceModel::blank.size()));
    return ids;
  }

  SentencePieceModel model_;
  TokenizerSettings settings_;
  std::string file_;
  std::vector<std::string> added_texts_;  ///< by id - model_.size()
  std::vector<WholeToken> whole_;
  std::array<std::vector<std::size_t>, 256> starts_;  ///< whole tokens by first byte, longest first
  std::unordered_set<std::int64_t> special_ids_;
  std::int64_t bos_ = 0;
  std::int64_t eos_ = 0;
  std::int64_t unk_ = 0;
};

/// Turns generated ids into text while they arrive, special tokens skipped. The returned pieces, put together, equal
/// `decode(ids, true)`; none of them ends inside a character.
class TextStream {
 public:
  /// @param tokenizer must outlive the stream
  explicit TextStream(const Tokenizer& tokenizer) : tokenizer_(&tokenizer), joiner_(tokenizer.model()) {}

  /// Text that `id` makes certain; may be empty. @throws InputError on an id outside the vocabulary
  [[nodiscard]] std::string push(std::int64_t id) {
    if (id == image_token_id) return {};
    const auto added = tokenizer_->added_text(id);
    if (tokenizer_->is_special(id)) return {};
    const bool starts_part = added.has_value() || !in_text_;
    std::string text = starts_part ? joiner_.finish() : std::string();
    if (starts_part && !first_) text += ' ';
    first_ = false;
    if (starts_part) joiner_ = PieceJoiner(tokenizer_->model());
    in_text_ = !added.has_value();
    return text + (added ? std::string(*added) : joiner_.push(id));
  }

  /// Text of bytes that no further id completed.
  [[nodiscard]] std::string finish() { return joiner_.finish(); }

 private:
  const Tokenizer* tokenizer_;
  PieceJoiner joiner_;
  bool first_ = true;     ///< nothing was shown yet
  bool in_text_ = false;  ///< the last id shown was ordinary text
};

inline std::string Tokenizer::decode(std::span<const std::int64_t> ids, bool skip_special) const {
  if (skip_special) {
    TextStream stream(*this);
    std::string text;
    for (const std::int64_t id : ids) text += stream.push(id);
    return text + stream.finish();
  }
  std::string text;
  // Ordinary text since the last added token, and the part of it since the last special token.
  std::string run, part;
  std::size_t run_tokens = 0;
  bool after_special = false, first = true;
  PieceJoiner joiner(model_);
  const auto end_run = [&] {
    if (run_tokens > 0) {
      text += (first ? "" : " ") + run + part + joiner.finish();
      first = false;
    }
    run.clear();
    part.clear();
    run_tokens = 0;
    after_special = false;
    joiner = PieceJoiner(model_);
  };
  for (const std::int64_t id : ids) {
    if (id == image_token_id) continue;
    if (const auto added = added_text(id)) {
      end_run();
      text += (first ? "" : " ") + std::string(*added);
      first = false;
    } else if (is_special(id)) {
      // transformers puts the blank before the text that precedes the token, not before the token.
      if (!after_special && run_tokens > 0) run += ' ';
      run += part + joiner.finish() + model_.piece(id).text;
      part.clear();
      joiner = PieceJoiner(model_);
      after_special = true;
      ++run_tokens;
    } else {
      part += joiner.push(id);
      after_special = false;
      ++run_tokens;
    }
  }
  end_run();
  return text;
}

/// What LISA's chat.py prints for decoded text: line feeds dropped, then double blanks halved once.
[[nodiscard]] inline std::string chat_text(std::string_view decoded) {
  std::string flat;
  for (const char c : decoded)
    if (c != '\n') flat += c;
  std::string text;
  for (std::size_t i = 0; i < flat.size(); ++i) {
    text += flat[i];
    if (flat[i] == ' ' && i + 1 < flat.size() && flat[i + 1] == ' ') ++i;
  }
  return text;
}

}  // namespace lisa
