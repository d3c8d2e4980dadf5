// torch-free
#include "lisa/data/loader.hpp"

#include <rapidcheck.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <latch>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

std::string shown(const SamplePlace& place) { return std::to_string(place.epoch) + "/" + std::to_string(place.index); }

/// Work whose length differs from item to item, so that threads overtake each other.
std::string make_slowly(const SamplePlace& place) {
  std::this_thread::sleep_for(std::chrono::microseconds(Random({place.epoch, place.index}).below(200)));
  return shown(place);
}

template <class Item>
std::vector<Item> all_of(Loader<Item>& loader) {
  std::vector<Item> items;
  while (std::optional<Item> item = loader.next()) items.push_back(std::move(*item));
  return items;
}

DataSet pictures(std::size_t size, std::size_t broken) {
  return {"pictures", size, [broken](std::size_t index, Random& random) {
            if (index == broken) throw FormatError("7.jpg", "", "found damaged data");
            Sample sample;
            sample.id = std::to_string(index) + " " + std::to_string(random.bits());
            return sample;
          }};
}

}  // namespace

TEST_CASE("items come in the order of their places, whatever the threads and the items ahead") {
  CHECK(rc::check([] {
    const auto epoch_size = *rc::gen::inRange<std::uint64_t>(1, 12);
    const SamplePlace start{*rc::gen::inRange<std::uint64_t>(0, 3), *rc::gen::inRange<std::uint64_t>(0, epoch_size)};
    const LoaderOptions options{.threads = *rc::gen::inRange(1, 5),
                                .prefetch = *rc::gen::inRange(1, 9),
                                .end_epoch = *rc::gen::inRange<std::uint64_t>(0, 5)};
    Loader<std::string> loader(epoch_size, make_slowly, start, options);
    for (std::uint64_t epoch = start.epoch; epoch < options.end_epoch; ++epoch)
      for (std::uint64_t index = epoch == start.epoch ? start.index : 0; index < epoch_size; ++index) {
        RC_ASSERT(loader.position() == (SamplePlace{epoch, index}));
        RC_ASSERT(loader.next() == shown({epoch, index}));
      }
    RC_ASSERT(!loader.next());
    RC_ASSERT(!loader.next());
  }));
}

TEST_CASE("a loader that starts at another's position goes on as that one does") {
  const SampleSource source = shuffled(pictures(23, 100), 4);
  Loader<DrawnSample> first = sample_loader(source, {0, 0}, BrokenSamples::stop);
  for (int i = 0; i < 40; ++i) static_cast<void>(first.next());
  CHECK(first.position() == SamplePlace{1, 17});
  Loader<DrawnSample> resumed = sample_loader(source, first.position(), BrokenSamples::stop, {.threads = 1});
  for (int i = 0; i < 20; ++i) CHECK(first.next()->sample.id == resumed.next()->sample.id);
  // The end of an epoch is the beginning of the next.
  Loader<DrawnSample> at_end = sample_loader(source, {1, 23}, BrokenSamples::stop);
  CHECK(at_end.position() == SamplePlace{2, 0});
}

TEST_CASE("a broken sample is reported at its place, and those behind it come all the same") {
  const SampleSource source = in_order(pictures(12, 7), 1);
  Loader<DrawnSample> loader = sample_loader(source, {0, 0}, BrokenSamples::stop, {.threads = 3, .end_epoch = 1});
  std::vector<std::string> messages;
  int samples = 0;
  while (loader.position().epoch == 0) {
    const std::uint64_t index = loader.position().index;
    try {
      const std::optional<DrawnSample> drawn = loader.next();
      CHECK(drawn->sample.id.starts_with(std::to_string(index) + " "));
      ++samples;
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::format);
      messages.push_back(error.what());
    }
  }
  CHECK(samples == 11);
  CHECK(messages == std::vector<std::string>{"sample 7 of epoch 0 of pictures: 7.jpg: found damaged data"});
}

TEST_CASE("with the policy skip a broken sample is replaced, named and the same for any number of threads") {
  const SampleSource source = shuffled(pictures(12, 7), 1);
  const auto read = [&](int threads) {
    std::vector<std::string> seen;
    Loader<DrawnSample> loader =
        sample_loader(source, {0, 0}, BrokenSamples::skip, {.threads = threads, .end_epoch = 3});
    for (const DrawnSample& drawn : all_of(loader)) {
      seen.push_back(drawn.sample.id);
      seen.insert(seen.end(), drawn.skipped.begin(), drawn.skipped.end());
    }
    return seen;
  };
  const std::vector<std::string> one = read(1);
  CHECK(one.size() >= 36 + 3);  // three epochs, and the broken one in each
  CHECK(read(4) == one);
}

TEST_CASE("errors that are none of the library's own are passed on as well") {
  Loader<int> loader(3,
                     [](const SamplePlace& place) { return place.index == 1 ? throw std::runtime_error("memory") : 5; },
                     {0, 0}, {.end_epoch = 1});
  CHECK(loader.next() == 5);
  CHECK_THROWS_AS(static_cast<void>(loader.next()), std::runtime_error);
  CHECK(loader.next() == 5);
  CHECK(!loader.next());
}

TEST_CASE("no more items are made ahead than asked for") {
  std::atomic<int> made = 0;
  std::latch four(4);
  {
    Loader<int> loader(100,
                       [&](const SamplePlace&) {
                         if (made.fetch_add(1) < 4) four.count_down();
                         return 0;
                       },
                       {0, 0}, {.threads = 3, .prefetch = 4});
    four.wait();
    // Nobody takes: the workers have no room for a fifth, now or at any time later.
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK(made == 4);
    static_cast<void>(loader.next());
    static_cast<void>(loader.next());
  }
  CHECK(made <= 6);
}

TEST_CASE("items are made at the same time by several threads") {
  // Each item waits until another one is in work: a single thread would never get further.
  std::latch both(2);
  Loader<int> loader(2,
                     [&](const SamplePlace& place) {
                       both.arrive_and_wait();
                       return static_cast<int>(place.index);
                     },
                     {0, 0}, {.threads = 2, .prefetch = 2, .end_epoch = 1});
  CHECK(loader.next() == 0);
  CHECK(loader.next() == 1);
}

TEST_CASE("the time the consumer waits is measured, and only that") {
  std::atomic<bool> release = false;
  Loader<int> loader(2,
                     [&](const SamplePlace& place) {
                       if (place.index == 0) return 0;
                       while (!release) std::this_thread::yield();
                       return 1;
                     },
                     {0, 0}, {.threads = 1, .end_epoch = 1});
  CHECK(loader.next() == 0);
  const double before = loader.wait_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // the consumer works: this is no waiting
  CHECK(loader.wait_seconds() == before);
  std::jthread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    release = true;
  });
  CHECK(loader.next() == 1);
  CHECK(loader.wait_seconds() >= before);
  CHECK(loader.wait_seconds() > 0);
}

TEST_CASE("a loader that nobody reads to the end stops at once, and what it holds is freed") {
  const auto token = std::make_shared<int>(1);
  for (int i = 0; i < 50; ++i) {
    Loader<std::shared_ptr<int>> loader(1000, [&](const SamplePlace&) { return token; }, {0, 0},
                                        {.threads = 3, .prefetch = 5});
    for (int k = 0; k < i % 4; ++k) static_cast<void>(loader.next());
  }
  CHECK(token.use_count() == 1);
}

TEST_CASE("senseless loaders are refused") {
  const auto make = [](const SamplePlace&) { return 0; };
  CHECK_THROWS_AS(Loader<int>(0, make, {0, 0}), InputError);
  CHECK_THROWS_AS(Loader<int>(3, make, {0, 4}), InputError);
  CHECK_THROWS_AS(Loader<int>(3, make, {0, 0}, {.threads = 0}), InputError);
  CHECK_THROWS_AS(Loader<int>(3, make, {0, 0}, {.prefetch = 0}), InputError);
}
