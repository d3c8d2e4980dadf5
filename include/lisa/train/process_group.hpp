#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"

namespace lisa {

/// An operation between processes that goes on in the background.
class PendingOperation {
 public:
  virtual ~PendingOperation() = default;
  /// Waits for its end. Throws IoError naming the process that is lost.
  virtual void wait() = 0;
};

/// The processes of a run and what they do together. All of them call the same operations in the same order; every
/// operation throws IoError when a process is lost, naming it where it can be known. This header costs little to
/// compile; the real group is in process_group_gloo.hpp, for one source file of a program.
class ProcessGroup {
 public:
  virtual ~ProcessGroup() = default;
  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;

  /// Sums a contiguous tensor over the processes, in place.
  [[nodiscard]] virtual std::unique_ptr<PendingOperation> begin_sum(const at::Tensor& tensor) = 0;
  /// Overwrites a contiguous tensor with that of `root`.
  virtual void broadcast(const at::Tensor& tensor, int root) = 0;
  /// Every process' text, by rank.
  [[nodiscard]] virtual std::vector<std::string> exchange(const std::string& mine) = 0;
  /// Returns when all processes have come here.
  virtual void barrier() = 0;

  /// Tells where this process is, for the message about it should it be lost: "backward", "saving" ...
  virtual void note(std::int64_t step, const std::string& phase) = 0;
};

/// A run in one process.
class SingleProcess final : public ProcessGroup {
 public:
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int size() const override { return 1; }
  [[nodiscard]] std::unique_ptr<PendingOperation> begin_sum(const at::Tensor& /*tensor*/) override {
    struct Done final : PendingOperation {
      void wait() override {}
    };
    return std::make_unique<Done>();
  }
  void broadcast(const at::Tensor& /*tensor*/, int /*root*/) override {}
  [[nodiscard]] std::vector<std::string> exchange(const std::string& mine) override { return {mine}; }
  void barrier() override {}
  void note(std::int64_t /*step*/, const std::string& /*phase*/) override {}
};

/// Throws MismatchError, on every process, when a value is not the same on all of them; it names each value that
/// differs and the ranks that differ from rank 0. For configuration, parameter list, number of batches, versions ...
/// @param facts the same names in the same order everywhere
inline void require_same_everywhere(ProcessGroup& group,
                                    const std::vector<std::pair<std::string, std::string>>& facts) {
  Defects defects;
  for (const auto& [name, mine] : facts) {
    const std::vector<std::string> values = group.exchange(mine);
    std::map<std::string, std::string> ranks_of;  // value -> ranks
    for (std::size_t rank = 1; rank < values.size(); ++rank) {
      if (values[rank] == values[0]) continue;
      std::string& ranks = ranks_of[values[rank]];
      ranks += (ranks.empty() ? "" : ", ") + std::to_string(rank);
    }
    for (const auto& [value, ranks] : ranks_of)
      defects.add(printable(name) + ": " +
                  found_expected(quoted(value) + " on rank " + ranks, quoted(values[0]) + " as on rank 0"));
  }
  if (!defects.empty()) throw MismatchError("", "processes", defects.report("differences"));
}

}  // namespace lisa
