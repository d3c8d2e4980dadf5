#include "lisa/model/prompt_cache.hpp"

#include <ATen/ops/ones.h>

#include <cstdint>
#include <vector>

// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using Keys = std::vector<std::int64_t>;

/// Runs `rows` positions, as the language model does.
void run(PromptCache& cache, dim rows) {
  (void)cache.cache().append(0, at::ones({1, rows, 2}), at::ones({1, rows, 2}));
  cache.cache().advance(rows);
}

Keys keys(const PromptCache& cache) { return {cache.keys().begin(), cache.keys().end()}; }

}  // namespace

TEST_CASE("keys count once their positions have been run") {
  PromptCache cache(KvCache(1, 16));
  CHECK(keys(cache).empty());
  cache.restart(0, {5, 6, 7});
  CHECK(keys(cache).empty());
  run(cache, 3);
  CHECK(keys(cache) == Keys{5, 6, 7});
  cache.push(8);
  CHECK(keys(cache) == Keys{5, 6, 7});
  run(cache, 1);
  CHECK(keys(cache) == Keys{5, 6, 7, 8});
}

TEST_CASE("a restart keeps the positions that the next prompt shares") {
  PromptCache cache(KvCache(1, 16));
  cache.restart(0, {5, 6, 7});
  run(cache, 3);
  cache.restart(2, {5, 6, 9, 10});
  CHECK(keys(cache) == Keys{5, 6});
  run(cache, 2);
  CHECK(keys(cache) == Keys{5, 6, 9, 10});
}

TEST_CASE("a fork goes its own way") {
  PromptCache cache(KvCache(1, 16));
  cache.restart(0, {5, 6});
  run(cache, 2);
  PromptCache other = cache.fork();
  other.restart(1, {5, 9});
  run(other, 1);
  CHECK(keys(cache) == Keys{5, 6});
  CHECK(keys(other) == Keys{5, 9});
}
