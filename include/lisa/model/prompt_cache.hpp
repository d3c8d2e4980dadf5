#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "lisa/llm/kv_cache.hpp"

namespace lisa {

/// A key/value cache that knows what stands at its positions (see `PromptRows`), so that the next prompt continues
/// where it first differs: the system text is run once for all images, an image once for all questions, a conversation
/// once for all its turns.
class PromptCache {
 public:
  explicit PromptCache(KvCache cache) : cache_(std::move(cache)) {}

  [[nodiscard]] KvCache& cache() noexcept { return cache_; }

  /// Keys of the positions that have been run.
  [[nodiscard]] std::span<const std::int64_t> keys() const {
    return std::span(keys_).first(std::min(keys_.size(), static_cast<std::size_t>(cache_.length())));
  }

  /// Forgets all but the first `length` positions and announces the keys of the prompt to run behind them.
  void restart(dim length, const std::vector<std::int64_t>& prompt_keys) {
    cache_.truncate(length);
    keys_ = prompt_keys;
  }

  /// Announces the next token of an answer. It counts once the cache has run it.
  void push(std::int64_t token) { keys_.push_back(token); }

  /// A copy with storage of its own.
  [[nodiscard]] PromptCache fork() const {
    PromptCache copy(cache_.fork());
    copy.keys_ = keys_;
    return copy;
  }

  /// A copy of the first `length` positions.
  [[nodiscard]] PromptCache fork(dim length) const {
    PromptCache copy(cache_.fork(length));
    const std::span<const std::int64_t> kept = keys().first(static_cast<std::size_t>(copy.cache_.length()));
    copy.keys_.assign(kept.begin(), kept.end());
    return copy;
  }

  /// Positions up to the end of the last image that was run; 0 without one.
  [[nodiscard]] dim image_end() const {
    const std::span<const std::int64_t> run = keys();
    const auto last = std::find_if(run.rbegin(), run.rend(), [](std::int64_t key) { return key < 0; });
    return run.rend() - last;
  }

  /// Memory of a copy of the first `length` positions, and of all of them.
  [[nodiscard]] std::size_t bytes(dim length) const { return cache_.bytes(length); }
  [[nodiscard]] std::size_t bytes() const { return cache_.bytes(cache_.length()); }

 private:
  KvCache cache_;
  std::vector<std::int64_t> keys_;  ///< may run ahead of the cache by what has been announced only
};

}  // namespace lisa
