// torch-free
#include "lisa/data/sample_source.hpp"

#include <rapidcheck.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "lisa/data/mixture.hpp"
#include "lisa/data/permutation.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

/// A set whose samples are named by set and index and say what `random` gave them.
DataSet named_set(const std::string& name, std::size_t size) {
  return {name, size, [name](std::size_t index, Random& random) {
            Sample sample;
            sample.id = name + "|" + std::to_string(index);
            sample.dialogues.resize(1);
            sample.dialogues[0].group = std::to_string(random.bits());
            return sample;
          }};
}

/// `set` without the samples for which `broken` holds: they throw.
DataSet with_broken(DataSet set, std::function<bool(std::size_t)> broken) {
  set.read = [read = set.read, broken = std::move(broken)](std::size_t index, Random& random) {
    if (broken(index)) throw FormatError("image_" + std::to_string(index) + ".jpg", "", "found damaged data");
    return read(index, random);
  };
  return set;
}

std::string drawn(const SampleSource& source, const SamplePlace& place, std::uint64_t attempt = 0) {
  const Sample sample = source.read(place, attempt);
  return sample.id + " " + sample.dialogues.at(0).group;
}

std::vector<std::string> ids_of_epoch(const SampleSource& source, std::uint64_t epoch) {
  std::vector<std::string> ids;
  for (std::uint64_t i = 0; i < source.size; ++i) ids.push_back(source.read({epoch, i}, 0).id);
  return ids;
}

std::string message_of(const std::function<void()>& attempt) {
  try {
    attempt();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace

TEST_CASE("a permutation takes every index to a place of its own, every order with the same chance") {
  CHECK(rc::check([] {
    const auto count = *rc::gen::inRange<std::uint64_t>(1, 300);
    const Random random({*rc::gen::arbitrary<std::uint64_t>()});
    std::set<std::uint64_t> places;
    for (std::uint64_t i = 0; i < count; ++i) places.insert(permuted(i, count, random));
    RC_ASSERT(places.size() == count);
    RC_ASSERT(*places.rbegin() == count - 1);
  }));
  std::map<std::array<std::uint64_t, 4>, int> orders;
  for (std::uint64_t epoch = 0; epoch < 24'000; ++epoch) {
    std::array<std::uint64_t, 4> order{};
    for (std::uint64_t i = 0; i < 4; ++i) order[i] = permuted(i, 4, Random({11, epoch}));
    ++orders[order];
  }
  CHECK(orders.size() == 24);
  double chi_squared = 0;
  for (const auto& [order, count] : orders) chi_squared += (count - 1000.0) * (count - 1000.0) / 1000.0;
  CHECK(chi_squared < 49.7);  // 23 degrees of freedom: one in a thousand exceeds this
}

TEST_CASE("a permutation of a large range needs no table") {
  constexpr std::uint64_t count = std::numeric_limits<std::uint64_t>::max();
  std::set<std::uint64_t> places;
  for (std::uint64_t i = 0; i < 50; ++i) places.insert(permuted(i, count, Random({1})));
  CHECK(places.size() == 50);
  CHECK(*places.rbegin() > count / 2);
}

TEST_CASE("a shuffled source has every sample once an epoch, in another order each epoch and for each seed") {
  const SampleSource source = shuffled(named_set("set", 50), 1);
  const std::vector<std::string> first = ids_of_epoch(source, 0);
  CHECK(std::set(first.begin(), first.end()).size() == 50);
  CHECK(ids_of_epoch(source, 1) != first);
  CHECK(ids_of_epoch(shuffled(named_set("set", 50), 2), 0) != first);
  CHECK(ids_of_epoch(shuffled(named_set("set", 50), 1), 0) == first);
}

TEST_CASE("an evaluation reads in order, with the same chance in every epoch") {
  const SampleSource source = in_order(named_set("set", 3), 1);
  CHECK(ids_of_epoch(source, 0) == std::vector<std::string>{"set|0", "set|1", "set|2"});
  CHECK(drawn(source, {0, 1}) == drawn(source, {5, 1}));
  CHECK(drawn(source, {0, 1}) != drawn(in_order(named_set("set", 3), 2), {0, 1}));
}

TEST_CASE("a sample is a function of seed, epoch and index") {
  const std::vector<MixturePart> parts{{"a", 1, {named_set("a", 1000)}}, {"b", 1, {named_set("b", 1000)}}};
  for (const auto& make :
       {std::function<SampleSource(std::uint64_t)>([&](auto seed) { return mixture(parts, 9, seed); }),
        std::function<SampleSource(std::uint64_t)>([](auto seed) { return shuffled(named_set("set", 1000), seed); })}) {
    const std::string sample = drawn(make(7), {3, 5});
    const SampleSource again = make(7);
    static_cast<void>(drawn(again, {2, 8}));  // what was read before does not matter
    CHECK(drawn(again, {3, 5}) == sample);
    CHECK(drawn(again, {3, 6}) != sample);
    CHECK(drawn(again, {4, 5}) != sample);
    CHECK(drawn(make(8), {3, 5}) != sample);
    CHECK(drawn(again, {3, 5}, 1) != sample);
    CHECK(drawn(again, {3, 5}, 1) == drawn(make(7), {3, 5}, 1));
  }
}

TEST_CASE("a mixture draws parts by weight and the sets and samples inside uniformly") {
  const SampleSource source = mixture({{"sem_seg", 9, {named_set("small", 1), named_set("large", 4)}},
                                       {"refer_seg", 3, {named_set("refcoco", 2)}},
                                       {"none", 0, {named_set("never", 2)}},
                                       {"vqa", 3, {named_set("llava", 2)}},
                                       {"reason_seg", 1, {named_set("reason", 2)}}},
                                      32'000, 5);
  CHECK(source.name == "sem_seg||refer_seg||none||vqa||reason_seg");
  CHECK(source.size == 32'000);
  std::map<std::string, int> counts;
  for (std::uint64_t i = 0; i < source.size; ++i) {
    const std::string id = source.read({0, i}, 0).id;
    ++counts[id];
    ++counts[id.substr(0, id.find('|'))];
  }
  CHECK(counts["small"] == doctest::Approx(9000).epsilon(0.05));
  CHECK(counts["large"] == doctest::Approx(9000).epsilon(0.05));
  CHECK(counts["large|3"] == doctest::Approx(2250).epsilon(0.1));
  CHECK(counts["refcoco"] == doctest::Approx(6000).epsilon(0.05));
  CHECK(counts["llava"] == doctest::Approx(6000).epsilon(0.05));
  CHECK(counts["reason"] == doctest::Approx(2000).epsilon(0.1));
  CHECK(counts["never"] == 0);
}

TEST_CASE("an unusable mixture is refused with everything that is wrong with it") {
  const std::string message = message_of([] {
    static_cast<void>(
        mixture({{"empty", 1, {}}, {"none", 1, {named_set("hollow", 0)}}, {"less", -1, {named_set("set", 1)}}}, 1, 0));
  });
  for (const char* word : {"empty", "hollow", "less", "3 unusable parts"})
    CHECK_MESSAGE(message.find(word) != std::string::npos, message);
  CHECK_THROWS_AS(static_cast<void>(mixture({{"none", 0, {named_set("set", 1)}}}, 1, 0)), InputError);
  CHECK_THROWS_AS(static_cast<void>(mixture({}, 1, 0)), InputError);
  CHECK_THROWS_AS(static_cast<void>(shuffled(named_set("set", 0), 0)), InputError);
}

TEST_CASE("processes share an epoch without repeating a sample") {
  CHECK(rc::check([] {
    const auto size = *rc::gen::inRange<std::size_t>(1, 60);
    const auto ranks = *rc::gen::inRange<std::uint64_t>(1, 9);
    const SampleSource whole = shuffled(named_set("set", size), 3);
    std::vector<std::string> together(size);
    std::uint64_t places = 0;
    for (std::uint64_t rank = 0; rank < ranks; ++rank) {
      const SampleSource part = shard(whole, rank, ranks);
      places += part.size;
      for (std::uint64_t i = 0; i < part.size; ++i) together.at(i * ranks + rank) = drawn(part, {2, i});
    }
    RC_ASSERT(places == size);
    for (std::uint64_t i = 0; i < size; ++i) RC_ASSERT(together[i] == drawn(whole, {2, i}));
  }));
  CHECK_THROWS_AS(static_cast<void>(shard(shuffled(named_set("set", 4), 3), 2, 2)), InputError);
  CHECK_THROWS_AS(static_cast<void>(shard(shuffled(named_set("set", 4), 3), 0, 0)), InputError);
}

TEST_CASE("a broken sample stops with its place and file, or another takes its place and it is named") {
  const DataSet set = with_broken(named_set("set", 20), [](std::size_t index) { return index % 4 == 0; });
  const SampleSource source = shuffled(set, 6);
  std::size_t skipped = 0;
  for (std::uint64_t i = 0; i < source.size; ++i) {
    const DrawnSample sample = draw_sample(source, {1, i}, BrokenSamples::skip);
    const DrawnSample again = draw_sample(shuffled(set, 6), {1, i}, BrokenSamples::skip);
    CHECK(sample.sample.id == again.sample.id);
    CHECK(sample.skipped == again.skipped);
    const std::uint64_t index = permuted(i, 20, Random({6, 1}));
    const std::string place = "sample " + std::to_string(i) + " of epoch 1 of set: ";
    const std::string file = "image_" + std::to_string(index) + ".jpg: found damaged data";
    if (index % 4 != 0) {
      CHECK(sample.sample.id == "set|" + std::to_string(index));
      CHECK(sample.skipped.empty());
      continue;
    }
    ++skipped;
    REQUIRE(!sample.skipped.empty());
    CHECK(sample.skipped.front() == place + file);
    CHECK(message_of([&] { static_cast<void>(draw_sample(source, {1, i}, BrokenSamples::stop)); }) == place + file);
  }
  CHECK(skipped == 5);
}

TEST_CASE("skipping ends when nothing but broken samples comes, and at once where there is no replacement") {
  const DataSet broken = with_broken(named_set("set", 20), [](std::size_t) { return true; });
  const std::string message =
      message_of([&] { static_cast<void>(draw_sample(shuffled(broken, 6), {0, 2}, BrokenSamples::skip)); });
  CHECK_MESSAGE(message.starts_with("sample 2 of epoch 0 of set: 10 broken in a row, the last: image_"), message);
  CHECK(message_of([&] { static_cast<void>(draw_sample(in_order(broken, 6), {0, 2}, BrokenSamples::skip)); }) ==
        "sample 2 of epoch 0 of set: image_2.jpg: found damaged data");
}
