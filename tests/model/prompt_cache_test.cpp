#include "lisa/model/prompt_cache.hpp"

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

using Ids = std::vector<std::int64_t>;

Ids keys_of(const PromptCache& cache) { return {cache.keys().begin(), cache.keys().end()}; }

/// Runs rows through the single layer of a cache; each row holds `value`.
void run(PromptCache& prompt, dim rows, double value) {
  const at::Tensor content = at::full({1, rows, 2}, value, at::kFloat);
  static_cast<void>(prompt.cache().append(0, content, content));
  prompt.cache().advance(rows);
}

PromptCache empty_cache() { return PromptCache(KvCache(1, 100)); }

}  // namespace

TEST_CASE("announced keys count once the cache has run them") {
  PromptCache cache = empty_cache();
  CHECK(cache.keys().empty());
  cache.restart(0, {5, 6, 7});
  CHECK(cache.keys().empty());
  run(cache, 3, 1);
  CHECK(keys_of(cache) == Ids{5, 6, 7});
  cache.push(8);
  cache.push(9);
  CHECK(keys_of(cache) == Ids{5, 6, 7});
  run(cache, 1, 1);
  CHECK(keys_of(cache) == Ids{5, 6, 7, 8});  // the last token of an answer is chosen and never run
}

TEST_CASE("a restart keeps the common beginning") {
  PromptCache cache = empty_cache();
  cache.restart(0, {5, 6, 7});
  run(cache, 3, 1);
  cache.restart(2, {5, 6, 40, 41});
  CHECK(keys_of(cache) == Ids{5, 6});
  CHECK(cache.cache().length() == 2);
  run(cache, 2, 1);
  CHECK(keys_of(cache) == Ids{5, 6, 40, 41});
}

TEST_CASE("a prompt that was not run to its end leaves what was run") {
  PromptCache cache = empty_cache();
  cache.restart(0, {5, 6, 7, 8});
  run(cache, 2, 1);
  CHECK(keys_of(cache) == Ids{5, 6});
}

TEST_CASE("a fork goes its own way") {
  PromptCache cache = empty_cache();
  cache.restart(0, {5, 6});
  run(cache, 2, 1);
  PromptCache fork = cache.fork();
  cache.push(7);
  run(cache, 1, 2);
  fork.restart(1, {5, 9});
  run(fork, 1, 3);
  CHECK(keys_of(cache) == Ids{5, 6, 7});
  CHECK(keys_of(fork) == Ids{5, 9});
  const at::Tensor row = at::full({1, 1, 2}, 0.0, at::kFloat);
  CHECK(cache.cache().append(0, row, row).keys[0][1][0].item<float>() == 1);
  CHECK(fork.cache().append(0, row, row).keys[0][1][0].item<float>() == 3);
}

TEST_CASE("a copy of the beginning up to the image's end goes on by itself") {
  PromptCache cache = empty_cache();
  CHECK(cache.image_end() == 0);
  cache.restart(0, {5, -9, -10, 6, 7});
  CHECK(cache.image_end() == 0);  // announced, not run
  run(cache, 5, 1);
  CHECK(cache.image_end() == 3);
  PromptCache copy = cache.fork(cache.image_end());
  CHECK(keys_of(copy) == Ids{5, -9, -10});
  CHECK(copy.bytes() == cache.bytes(3));
  CHECK(copy.bytes() == std::size_t{2 * 3 * 2 * sizeof(float)});
  copy.restart(3, {5, -9, -10, 8});
  run(copy, 1, 2);
  CHECK(keys_of(copy) == Ids{5, -9, -10, 8});
  CHECK(keys_of(cache) == Ids{5, -9, -10, 6, 7});
  CHECK(cache.fork(100).cache().length() == 5);
  CHECK(keys_of(empty_cache().fork(3)).empty());
}
