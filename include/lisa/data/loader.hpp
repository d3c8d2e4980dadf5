#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/stopwatch.hpp"
#include "lisa/data/loader_options.hpp"
#include "lisa/data/sample_source.hpp"

namespace lisa {

/// Makes items on worker threads ahead of the one thread that takes them. They come in the order of their places,
/// whatever the number of threads; what `make` throws comes at its place too. At most `prefetch` items wait, and the
/// destructor ends the workers after the items they are making.
template <class Item>
class Loader {
 public:
  /// Makes the item of a place; called from several threads at once.
  using Make = std::function<Item(const SamplePlace& place)>;

  /// @param epoch_size places of an epoch
  /// @param start      first place, in any epoch; the end of one is the beginning of the next
  /// @throws InputError for an empty epoch, a start beyond the end of its epoch, or less than one thread or item
  Loader(std::uint64_t epoch_size, Make make, const SamplePlace& start, const LoaderOptions& options = {})
      : epoch_size_(epoch_size), make_(std::move(make)), end_epoch_(options.end_epoch), next_(start), ahead_(start) {
    require_valid(start, options);
    if (start.index == epoch_size) next_ = ahead_ = {start.epoch + 1, 0};
    slots_.resize(static_cast<std::size_t>(options.prefetch));
    for (int i = 0; i < std::min(options.threads, options.prefetch); ++i)
      workers_.emplace_back([this](const std::stop_token& stop) { work(stop); });
  }

  /// The item at `position()`, waiting for it if needed; nothing when the last epoch has ended. What making the item
  /// threw is thrown here, and the call after that goes on with the item behind it.
  std::optional<Item> next() {
    Stopwatch watch;
    std::unique_lock lock(mutex_);
    if (next_.epoch >= end_epoch_) return std::nullopt;
    Slot& slot = slots_[delivered_ % slots_.size()];
    made_.wait(lock, [&] { return slot.made; });
    wait_seconds_ += watch.lap();
    Slot taken = std::exchange(slot, Slot{});
    ++delivered_;
    next_ = after(next_);
    lock.unlock();
    wanted_.notify_one();
    if (taken.error) std::rethrow_exception(taken.error);
    return std::move(taken.item);
  }

  /// Place of the item that `next` gives; a loader that starts there goes on as this one does.
  [[nodiscard]] SamplePlace position() const {
    const std::scoped_lock lock(mutex_);
    return next_;
  }

  /// Time the consumer has spent in `next` waiting for items, in seconds.
  [[nodiscard]] double wait_seconds() const {
    const std::scoped_lock lock(mutex_);
    return wait_seconds_;
  }

 private:
  struct Slot {
    bool made = false;
    std::optional<Item> item;
    std::exception_ptr error;
  };

  void require_valid(const SamplePlace& start, const LoaderOptions& options) const {
    if (epoch_size_ == 0) throw InputError("loader", found_expected("an epoch without samples", "at least one"));
    if (start.index > epoch_size_)
      throw InputError("loader", found_expected("a start at sample " + std::to_string(start.index),
                                                "one of the " + std::to_string(epoch_size_) + " of an epoch"));
    if (options.threads < 1 || options.prefetch < 1)
      throw InputError("loader", found_expected(std::to_string(options.threads) + " threads and " +
                                                    std::to_string(options.prefetch) + " items ahead",
                                                "at least one of each"));
  }

  [[nodiscard]] SamplePlace after(const SamplePlace& place) const {
    return place.index + 1 < epoch_size_ ? SamplePlace{place.epoch, place.index + 1} : SamplePlace{place.epoch + 1, 0};
  }

  [[nodiscard]] bool has_room() const { return ahead_.epoch < end_epoch_ && taken_ - delivered_ < slots_.size(); }

  void work(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (wanted_.wait(lock, stop, [this] { return has_room(); })) {
      const SamplePlace place = std::exchange(ahead_, after(ahead_));
      const std::uint64_t ticket = taken_++;
      lock.unlock();
      Slot slot = filled(place);
      lock.lock();
      slots_[ticket % slots_.size()] = std::move(slot);
      if (ticket == delivered_) made_.notify_one();
    }
  }

  [[nodiscard]] Slot filled(const SamplePlace& place) const {
    Slot slot;
    slot.made = true;
    try {
      slot.item = make_(place);
    } catch (...) {
      slot.error = std::current_exception();
    }
    return slot;
  }

  const std::uint64_t epoch_size_;
  const Make make_;
  const std::uint64_t end_epoch_;

  mutable std::mutex mutex_;            // guards everything below but the threads
  std::condition_variable_any wanted_;  // a worker may begin an item
  std::condition_variable made_;        // the item that the consumer needs is there
  SamplePlace next_;                    // of the consumer
  SamplePlace ahead_;                   // of the item that is begun next
  std::uint64_t taken_ = 0;             // items begun
  std::uint64_t delivered_ = 0;         // items taken by the consumer
  std::vector<Slot> slots_;             // item number n is in slot n % slots
  double wait_seconds_ = 0;
  std::vector<std::jthread> workers_;  // last, so that they end first
};

/// A loader of samples from `source`, beginning at `start`. What is broken is named by `draw_sample`.
/// The source must give the same samples in every run for the loader to resume at a place.
[[nodiscard]] inline Loader<DrawnSample> sample_loader(SampleSource source, const SamplePlace& start,
                                                       BrokenSamples broken, const LoaderOptions& options = {}) {
  const std::uint64_t size = source.size;
  return {size,
          [source = std::move(source), broken](const SamplePlace& place) { return draw_sample(source, place, broken); },
          start, options};
}

}  // namespace lisa
