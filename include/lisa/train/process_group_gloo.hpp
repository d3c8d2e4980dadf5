#pragma once

// One source file of a program includes this header: c10d takes 10 s and 900 MB to compile.

#ifndef USE_C10D_GLOO
#define USE_C10D_GLOO  // ProcessGroupGloo.hpp is empty without it
#endif

#include <torch/headeronly/version.h>
#include <unistd.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/files/json.hpp"
#include "lisa/train/process_group.hpp"
#include "lisa/train/process_place.hpp"
#include "lisa/version.hpp"

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

/// "rank 1", "ranks 1 and 3".
[[nodiscard]] inline std::string rank_list(const std::vector<int>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (std::size_t i = 0; i < ranks.size(); ++i)
    text += (i == 0 ? "" : i + 1 == ranks.size() ? " and " : ", ") + std::to_string(ranks[i]);
  return text;
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

/// A group over Gloo, for tensors on the CPU.
class GlooGroup final : public ProcessGroup {
 public:
  GlooGroup(const ProcessPlace& place, const GroupPatience& patience) : place_(place), patience_(patience) {
    connect();
    meet();
    heartbeats_ = std::make_unique<Heartbeats>(place_, patience_);
    run("connecting to the others", [&] {
      gloo_ = c10::make_intrusive<c10d::ProcessGroupGloo>(
          c10::make_intrusive<c10d::PrefixStore>("gloo", store_), place_.rank, place_.world_size,
          c10d::ProcessGroupGloo::Options::create_default(patience_.operation));
    });
  }

  [[nodiscard]] int rank() const override { return place_.rank; }
  [[nodiscard]] int size() const override { return place_.world_size; }

  [[nodiscard]] std::unique_ptr<PendingOperation> begin_sum(const at::Tensor& tensor) override {
    std::vector<at::Tensor> tensors{tensor};
    auto pending = std::make_unique<Pending>(*this, "sum");
    run("sum", [&] { pending->work = gloo_->allreduce(tensors); });
    return pending;
  }

  void broadcast(const at::Tensor& tensor, int root) override {
    std::vector<at::Tensor> tensors{tensor};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    run("broadcast from rank " + std::to_string(root), [&] { gloo_->broadcast(tensors, options)->wait(); });
  }

  [[nodiscard]] std::vector<std::string> exchange(const std::string& mine) override {
    const std::string prefix = "exchange/" + std::to_string(exchanges_++) + "/";
    std::vector<std::string> texts;
    run("exchange", [&] {
      store_->set(prefix + std::to_string(place_.rank), std::vector<std::uint8_t>(mine.begin(), mine.end()));
      for (int rank = 0; rank < place_.world_size; ++rank) {
        const std::string key = prefix + std::to_string(rank);
        store_->wait({key}, patience_.operation);
        texts.push_back(store_text(*store_, key));
      }
    });
    barrier();  // keeps rank 0, which serves the store, until all have read
    return texts;
  }

  void barrier() override {
    run("barrier", [&] { gloo_->barrier()->wait(); });
  }

  void note(std::int64_t step, const std::string& phase) override { heartbeats_->note(step, phase); }

 private:
  struct Pending final : PendingOperation {
    Pending(GlooGroup& of, std::string named) : group(of), name(std::move(named)) {}
    void wait() override {
      group.run(name, [&] { work->wait(); });
    }
    GlooGroup& group;
    std::string name;
    c10::intrusive_ptr<c10d::Work> work;
  };

  [[nodiscard]] std::string meeting_point() const {
    return "MASTER_ADDR " + printable(place_.host) + ", MASTER_PORT " + std::to_string(place_.port);
  }

  void connect() {
    try {
      store_ = connect_store(place_, place_.rank == 0 && !place_.store_is_served, patience_.join);
    } catch (const std::exception& error) {
      const std::string_view text = error.what();
      if (text.find("EADDRINUSE") != std::string_view::npos)
        throw InputError(meeting_point(),
                         "found the port in use, expected a free one (or a second process has RANK 0)");
      throw IoError("", meeting_point(),
                    "rank " + std::to_string(place_.rank) + " found no store there: " + short_reason(text));
    }
  }

  /// Waits until every rank is there once, with the same number of processes and the same libraries.
  void meet() {
    const Json mine = {{"world_size", place_.world_size},
                       {"libtorch", TORCH_VERSION},
                       {"lisa", std::string(version)},
                       {"process", std::to_string(::getpid()) + " on " + host_name()}};
    try {
      const std::string text = mine.dump();
      const std::string first = claim("join/" + std::to_string(place_.rank), text);
      if (first != text)
        throw InputError(
            "RANK", found_expected(std::to_string(place_.rank) + " in process " + mine["process"].get<std::string>() +
                                       " and in process " + printable(parse_json(first, "join").value("process", "")),
                                   "each rank once"));
      await_others(mine);
    } catch (const Error&) {
      // Who serves the store stays until the others have seen the same.
      if (place_.rank == 0 && !place_.store_is_served) std::this_thread::sleep_for(3 * patience_.heartbeat);
      throw;
    } catch (const std::exception& error) {
      throw IoError("", meeting_point(), "lost the store while the processes met: " + short_reason(error.what()));
    }
  }

  /// Sets a key unless it is set; gives its value.
  [[nodiscard]] std::string claim(const std::string& key, const std::string& value) {
    const std::vector<std::uint8_t> bytes =
        store_->compareSet(key, {}, std::vector<std::uint8_t>(value.begin(), value.end()));
    return {bytes.begin(), bytes.end()};
  }

  void await_others(const Json& mine) {
    const auto deadline = std::chrono::steady_clock::now() + patience_.join;
    std::vector<int> missing;
    for (int rank = 0; rank < place_.world_size; ++rank) missing.push_back(rank);
    while (!missing.empty()) {
      std::erase_if(missing, [&](int rank) {
        const std::string key = "join/" + std::to_string(rank);
        if (!store_->check({key})) return false;
        compare_member(rank, parse_json(store_text(*store_, key), "rank " + std::to_string(rank)), mine);
        return true;
      });
      if (missing.empty()) break;
      if (std::chrono::steady_clock::now() > deadline)
        throw IoError("", meeting_point(),
                      rank_list(missing) + " of " + std::to_string(place_.world_size) + " did not come within " +
                          std::to_string(patience_.join.count() / 1000) + " s");
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

  void compare_member(int rank, const Json& other, const Json& mine) const {
    Defects defects;
    for (const char* const fact : {"world_size", "libtorch", "lisa"})
      if (other.value(fact, Json()) != mine[fact])
        defects.add(std::string(fact) + ": " +
                    found_expected(printable(other.value(fact, Json()).dump()) + " on rank " + std::to_string(rank),
                                   mine[fact].dump() + " as on rank " + std::to_string(place_.rank)));
    if (!defects.empty()) throw MismatchError("", "processes", defects.report("differences"));
  }

  static std::string host_name() {
    char name[256] = "";
    return ::gethostname(name, sizeof name - 1) == 0 ? name : "an unnamed machine";
  }

  /// Runs an operation; says which process is lost when it fails.
  template <class Operation>
  void run(const std::string& name, const Operation& operation) {
    try {
      operation();
    } catch (const std::exception& error) {
      const std::string found = heartbeats_->verdict();
      const std::string here = heartbeats_->where() + ", " + name + ": " + short_reason(error.what());
      heartbeats_->leave(found.empty() ? "error" : "gave up");
      throw IoError(
          "", "rank " + std::to_string(place_.rank),
          (found.empty() ? "an operation failed, all processes answer" : found) + " (noticed here in " + here + ")");
    }
  }

  ProcessPlace place_;
  GroupPatience patience_;
  c10::intrusive_ptr<c10d::Store> store_;
  std::unique_ptr<Heartbeats> heartbeats_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo_;
  std::int64_t exchanges_ = 0;
};

}  // namespace detail

/// Joins the group of processes that `place` speaks of; a single process needs no group and no network. The program
/// must ignore SIGPIPE (std::signal(SIGPIPE, SIG_IGN)), which a lost connection may otherwise end it with; c10d's own
/// warnings follow TORCH_CPP_LOG_LEVEL once the program has called c10::initLogging(). A process that leaves in the
/// middle of a run is named to the others when its group is destroyed. Throws InputError (port in use, a rank twice),
/// IoError (who did not come), MismatchError (other number of processes, other version of this library or libtorch,
/// with the ranks).
[[nodiscard]] inline std::unique_ptr<ProcessGroup> join_process_group(const ProcessPlace& place,
                                                                      const GroupPatience& patience = {}) {
  if (place.world_size == 1) return std::make_unique<SingleProcess>();
  return std::make_unique<detail::GlooGroup>(place, patience);
}

}  // namespace lisa
