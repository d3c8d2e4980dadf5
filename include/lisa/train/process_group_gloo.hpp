#pragma once

// One source file of a program includes this header: c10d takes 10 s and 900 MB to compile.

#ifndef USE_C10D_GLOO
#define USE_C10D_GLOO  // ProcessGroupGloo.hpp is empty without it
#endif

#include <torch/headeronly/version.h>
#include <unistd.h>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/files/json.hpp"
#include "lisa/train/process_group.hpp"
#include "lisa/train/process_group_nccl.hpp"
#include "lisa/train/process_heartbeats.hpp"
#include "lisa/train/process_place.hpp"
#include "lisa/version.hpp"

namespace lisa {

namespace detail {

/// "rank 1", "ranks 1 and 3".
[[nodiscard]] inline std::string rank_list(const std::vector<int>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (std::size_t i = 0; i < ranks.size(); ++i)
    text += (i == 0 ? "" : i + 1 == ranks.size() ? " and " : ", ") + std::to_string(ranks[i]);
  return text;
}

/// A group over Gloo for tensors on the CPU, and over NCCL for those on GPUs, as PyTorch's "cpu:gloo,cuda:nccl". NCCL
/// is connected when the first tensor on a GPU comes.
class LaunchedGroup final : public ProcessGroup {
 public:
  LaunchedGroup(const ProcessPlace& place, const GroupPatience& patience) : place_(place), patience_(patience) {
    connect();
    meet();
    heartbeats_ = std::make_unique<Heartbeats>(place_, patience_);
    run("connecting to the others", [&] {
      gloo_ = c10::make_intrusive<c10d::ProcessGroupGloo>(
          c10::make_intrusive<c10d::PrefixStore>("gloo", store_), place_.rank, place_.world_size,
          c10d::ProcessGroupGloo::Options::create_default(patience_.operation));
    });
  }

  ~LaunchedGroup() override {
    try {
      if (nccl_) nccl_->shutdown();
    } catch (const std::exception&) {  // of a group that failed, which has been said
    }
  }
  LaunchedGroup(const LaunchedGroup&) = delete;
  LaunchedGroup& operator=(const LaunchedGroup&) = delete;

  [[nodiscard]] int rank() const override { return place_.rank; }
  [[nodiscard]] int size() const override { return place_.world_size; }

  [[nodiscard]] std::unique_ptr<PendingOperation> begin_sum(const at::Tensor& tensor) override {
    std::vector<at::Tensor> tensors{tensor};
    auto pending = std::make_unique<Pending>(*this, "sum");
    c10d::Backend& backend = backend_of(tensor);
    run("sum", [&] { pending->work = backend.allreduce(tensors); });
    return pending;
  }

  void broadcast(const at::Tensor& tensor, int root) override {
    std::vector<at::Tensor> tensors{tensor};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    c10d::Backend& backend = backend_of(tensor);
    run("broadcast from rank " + std::to_string(root), [&] { backend.broadcast(tensors, options)->wait(); });
  }

  [[nodiscard]] std::vector<std::string> exchange(const std::string& mine) override {
    const std::string prefix = "exchange/" + std::to_string(exchanges_++) + "/";
    std::vector<std::string> texts;
    run("exchange", [&] {
      store_->set(prefix + std::to_string(place_.rank), std::vector<std::uint8_t>(mine.begin(), mine.end()));
      for (int rank = 0; rank < place_.world_size; ++rank) {
        const std::string key = prefix + std::to_string(rank);
        await(key);
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
    Pending(LaunchedGroup& of, std::string named) : group(of), name(std::move(named)) {}
    void wait() override {
      group.run(name, [&] { work->wait(); });
    }
    LaunchedGroup& group;
    std::string name;
    c10::intrusive_ptr<c10d::Work> work;
  };

  /// Waits for what another process stores. Nothing tells that a process which has yet to store it is lost, as a broken
  /// connection does in other operations: after some heartbeats, and again and again, they are asked.
  void await(const std::string& key) {
    const auto now = [] { return std::chrono::steady_clock::now(); };
    const auto deadline = now() + patience_.operation;
    auto inquiry = now() + 8 * patience_.heartbeat;
    std::chrono::milliseconds pause{1};
    while (!store_->check({key})) {
      if (now() > deadline)
        throw std::runtime_error("nothing within " + std::to_string(patience_.operation.count()) + " ms");
      if (now() > inquiry) {
        if (!heartbeats_->verdict().empty()) throw std::runtime_error("waited in vain");
        inquiry = now() + 8 * patience_.heartbeat;
      }
      std::this_thread::sleep_for(pause);
      pause = std::min(2 * pause, std::chrono::milliseconds(50));
    }
  }

  [[nodiscard]] c10d::Backend& backend_of(const at::Tensor& tensor) {
    if (!tensor.is_cuda()) return *gloo_;
    if (!nccl_)
      nccl_ = connect_gpus(c10::make_intrusive<c10d::PrefixStore>("nccl", store_), place_.rank, place_.world_size,
                           patience_.operation);
    return *nccl_;
  }

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
  c10::intrusive_ptr<c10d::Backend> gloo_;
  c10::intrusive_ptr<c10d::Backend> nccl_;
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
  return std::make_unique<detail::LaunchedGroup>(place, patience);
}

}  // namespace lisa
