#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/text/tokenizer.hpp"

namespace lisa {

/// The text of an answer while its tokens arrive: ends before the first stop string, and tells which part can be shown
/// because no later token changes it or turns it into a stop string.
class AnswerText {
 public:
  /// @param tokenizer must outlive this
  /// @param stops     strings that end the answer and do not belong to it; empty ones are ignored
  AnswerText(const Tokenizer& tokenizer, std::vector<std::string> stops)
      : stream_(tokenizer), stops_(std::move(stops)) {
    std::erase(stops_, std::string());
  }

  /// Adds a token. False once a stop string is complete; later tokens are then ignored.
  [[nodiscard]] bool push(std::int64_t id) {
    if (!stopped_) append(stream_.push(id));
    return !stopped_;
  }

  /// Text that became certain since the last call. Valid until the next call of any member.
  [[nodiscard]] std::string_view take_certain() {
    const std::size_t begin = std::exchange(taken_, std::max(taken_, certain()));
    return std::string_view(text_).substr(begin, taken_ - begin);
  }

  /// The whole text; no more tokens follow.
  [[nodiscard]] const std::string& finish() {
    if (!stopped_) append(stream_.finish());
    finished_ = true;
    return text_;
  }

 private:
  void append(const std::string& more) {
    const std::size_t old_size = text_.size();
    text_ += more;
    std::size_t end = std::string::npos;
    for (const std::string& stop : stops_)
      end = std::min(end, text_.find(stop, old_size - std::min(old_size, stop.size() - 1)));
    if (end == std::string::npos) return;
    text_.resize(end);
    stopped_ = true;
  }

  /// Bytes in front of the longest ending that may still grow into a stop string.
  [[nodiscard]] std::size_t certain() const {
    std::size_t held_back = 0;
    if (!finished_ && !stopped_)
      for (const std::string& stop : stops_)
        for (std::size_t n = std::min(stop.size() - 1, text_.size()); n > held_back; --n)
          if (std::string_view(text_).substr(text_.size() - n) == std::string_view(stop).substr(0, n)) held_back = n;
    return text_.size() - held_back;
  }

  TextStream stream_;
  std::vector<std::string> stops_;
  std::string text_;
  std::size_t taken_ = 0;  ///< bytes already handed out
  bool stopped_ = false;
  bool finished_ = false;
};

}  // namespace lisa
