#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "access_history.hpp"
#include "device.hpp"
#include "fiber.hpp"
#include "launch.hpp"
#include "transaction_barriers.hpp"
#include "warp_semantics.hpp"
#include "warpgroup_products.hpp"

// What a launch consists of while it runs; for the emulator's own files.

namespace simt {

enum class State : std::uint8_t { ready, running, at_barrier, at_collective, at_phase, exited };
enum class Collective : std::uint8_t {
  none,
  sync_warp,
  shuffle,
  ballot,
  load_matrix,
  multiply,
  fence_products,
  start_product,
  commit_products,
  wait_products
};
[[nodiscard]] constexpr bool of_warpgroup(Collective kind) { return kind >= Collective::fence_products; }

/// A copy into shared memory on its way.
struct CopyInFlight {
  std::byte* to;
  const std::byte* from;
  lisa::cuda::Vector16 bytes;
  bool late;  // the source is read at the wait
  int group;
};

struct Thread {
  std::unique_ptr<Fiber> fiber;
  State state = State::exited;
  int index = 0;
  std::uint32_t clock = 0;
  KnownClocks known;
  KnownClocks fenced;  ///< the part of `known` that the asynchronous proxy may rely on
  Site site{};
  // while at a barrier
  int barrier_id = 0, barrier_threads = 0;
  // while at a collective operation of the warp or warpgroup
  Collective collective = Collective::none;
  LaneOperands operands;
  std::span<const Registers> registers;
  // while waiting for the phase of a transaction barrier
  const void* awaited = nullptr;
  int parity = 0;
  // asynchronous copies
  std::vector<CopyInFlight> copies;
  int group = 0;
};

/// One launch. Blocks run one after the other, in the schedule's order; threads of a block take turns on one processor
/// thread. Beside the threads there are agents, which stand for what hardware does on its own: one for each transaction
/// barrier and the copies that it counts, and one for each warpgroup's products.
class Launch {
 public:
  Launch(Memory& memory, const lisa::cuda::LaunchGeometry& geometry, const std::function<void()>& body,
         detail::Arguments arguments, const LaunchOptions& options);

  Report run();

  // Called by the running thread.
  void observe(Access access, const void* address, std::size_t bytes, const void* pc);
  void barrier(int id, int threads, Site site);
  void collective(Collective kind, Site site, const LaneOperands& operands);
  void copy_async(void* to, const void* from, int bytes, const void* pc);
  void wait_copies(int pending, const void* pc);
  void fence_async_proxy();
  std::uint32_t take_ticket(std::uint32_t* counter, std::uint32_t last, const void* pc);
  TransactionBarriers& transactions() { return transactions_; }
  WarpgroupProducts& products() { return products_; }
  Thread& current() { return *current_; }
  [[nodiscard]] lisa::cuda::BlockIndex block() const { return block_; }
  std::byte* shared() { return shared_.begin; }

  // For the agents.
  /// Records an access that is not the running thread's own.
  void access(Access access, const void* address, std::size_t bytes, const void* pc, const Actor& actor,
              const Known& known);
  /// Marks bytes of shared memory as the target of an asynchronous copy, and poisons them; or as arrived.
  void set_in_flight(std::byte* to, std::size_t bytes, bool in_flight);
  /// Whether an asynchronous operation reads its source when it is waited for.
  bool reads_late();
  /// Waits until all of `group` have come to this operation; true for the last, who does the work and releases them.
  bool gather(Collective kind, Site site, std::span<Thread> group);
  void release(std::span<Thread> group);
  std::span<Thread> threads() { return threads_; }
  /// What an asynchronous operation that `thread` starts may rely on of the writes before it.
  [[nodiscard]] KnownClocks fenced(const Thread& thread) const;
  [[nodiscard]] Actor agent(std::size_t number, std::uint32_t clock, const void* pc) const;
  [[nodiscard]] bool is_shared(const void* address, std::size_t bytes) const;
  [[nodiscard]] std::uint32_t shared_offset(const void* address) const;
  [[noreturn]] void stop(const std::string& why);

 private:
  [[nodiscard]] std::vector<std::uint32_t> block_order();
  void run_block();
  bool run_threads(std::vector<int>& order);
  void join(std::span<Thread*> threads);
  void diagnose_standstill();
  bool release_barriers();
  std::string describe(const Thread& thread) const;
  Memory::Region* region_of(const std::byte* address);

  Memory& memory_;
  const lisa::cuda::LaunchGeometry& geometry_;
  const std::function<void()>& body_;
  detail::Arguments arguments_;
  LaunchOptions options_;
  std::mt19937 random_;
  std::vector<Thread> threads_;
  Memory::Region shared_;
  TransactionBarriers transactions_;
  WarpgroupProducts products_;
  lisa::cuda::BlockIndex block_{};
  std::uint32_t block_number_ = 0;
  std::map<const void*, ClocksOfBlocks> tickets_;  ///< what those who take the next number of a counter are told
  Thread* current_ = nullptr;
  KnownClocks joined_;
  bool fences_ = false;  // whether any thread of the block has fenced anything
  std::vector<Finding> found_;
  std::map<std::pair<const void*, const void*>, std::size_t> places_;
  Report report_;
};

/// Kernels reach the emulator through static functions and through the compiler's callbacks; this is who answers.
extern Launch* running_launch;

}  // namespace simt
