// torch-free
#include "lisa/data/random.hpp"

#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <set>
#include <utility>
#include <vector>

//
#include <doctest/doctest.h>

using namespace lisa;

TEST_CASE("the stream without a name is SplitMix64 from state 0") {
  Random random(std::initializer_list<std::uint64_t>{});
  CHECK(random.bits() == 0xE220A8397B1DCDAF);
  CHECK(random.bits() == 0x6E789E6AA1B965F4);
  CHECK(random.bits() == 0x06C45D188009454F);
  CHECK(random.bits() == 0xF88BB8A8724C81EC);
}

TEST_CASE("a name gives the same stream again, another name another one") {
  std::set<std::uint64_t> first_values;
  std::size_t names = 0;
  const auto note = [&](std::initializer_list<std::uint64_t> name) {
    const std::uint64_t first = Random(name).bits();
    CHECK(Random(name).bits() == first);
    first_values.insert(first);
    ++names;
  };
  note({});
  for (std::uint64_t a = 0; a < 20; ++a) {
    note({a});
    for (std::uint64_t b = 0; b < 20; ++b) {
      note({a, b});
      for (std::uint64_t c = 0; c < 20; ++c) note({a, b, c});
    }
  }
  CHECK(first_values.size() == names);
}

TEST_CASE("streams with neighbouring names do not follow each other") {
  // Neither the same numbers later, nor numbers whose bits agree more often than chance.
  constexpr int count = 4096;
  for (const auto& [one, other] : {std::pair(Random({5, 0, 7}), Random({5, 0, 8})),
                                   {Random({5, 0, 7}), Random({5, 1, 7})},
                                   {Random({5, 0, 7}), Random({6, 0, 7})}}) {
    Random a = one, b = other;
    std::set<std::uint64_t> values;
    int agreeing = 0;
    for (int i = 0; i < count; ++i) {
      const std::uint64_t x = a.bits(), y = b.bits();
      values.insert(x);
      values.insert(y);
      agreeing += std::popcount(~(x ^ y));
    }
    CHECK(values.size() == 2 * count);
    // 262144 fair coins have a standard deviation of 256.
    CHECK(std::abs(agreeing - 32 * count) < 5 * 256);
  }
}

TEST_CASE("whole numbers keep their bounds") {
  CHECK(rc::check([] {
    Random random({*rc::gen::arbitrary<std::uint64_t>()});
    const auto count =
        *rc::gen::oneOf(rc::gen::inRange<std::uint64_t>(1, 10), rc::gen::inRange<std::uint64_t>(1, UINT64_MAX));
    RC_ASSERT(random.below(count) < count);
    const auto low = *rc::gen::inRange<std::int64_t>(-1000, 1000);
    const auto high = low + *rc::gen::inRange<std::int64_t>(0, 1000);
    const std::int64_t drawn = random.between(low, high);
    RC_ASSERT(low <= drawn && drawn <= high);
    const double share = random.uniform();
    RC_ASSERT(share >= 0 && share < 1);
  }));
}

TEST_CASE("each outcome has its chance") {
  Random random({1});
  constexpr int draws = 100'000;
  std::array<int, 10> counts{};
  for (int i = 0; i < draws; ++i) ++counts[random.below(counts.size())];
  double chi_squared = 0;
  for (const int count : counts) chi_squared += (count - draws / 10.0) * (count - draws / 10.0) / (draws / 10.0);
  CHECK(chi_squared < 27.9);  // 9 degrees of freedom: one stream in a thousand exceeds this

  std::map<std::int64_t, int> ends;
  int hits = 0;
  double sum = 0, squares = 0, uniform = 0;
  for (int i = 0; i < draws; ++i) {
    ++ends[random.between(-1, 1)];
    hits += random.chance(0.25) ? 1 : 0;
    uniform += random.uniform(2, 4);
    const double x = random.normal();
    sum += x;
    squares += x * x;
  }
  CHECK(ends.size() == 3);
  CHECK(hits == doctest::Approx(0.25 * draws).epsilon(0.03));
  CHECK(uniform / draws == doctest::Approx(3).epsilon(0.005));
  CHECK(std::abs(sum / draws) < 0.02);
  CHECK(squares / draws == doctest::Approx(1).epsilon(0.03));
}

TEST_CASE("below rejects what would favour small numbers") {
  // With 3 * 2^62 outcomes, taking the remainder alone would give the lowest third half of all draws.
  Random random({2});
  constexpr std::uint64_t count = std::uint64_t{3} << 62;
  int low = 0;
  for (int i = 0; i < 30'000; ++i) low += random.below(count) < count / 3 ? 1 : 0;
  CHECK(low == doctest::Approx(10'000).epsilon(0.05));
}

TEST_CASE("shuffling permutes, and every order is as likely") {
  CHECK(rc::check([] {
    const auto values = *rc::gen::arbitrary<std::vector<int>>();
    std::vector<int> shuffled = values;
    Random({*rc::gen::arbitrary<std::uint64_t>()}).shuffle(shuffled);
    RC_ASSERT(std::is_permutation(values.begin(), values.end(), shuffled.begin(), shuffled.end()));
  }));
  std::map<std::array<int, 3>, int> orders;
  for (std::uint64_t i = 0; i < 12'000; ++i) {
    std::array<int, 3> order{0, 1, 2};
    Random({9, i}).shuffle(order);
    ++orders[order];
  }
  CHECK(orders.size() == 6);
  for (const auto& [order, count] : orders) CHECK(count == doctest::Approx(2000).epsilon(0.08));
}

TEST_CASE("picking reaches every member") {
  const std::vector<int> members{3, 1, 4};
  std::set<int> seen;
  Random random({4});
  for (int i = 0; i < 100; ++i) seen.insert(random.pick(members));
  CHECK(seen == std::set<int>{1, 3, 4});
}
