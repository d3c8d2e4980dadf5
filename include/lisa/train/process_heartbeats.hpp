#pragma once

// One source file of a program includes this header, through process_group_gloo.hpp: c10d takes 10 s and 900 MB to
// compile.

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "lisa/base/printable.hpp"
#include "lisa/train/process_place.hpp"

namespace lisa {

/// How long the processes of a group wait for each other.
struct GroupPatience {
  std::chrono::milliseconds join = std::chrono::minutes(5);        ///< for all to be there
  std::chrono::milliseconds operation = std::chrono::minutes(10);  ///< in one operation
  std::chrono::milliseconds heartbeat = std::chrono::seconds(1);   ///< between two signs of life
};

namespace detail {

/// c10d's messages go on for pages: their first line, without the source location before it.
[[nodiscard]] inline std::string short_reason(std::string_view text) {
  text = text.substr(0, text.find('\n'));
  if (text.starts_with('['))
    if (const std::size_t end = text.find("] "); end != std::string_view::npos) text.remove_prefix(end + 2);
  return printable(text.substr(0, text.find(". Original Exception")), 300);
}

[[nodiscard]] inline c10::intrusive_ptr<c10d::Store> connect_store(const ProcessPlace& place, bool serve,
                                                                   std::chrono::milliseconds patience) {
  c10d::TCPStoreOptions options;
  options.port = place.port;
  options.isServer = serve;
  options.waitWorkers = false;
  options.timeout = patience;
  return c10::make_intrusive<c10d::PrefixStore>("lisa/" + place.attempt,
                                                c10::make_intrusive<c10d::TCPStore>(place.host, options));
}

[[nodiscard]] inline std::string store_text(c10d::Store& store, const std::string& key) {
  const std::vector<std::uint8_t> bytes = store.get(key);
  return {bytes.begin(), bytes.end()};
}

/// The signs of life of a group's processes. A thread of each one counts up in the store; who stops counting is lost.
/// What a thread of this class may still wait for when its owner goes is kept alive by the thread, because a store
/// whose server was stopped answers to nobody, and cannot be told to give up.
class Heartbeats {
 public:
  Heartbeats(const ProcessPlace& place, const GroupPatience& patience)
      : shared_(std::make_shared<Shared>(place, patience)) {
    shared_->store = connect_store(place, false, patience.join);
    shared_->beat();
    std::thread([shared = shared_] { shared->run(); }).detach();
  }
  ~Heartbeats() { leave(""); }
  Heartbeats(const Heartbeats&) = delete;
  Heartbeats& operator=(const Heartbeats&) = delete;

  void note(std::int64_t step, const std::string& phase) {
    const std::scoped_lock lock(shared_->mutex);
    shared_->where = "step " + std::to_string(step) + ", " + phase;
  }

  [[nodiscard]] std::string where() const {
    const std::scoped_lock lock(shared_->mutex);
    return shared_->where;
  }

  /// Which process was lost, in words; looks for some heartbeats at most. To be called after an operation failed.
  [[nodiscard]] std::string verdict() const {
    auto answer = std::make_shared<std::promise<std::string>>();
    std::future<std::string> found = answer->get_future();
    std::thread([shared = shared_, answer] { answer->set_value(shared->find_lost()); }).detach();
    if (found.wait_for(8 * shared_->patience.heartbeat + std::chrono::seconds(1)) == std::future_status::ready)
      return found.get();
    if (shared_->place.store_is_served) return "the launcher's store stopped answering";
    return "rank 0, which serves the store, stopped answering";
  }

  /// Ends the signs of life in order.
  void leave(const std::string& reason) {
    std::unique_lock lock(shared_->mutex);
    if (!shared_->stop) {
      shared_->stop = true;
      if (!reason.empty()) shared_->where += ": " + reason;
    }
    shared_->wake.notify_all();
    shared_->wake.wait_for(lock, 2 * shared_->patience.heartbeat, [&] { return shared_->ended; });
  }

 private:
  struct Shared {
    Shared(ProcessPlace of, GroupPatience with) : place(std::move(of)), patience(with) {}

    ProcessPlace place;
    GroupPatience patience;
    c10::intrusive_ptr<c10d::Store> store;  ///< a connection of its own: others may be waiting on theirs
    std::mutex mutex;
    std::condition_variable wake;
    std::string where = "joining";
    bool stop = false;
    bool ended = false;
    bool store_lost = false;
    std::int64_t count = 0;
    std::string known_verdict;

    static std::string key(int rank) { return "beat/" + std::to_string(rank); }

    /// One sign of life: "count|left or alive|where".
    void beat() {
      std::string sign;
      {
        const std::scoped_lock lock(mutex);
        sign = std::to_string(++count) + (stop ? "|left|" : "|alive|") + where;
      }
      store->set(key(place.rank), std::vector<std::uint8_t>(sign.begin(), sign.end()));
    }

    void run() {
      std::unique_lock lock(mutex);
      while (!ended) {
        wake.wait_for(lock, patience.heartbeat, [&] { return stop; });
        const bool last = stop;
        lock.unlock();
        bool lost = false;
        std::string heard;
        try {
          beat();
          if (store->check({"lost"})) heard = store_text(*store, "lost");
        } catch (const std::exception&) {
          lost = true;
        }
        lock.lock();
        if (!heard.empty()) known_verdict = heard;
        store_lost = lost;
        ended = last || lost;
      }
      wake.notify_all();
    }

    /// The verdict that another process has reached, or an own one, which the others then hear of.
    [[nodiscard]] std::string find_lost() {
      try {
        const std::vector<std::string> before = signs();
        std::this_thread::sleep_for(4 * patience.heartbeat);
        if (std::string heard = verdict_of_others(); !heard.empty()) return heard;
        std::string found = compare(before, signs());
        if (found.empty()) return found;
        const std::vector<std::uint8_t> mine(found.begin(), found.end());
        const std::vector<std::uint8_t> first = store->compareSet("lost", {}, mine);
        // Who serves the store stays until the others have heard.
        if (place.rank == 0 && !place.store_is_served) std::this_thread::sleep_for(3 * patience.heartbeat);
        return {first.begin(), first.end()};
      } catch (const std::exception&) {
        if (std::string heard = known(); !heard.empty()) return heard;
        return place.store_is_served ? "the launcher's store is gone" : "rank 0, which serves the store, is gone";
      }
    }

    [[nodiscard]] std::string known() {
      const std::scoped_lock lock(mutex);
      return known_verdict;
    }

    [[nodiscard]] std::string verdict_of_others() {
      return store->check({"lost"}) ? store_text(*store, "lost") : std::string();
    }

    [[nodiscard]] std::vector<std::string> signs() {
      std::vector<std::string> signs;
      for (int rank = 0; rank < place.world_size; ++rank)
        signs.push_back(store->check({key(rank)}) ? store_text(*store, key(rank)) : std::string());
      return signs;
    }

    /// The processes that left or stopped counting between two looks.
    [[nodiscard]] std::string compare(const std::vector<std::string>& before,
                                      const std::vector<std::string>& after) const {
      std::string text;
      for (int rank = 0; rank < place.world_size; ++rank) {
        const std::string& sign = after[static_cast<std::size_t>(rank)];
        const bool left = sign.find("|left|") != std::string::npos;
        if (rank == place.rank || (!left && sign != before[static_cast<std::size_t>(rank)])) continue;
        const std::size_t place_of_where = sign.find('|', sign.find('|') + 1);
        text += (text.empty() ? "" : "; ") + std::string("rank ") + std::to_string(rank) +
                (left ? " left in " : " stopped answering, last heard of in ") +
                (place_of_where == std::string::npos ? "joining" : printable(sign.substr(place_of_where + 1), 300));
      }
      return text;
    }
  };

  std::shared_ptr<Shared> shared_;
};

}  // namespace detail
}  // namespace lisa
