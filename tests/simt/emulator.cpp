#include "emulator.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <stdexcept>
#include <utility>

#include "device.hpp"
#include "fiber.hpp"
#include "launch.hpp"
#include "source_line.hpp"
#include "warp_semantics.hpp"

namespace simt {

namespace {

using lisa::cuda::Vector16;

constexpr int most_threads = 1024;
constexpr int most_shared_bytes = 227 * 1024;
constexpr std::size_t most_findings = 64;

enum class State : std::uint8_t { ready, running, at_barrier, at_collective, exited };
enum class Collective : std::uint8_t { none, sync_warp, shuffle, ballot, load_matrix, multiply };

constexpr std::array collective_names{"nothing",  "sync_warp",     "a shuffle",
                                      "a ballot", "a matrix load", "a matrix product"};

/// A copy into shared memory on its way.
struct CopyInFlight {
  std::byte* to;
  const std::byte* from;
  Vector16 bytes;
  bool late;  // the source is read at the wait
  int group;
};

struct Thread {
  std::unique_ptr<Fiber> fiber;
  State state = State::exited;
  int index = 0;
  std::uint32_t clock = 0;
  KnownClocks known;
  Site site{};
  // while at a barrier
  int barrier_id = 0, barrier_threads = 0;
  // while at a collective operation of the warp
  Collective collective = Collective::none;
  LaneOperands operands;
  // asynchronous copies
  std::vector<CopyInFlight> copies;
  int group = 0;
};

std::string at(const Site& site) {
  const char* const slash = std::strrchr(site.file, '/');
  return std::string(slash != nullptr ? slash + 1 : site.file) + ":" + std::to_string(site.line);
}

/// One launch. Blocks run one after the other; threads of a block take turns on one processor thread.
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
  Thread& current() { return *current_; }
  [[nodiscard]] lisa::cuda::BlockIndex block() const { return block_; }
  std::byte* shared() { return shared_.begin; }

 private:
  void run_block();
  void join(std::span<Thread*> threads);
  void diagnose_standstill();
  bool release_barriers();
  [[noreturn]] void stop(const std::string& why);
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
  lisa::cuda::BlockIndex block_{};
  std::uint32_t block_number_ = 0;
  Thread* current_ = nullptr;
  KnownClocks joined_;
  std::vector<Finding> found_;
  std::map<std::pair<const void*, const void*>, std::size_t> places_;
  Report report_;
};

// Kernels reach the emulator through static functions and through the compiler's callbacks; this is who answers.
Launch* running_launch = nullptr;

Launch::Launch(Memory& memory, const lisa::cuda::LaunchGeometry& geometry, const std::function<void()>& body,
               detail::Arguments arguments, const LaunchOptions& options)
    : memory_(memory),
      geometry_(geometry),
      body_(body),
      arguments_(arguments),
      options_(options),
      random_(options.seed),
      threads_(static_cast<std::size_t>(geometry.threads)),
      shared_{"shared memory",
              nullptr,
              nullptr,
              static_cast<std::size_t>(geometry.shared_bytes),
              true,
              AccessHistory(static_cast<std::size_t>(geometry.shared_bytes), options.shared_granularity)} {
  constexpr std::size_t alignment = 1024;
  shared_.storage = std::make_unique<std::byte[]>(shared_.bytes + 2 * alignment);
  const auto start = reinterpret_cast<std::uintptr_t>(shared_.storage.get());
  shared_.begin = shared_.storage.get() + (alignment - start % alignment);
  for (Thread& thread : threads_) {
    thread.fiber = std::make_unique<Fiber>();
    thread.index = static_cast<int>(&thread - threads_.data());
  }
  for (const auto& region : memory.regions()) region->history.begin_launch();
}

Report Launch::run() {
  running_launch = this;
  const lisa::cuda::GridExtent grid = geometry_.grid;
  for (block_.z = 0; block_.z < grid.z; ++block_.z)
    for (block_.y = 0; block_.y < grid.y; ++block_.y)
      for (block_.x = 0; block_.x < grid.x; ++block_.x) {
        run_block();
        if (!report_.fault.empty()) {
          running_launch = nullptr;
          return std::move(report_);
        }
        ++block_number_;
      }
  running_launch = nullptr;
  return std::move(report_);
}

void Launch::run_block() {
  std::fill_n(shared_.begin, shared_.bytes, std::byte{0xFF});
  shared_.history.clear();
  for (Thread& thread : threads_) {
    thread.state = State::ready;
    thread.clock = 1;
    thread.known.assign(threads_.size(), 0);
    thread.copies.clear();
    thread.group = 0;
    thread.fiber->start(body_);
  }
  std::vector<int> order(threads_.size());
  std::iota(order.begin(), order.end(), 0);
  if (options_.schedule == Schedule::reverse) std::reverse(order.begin(), order.end());
  for (;;) {
    bool advanced = false;
    if (options_.schedule == Schedule::random) std::shuffle(order.begin(), order.end(), random_);
    for (const int i : order) {
      Thread& thread = threads_[static_cast<std::size_t>(i)];
      if (thread.state != State::ready) continue;
      current_ = &thread;
      thread.state = State::running;
      thread.fiber->enter();
      if (thread.state == State::running) thread.state = State::exited;
      current_ = nullptr;
      if (!report_.fault.empty()) return;
      advanced = true;
      if (thread.state == State::exited && !thread.copies.empty()) {
        report_.fault = describe(thread) + " ended with asynchronous copies that it never waited for";
        return;
      }
    }
    if (advanced) continue;
    if (std::all_of(threads_.begin(), threads_.end(), [](const Thread& t) { return t.state == State::exited; })) return;
    if (!release_barriers()) {
      diagnose_standstill();
      return;
    }
  }
}

/// Ends the barriers at which everyone has arrived. A barrier of the whole block is one with every thread of it.
bool Launch::release_barriers() {
  constexpr int barriers = 16;
  bool released = false;
  for (int id = 0; id < barriers; ++id) {
    std::vector<Thread*> waiting;
    for (Thread& thread : threads_)
      if (thread.state == State::at_barrier && thread.barrier_id == id) waiting.push_back(&thread);
    if (waiting.empty()) continue;
    const int expected = waiting[0]->barrier_threads == 0 ? geometry_.threads : waiting[0]->barrier_threads;
    const bool agreed = std::all_of(waiting.begin(), waiting.end(), [&](const Thread* t) {
      return t->barrier_threads == waiting[0]->barrier_threads && t->site == waiting[0]->site;
    });
    if (!agreed || static_cast<int>(waiting.size()) != expected) continue;
    join(waiting);
    for (Thread* thread : waiting) thread->state = State::ready;
    released = true;
  }
  return released;
}

/// Everything the threads did so far happened before everything that any of them does from now on.
void Launch::join(std::span<Thread*> threads) {
  joined_.assign(threads_.size(), 0);
  for (const Thread* thread : threads) {
    for (std::size_t i = 0; i < joined_.size(); ++i) joined_[i] = std::max(joined_[i], thread->known[i]);
    joined_[static_cast<std::size_t>(thread->index)] = thread->clock;
  }
  for (Thread* thread : threads) {
    thread->known = joined_;
    ++thread->clock;
  }
}

std::string Launch::describe(const Thread& thread) const {
  std::string text = "thread " + std::to_string(thread.index) + " of block " + std::to_string(block_.x) + "," +
                     std::to_string(block_.y) + "," + std::to_string(block_.z);
  if (thread.state == State::at_barrier) text += " waits in barrier at " + at(thread.site);
  if (thread.state == State::at_collective)
    text += std::string(" waits in ") + collective_names[static_cast<std::size_t>(thread.collective)] + " at " +
            at(thread.site);
  return text;
}

/// No thread can go on: says whom the first waiting one waits for.
void Launch::diagnose_standstill() {
  const auto waits = [](const Thread& t) { return t.state == State::at_barrier || t.state == State::at_collective; };
  const auto first_of = [&](State state) {
    return std::find_if(threads_.begin(), threads_.end(), [&](const Thread& t) { return t.state == state; });
  };
  const auto exited = first_of(State::exited);
  if (const auto lane = first_of(State::at_collective); lane != threads_.end()) {
    const int warp = lane->index / warp_lanes;
    for (const Thread& other : threads_)
      if (other.index / warp_lanes == warp && other.state != State::at_collective) {
        report_.fault = "divergent warp: " + describe(*lane) + "; " + describe(other) +
                        (other.state == State::exited ? " has ended" : "");
        return;
      }
  }
  const auto first = std::find_if(threads_.begin(), threads_.end(), waits);
  for (const Thread& other : threads_)
    if (other.state == State::at_barrier && other.site != first->site) {
      report_.fault = "divergent barrier: " + describe(*first) + "; " + describe(other);
      return;
    }
  report_.fault = "divergent barrier: " + describe(*first) + "; " +
                  (exited != threads_.end() ? describe(*exited) + " has ended" : "its number of threads never comes");
}

void Launch::stop(const std::string& why) {
  report_.fault = why + ", " + describe(*current_);
  current_->fiber->leave();
  __builtin_unreachable();
}

Memory::Region* Launch::region_of(const std::byte* address) {
  const auto holds = [&](const Memory::Region& region) {
    return address >= region.begin && address < region.begin + region.bytes;
  };
  if (holds(shared_)) return &shared_;
  for (const auto& region : memory_.regions())
    if (holds(*region)) return region.get();
  return nullptr;
}

void Launch::observe(Access access, const void* address, std::size_t bytes, const void* pc) {
  if (current_ == nullptr || bytes == 0 || current_->fiber->owns(address)) return;
  const auto* const byte = static_cast<const std::byte*>(address);
  const auto* const arguments = static_cast<const std::byte*>(arguments_.begin);
  if (access == Access::read && byte >= arguments && byte + bytes <= arguments + arguments_.bytes) return;
  const auto place = [&] { return " of " + std::to_string(bytes) + " bytes at " + source_line(pc); };
  const char* const verb = access == Access::read ? "read" : "write";
  Memory::Region* const region = region_of(byte);
  if (region == nullptr) {
    std::string nearest;
    const auto consider = [&](const Memory::Region& candidate) {
      const auto* const end = candidate.begin + candidate.bytes;
      constexpr std::ptrdiff_t near = 2048;
      if (byte >= end && byte - end < near)
        nearest = ", " + std::to_string(byte - end) + " bytes behind " + candidate.name;
      if (byte < candidate.begin && candidate.begin - byte < near)
        nearest = ", " + std::to_string(candidate.begin - byte) + " bytes before " + candidate.name;
    };
    consider(shared_);
    for (const auto& candidate : memory_.regions()) consider(*candidate);
    stop(std::string(verb) + place() + " outside of all memory" + nearest);
  }
  const auto offset = static_cast<std::size_t>(byte - region->begin);
  if (offset + bytes > region->bytes) stop(std::string(verb) + place() + " over the end of " + region->name);
  if (reinterpret_cast<std::uintptr_t>(address) % std::min<std::size_t>(bytes, sizeof(Vector16)) != 0)
    stop("misaligned " + std::string(verb) + place() + " in " + region->name);
  if (!region->writable) {
    if (access != Access::read) stop(std::string(verb) + place() + " to " + region->name + ", which is an input");
    return;
  }
  if (offset % region->history.granularity() != 0 || bytes % region->history.granularity() != 0)
    stop(std::string(verb) + place() + " in " + region->name + ", whose accesses are followed in cells of " +
         std::to_string(region->history.granularity()) + " bytes");
  const Actor actor{block_number_, static_cast<std::uint32_t>(current_->index), current_->clock, pc};
  found_.clear();
  region->history.record(access, offset, bytes, actor, current_->known, found_);
  for (Finding& finding : found_) {
    if (places_[{finding.earlier.pc, finding.later.pc}]++ != 0 || report_.findings.size() == most_findings) {
      ++report_.repeated;
      continue;
    }
    finding.memory = region->name;
    report_.findings.push_back(finding);
  }
}

void Launch::barrier(int id, int threads, Site site) {
  Thread& self = *current_;
  self.state = State::at_barrier;
  self.site = site;
  self.barrier_id = id;
  self.barrier_threads = threads;
  self.fiber->leave();
}

void Launch::collective(Collective kind, Site site, const LaneOperands& operands) {
  Thread& self = *current_;
  self.state = State::at_collective;
  self.collective = kind;
  self.site = site;
  self.operands = operands;
  const std::span<Thread> warp(&threads_[static_cast<std::size_t>(self.index / warp_lanes * warp_lanes)], warp_lanes);
  for (const Thread& lane : warp)
    if (lane.state == State::at_collective && (lane.collective != kind || lane.site != site))
      stop("divergent warp: " + describe(lane));
  if (std::any_of(warp.begin(), warp.end(), [](const Thread& lane) { return lane.state != State::at_collective; })) {
    self.fiber->leave();
    return;
  }
  // The last lane to arrive does the work of all.
  if (kind == Collective::sync_warp) {
    std::array<Thread*, warp_lanes> lanes{};
    for (std::size_t i = 0; i < warp_lanes; ++i) lanes[i] = &warp[i];
    join(lanes);
  } else {
    WarpOperands lanes{};
    for (std::size_t i = 0; i < warp_lanes; ++i) lanes[i] = warp[i].operands;
    operands.apply(lanes);
  }
  for (Thread& lane : warp) lane.state = State::ready;
  self.state = State::running;
}

void Launch::copy_async(void* to, const void* from, int bytes, const void* pc) {
  Thread& self = *current_;
  if (region_of(static_cast<const std::byte*>(to)) != &shared_)
    stop("asynchronous copy to memory that is not shared at " + source_line(pc));
  CopyInFlight copy{
      static_cast<std::byte*>(to), bytes == 0 ? nullptr : static_cast<const std::byte*>(from), {}, false, self.group};
  if (copy.from != nullptr) {
    observe(Access::read, from, sizeof copy.bytes, pc);
    copy.late =
        options_.schedule == Schedule::reverse || (options_.schedule == Schedule::random && (random_() & 1) != 0);
    if (!copy.late) std::memcpy(&copy.bytes, from, sizeof copy.bytes);
  }
  observe(Access::write, to, sizeof copy.bytes, pc);
  // Nobody may rely on these bytes before they have arrived: all ones is NaN in every floating type.
  std::memset(to, 0xFF, sizeof copy.bytes);
  shared_.history.set_in_flight(static_cast<std::size_t>(copy.to - shared_.begin), sizeof copy.bytes, true);
  self.copies.push_back(copy);
}

void Launch::wait_copies(int pending, const void* pc) {
  Thread& self = *current_;
  const int complete = self.group - pending;
  std::vector<CopyInFlight> rest;
  for (CopyInFlight& copy : self.copies) {
    if (copy.group >= complete) {
      rest.push_back(copy);
      continue;
    }
    if (copy.from != nullptr) observe(Access::read, copy.from, sizeof copy.bytes, pc);
    if (copy.late) std::memcpy(&copy.bytes, copy.from, sizeof copy.bytes);
    shared_.history.set_in_flight(static_cast<std::size_t>(copy.to - shared_.begin), sizeof copy.bytes, false);
    observe(Access::write, copy.to, sizeof copy.bytes, pc);
    std::memcpy(copy.to, &copy.bytes, sizeof copy.bytes);
  }
  self.copies = std::move(rest);
}

}  // namespace

void observe(Access access, const void* address, std::size_t bytes, const void* pc) {
  if (running_launch != nullptr) running_launch->observe(access, address, bytes, pc);
}

Report detail::launch(Memory& memory, const lisa::cuda::LaunchGeometry& geometry, const std::function<void()>& thread,
                      Arguments arguments, const LaunchOptions& options) {
  const lisa::cuda::GridExtent grid = geometry.grid;
  constexpr int most_blocks_yz = 65535;
  if (geometry.threads < 1 || geometry.threads > most_threads || geometry.threads % warp_lanes != 0)
    throw std::invalid_argument("found " + std::to_string(geometry.threads) +
                                " threads in a block, expected a multiple of 32 up to 1024");
  if (geometry.shared_bytes < 0 || geometry.shared_bytes > most_shared_bytes)
    throw std::invalid_argument("found " + std::to_string(geometry.shared_bytes) +
                                " bytes of shared memory, expected up to 227 KiB");
  if (grid.x < 0 || grid.y < 0 || grid.z < 0 || grid.y > most_blocks_yz || grid.z > most_blocks_yz)
    throw std::invalid_argument("found a grid with an extent that cannot be launched");
  return Launch(memory, geometry, thread, arguments, options).run();
}

namespace running {

int thread_index() { return running_launch->current().index; }
lisa::cuda::BlockIndex block_index() { return running_launch->block(); }
std::byte* shared_memory() { return running_launch->shared(); }
void barrier(int id, int threads, Site site) { running_launch->barrier(id, threads, site); }
void sync_warp(Site site) { running_launch->collective(Collective::sync_warp, site, {}); }

std::uint32_t shuffle(ShuffleKind kind, std::uint32_t value, int operand, Site site) {
  std::uint32_t result = 0;
  running_launch->collective(Collective::shuffle, site,
                             {&value, nullptr, &result, static_cast<int>(kind), operand, shuffle_lanes});
  return result;
}

std::uint32_t ballot(bool vote, Site site) {
  std::uint32_t result = 0;
  running_launch->collective(Collective::ballot, site, {nullptr, nullptr, &result, 0, vote ? 1 : 0, ballot_lanes});
  return result;
}

void load_matrix(std::uint32_t (&fragment)[4], const void* row, bool transposed, Site site) {
  observe(Access::read, row, sizeof(Vector16), __builtin_return_address(0));  // each lane reads its row in its own name
  Vector16 bytes;
  std::memcpy(&bytes, row, sizeof bytes);
  running_launch->collective(Collective::load_matrix, site,
                             {&bytes, nullptr, fragment, transposed ? 1 : 0, 0, exchange_matrix_rows});
}

void multiply_bf16(float (&sum)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Site site) {
  running_launch->collective(Collective::multiply, site, {a, b, sum, 0, 0, multiply_bf16_fragments});
}

void multiply_fp16(float (&sum)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Site site) {
  running_launch->collective(Collective::multiply, site, {a, b, sum, 0, 0, multiply_fp16_fragments});
}

void copy_async(void* shared, const void* global, int bytes) {
  running_launch->copy_async(shared, global, bytes, __builtin_return_address(0));
}
void commit_copies() { ++running_launch->current().group; }
void wait_copies(int pending) { running_launch->wait_copies(pending, __builtin_return_address(0)); }

Vector16 load16(const void* address) {
  observe(Access::read, address, sizeof(Vector16), __builtin_return_address(0));
  Vector16 value;
  std::memcpy(&value, address, sizeof value);
  return value;
}

void store16(void* address, const Vector16& value) {
  observe(Access::write, address, sizeof(Vector16), __builtin_return_address(0));
  std::memcpy(address, &value, sizeof value);
}

std::uint32_t atomic_add(std::uint32_t* address, std::uint32_t value) {
  observe(Access::atomic, address, sizeof value, __builtin_return_address(0));
  return std::exchange(*address, *address + value);
}

}  // namespace running

}  // namespace simt
