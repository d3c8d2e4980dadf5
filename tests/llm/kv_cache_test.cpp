#include "lisa/llm/kv_cache.hpp"

#include <rapidcheck.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/support/random_parameters.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

constexpr dim layers = 2, kv_heads = 3, width = 4;

/// Appends the rows begin..end of `keys` and `values` to every layer; layer i holds them times i + 1.
void run(KvCache& cache, const at::Tensor& keys, const at::Tensor& values, dim begin, dim end) {
  for (dim layer = 0; layer < layers; ++layer) {
    const double factor = static_cast<double>(layer) + 1;
    const auto all = cache.append(layer, keys.narrow(1, begin, end - begin).mul(factor),
                                  values.narrow(1, begin, end - begin).mul(factor));
    REQUIRE(at::equal(all.keys, keys.narrow(1, 0, end).mul(factor)));
    REQUIRE(at::equal(all.values, values.narrow(1, 0, end).mul(factor)));
  }
  cache.advance(end - begin);
}

at::Tensor some_rows(dim rows, std::uint64_t seed) { return test::random_tensor({kv_heads, rows, width}, seed); }

}  // namespace

TEST_CASE("a cache returns everything appended so far, across growth") {
  const at::Tensor keys = some_rows(400, 1), values = some_rows(400, 2);
  KvCache cache(layers, 400);
  CHECK(cache.length() == 0);
  run(cache, keys, values, 0, 7);
  run(cache, keys, values, 7, 8);
  for (dim i = 8; i < 200; ++i) run(cache, keys, values, i, i + 1);
  run(cache, keys, values, 200, 400);
  CHECK(cache.length() == 400);
}

TEST_CASE("rows count once the cache advances") {
  const at::Tensor keys = some_rows(3, 1), values = some_rows(3, 2);
  KvCache cache(layers, 10);
  run(cache, keys, values, 0, 2);
  // A step that breaks off between two layers is simply run again.
  const auto abandoned = cache.append(0, some_rows(1, 5), some_rows(1, 6));
  CHECK(abandoned.keys.size(1) == 3);
  CHECK(cache.length() == 2);
  run(cache, keys, values, 2, 3);
}

TEST_CASE("a cache refuses rows beyond its limit and keeps what it holds") {
  const at::Tensor keys = some_rows(10, 1), values = some_rows(10, 2);
  KvCache cache(layers, 9);
  run(cache, keys, values, 0, 8);
  try {
    static_cast<void>(cache.append(0, keys.narrow(1, 8, 2), values.narrow(1, 8, 2)));
    FAIL("two rows were taken where one has room");
  } catch (const InputError& error) {
    CHECK(std::string(error.what()) == "sequence: found 10 positions, expected at most 9, the model's context");
  }
  CHECK(cache.length() == 8);
  run(cache, keys, values, 8, 9);
}

TEST_CASE("truncate forgets the newest positions only") {
  const at::Tensor keys = some_rows(12, 1), values = some_rows(12, 2);
  KvCache cache(layers, 20);
  run(cache, some_rows(9, 3).narrow(1, 0, 9), some_rows(9, 4), 0, 9);
  cache.truncate(0);
  run(cache, keys, values, 0, 9);
  cache.truncate(30);
  CHECK(cache.length() == 9);
  cache.truncate(4);
  CHECK(cache.length() == 4);
  run(cache, keys, values, 4, 12);
}

TEST_CASE("a fork and its origin go their own ways") {
  const at::Tensor keys = some_rows(8, 1), values = some_rows(8, 2);
  const at::Tensor other_keys = at::cat({keys.narrow(1, 0, 5), some_rows(3, 3)}, 1);
  const at::Tensor other_values = at::cat({values.narrow(1, 0, 5), some_rows(3, 4)}, 1);
  KvCache cache(layers, 20);
  CHECK(cache.fork().length() == 0);
  run(cache, keys, values, 0, 5);
  KvCache fork = cache.fork();
  CHECK(fork.length() == 5);
  CHECK(fork.limit() == 20);
  run(fork, other_keys, other_values, 5, 7);
  run(cache, keys, values, 5, 7);
  run(fork, other_keys, other_values, 7, 8);
  run(cache, keys, values, 7, 8);
  static_assert(!std::is_copy_constructible_v<KvCache> && !std::is_copy_assignable_v<KvCache>);
}

TEST_CASE("storage for the limit never moves, holds what was stored, and is 0 behind it") {
  const at::Tensor keys = some_rows(90, 1), values = some_rows(90, 2);
  for (const dim before : {1, 20, 60, 90}) {  // of the limit's 90; from 26 on the storage has grown to it by itself
    CAPTURE(before);
    KvCache cache(layers, 90);
    run(cache, keys.add(100), values.add(100), 0, std::min<dim>(before + 5, 90));  // what stands behind is forgotten
    cache.truncate(0);
    run(cache, keys, values, 0, before);
    cache.reserve_limit();
    const auto addresses = [&] {
      std::vector<const void*> all;
      for (dim layer = 0; layer < layers; ++layer)
        for (const at::Tensor& stored : {cache.storage(layer).keys, cache.storage(layer).values})
          all.push_back(stored.const_data_ptr());
      return all;
    };
    const std::vector<const void*> first = addresses();
    for (dim layer = 0; layer < layers; ++layer) {
      const double factor = static_cast<double>(layer) + 1;
      const auto [k, v] = cache.storage(layer);
      CHECK(k.size(1) == 90);
      CHECK(at::equal(k.narrow(1, 0, before), keys.narrow(1, 0, before).mul(factor)));
      CHECK(at::equal(v.narrow(1, 0, before), values.narrow(1, 0, before).mul(factor)));
      CHECK(k.narrow(1, before, 90 - before).count_nonzero().item<std::int64_t>() == 0);
      CHECK(v.narrow(1, before, 90 - before).count_nonzero().item<std::int64_t>() == 0);
    }
    run(cache, keys, values, before, 90);
    cache.truncate(3);
    cache.reserve_limit();
    run(cache, keys, values, 3, 40);
    CHECK(addresses() == first);
  }
}

TEST_CASE("any order of appending and truncating leaves the newest content") {
  CHECK(rc::check([] {
    constexpr dim limit = 90;
    KvCache cache(layers, limit);
    at::Tensor keys = some_rows(limit, 1), values = some_rows(limit, 2);
    const int steps = *rc::gen::inRange(1, 12);
    for (int step = 0; step < steps; ++step) {
      if (*rc::gen::inRange(0, 3) == 0) {
        cache.truncate(*rc::gen::inRange<dim>(0, limit));
        // What is appended from here on differs from what stood there before.
        const dim kept = cache.length();
        keys = at::cat({keys.narrow(1, 0, kept), keys.narrow(1, kept, limit - kept).add(1)}, 1);
        values = at::cat({values.narrow(1, 0, kept), values.narrow(1, kept, limit - kept).sub(1)}, 1);
      }
      const dim room = limit - cache.length();
      if (room > 0) run(cache, keys, values, cache.length(), cache.length() + *rc::gen::inRange<dim>(1, room + 1));
    }
  }));
}
