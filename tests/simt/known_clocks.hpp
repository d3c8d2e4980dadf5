#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace simt {

/// Clocks of a block's threads and agents.
using BlockClocks = std::vector<std::uint32_t>;

/// What is known of several blocks, by their numbers.
using ClocksOfBlocks = std::map<std::uint32_t, std::shared_ptr<const BlockClocks>>;

/// The later of two knowledges, block by block.
void learn(ClocksOfBlocks& known, const ClocksOfBlocks& more);

/// What a thread knows of all of its block, itself included: thread u's accesses up to clock known[u] happened before.
/// Behind the threads come the agents that work beside them (see Launch). Of other blocks it knows what tickets have
/// told it.
class KnownClocks {
 public:
  KnownClocks() = default;
  explicit KnownClocks(std::size_t actors) : own_(actors) {}

  [[nodiscard]] std::size_t size() const { return own_.size(); }
  std::uint32_t& operator[](std::size_t actor) { return own_[actor]; }
  std::uint32_t operator[](std::size_t actor) const { return own_[actor]; }
  /// The clock up to which an actor of another block is known.
  [[nodiscard]] std::uint32_t of_another(std::uint32_t block, std::uint32_t actor) const;

  /// The later of two knowledges of threads of the same block.
  void learn(const KnownClocks& more);
  /// What a ticket told a thread of block `own`.
  void learn(const ClocksOfBlocks& more, std::uint32_t own);
  /// All of it, as a ticket of a thread of block `own` tells it.
  [[nodiscard]] ClocksOfBlocks told(std::uint32_t own) const;

 private:
  BlockClocks own_;
  std::shared_ptr<const ClocksOfBlocks> others_;  // nullptr: nothing
};

}  // namespace simt
