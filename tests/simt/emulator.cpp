#include "emulator.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "launch_state.hpp"
#include "source_line.hpp"

namespace simt {

namespace {

using lisa::cuda::Vector16;

constexpr int most_threads = 1024;
constexpr int most_shared_bytes = 227 * 1024;
constexpr std::size_t most_findings = 64;
constexpr std::size_t agents = TransactionBarriers::most + warp_lanes;  // a warp's worth of each kind

}  // namespace

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
              AccessHistory(static_cast<std::size_t>(geometry.shared_bytes), options.shared_granularity)},
      transactions_(*this),
      products_(*this) {
  report_.threads = static_cast<std::uint32_t>(geometry.threads);
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
  const auto width = static_cast<std::uint32_t>(geometry_.grid.x),
             height = static_cast<std::uint32_t>(geometry_.grid.y);
  for (const std::uint32_t number : block_order()) {
    block_number_ = number;
    block_ = {static_cast<int>(number % width), static_cast<int>(number / width % height),
              static_cast<int>(number / width / height)};
    run_block();
    if (!report_.fault.empty()) break;
  }
  running_launch = nullptr;
  return std::move(report_);
}

/// Numbers of the grid's blocks, x first, as they run.
std::vector<std::uint32_t> Launch::block_order() {
  const lisa::cuda::GridExtent grid = geometry_.grid;
  std::vector<std::uint32_t> order(static_cast<std::size_t>(grid.x) * static_cast<std::size_t>(grid.y) *
                                   static_cast<std::size_t>(grid.z));
  std::iota(order.begin(), order.end(), 0U);
  if (options_.schedule == Schedule::reverse) std::reverse(order.begin(), order.end());
  if (options_.schedule == Schedule::random) std::shuffle(order.begin(), order.end(), random_);
  return order;
}

void Launch::run_block() {
  std::fill_n(shared_.begin, shared_.bytes, std::byte{0xFF});
  shared_.history.clear();
  transactions_.begin_block();
  products_.begin_block();
  fences_ = false;
  for (Thread& thread : threads_) {
    thread.state = State::ready;
    thread.clock = 1;
    thread.known = KnownClocks(threads_.size() + agents);
    thread.fenced = thread.known;
    thread.known[static_cast<std::size_t>(thread.index)] = thread.clock;
    thread.copies.clear();
    thread.group = 0;
    thread.fiber->start(body_);
  }
  std::vector<int> order(threads_.size());
  std::iota(order.begin(), order.end(), 0);
  if (options_.schedule == Schedule::reverse) std::reverse(order.begin(), order.end());
  for (;;) {
    if (options_.schedule == Schedule::random) std::shuffle(order.begin(), order.end(), random_);
    const bool advanced = run_threads(order);
    if (!report_.fault.empty()) return;
    if (advanced) continue;
    if (std::all_of(threads_.begin(), threads_.end(), [](const Thread& t) { return t.state == State::exited; })) {
      if (transactions_.copies_left()) report_.fault = "the block ended with tensor copies that nobody waited for";
      if (products_.products_left()) report_.fault = "the block ended with products that were never waited for";
      return;
    }
    if (!release_barriers()) {
      diagnose_standstill();
      return;
    }
  }
}

/// Lets each thread run that can. Whether there was one.
bool Launch::run_threads(std::vector<int>& order) {
  bool advanced = false;
  for (const int i : order) {
    Thread& thread = threads_[static_cast<std::size_t>(i)];
    current_ = &thread;
    if (thread.state == State::at_phase && transactions_.passed(thread)) thread.state = State::ready;
    if (thread.state != State::ready) continue;
    thread.state = State::running;
    thread.fiber->enter();
    if (thread.state == State::running) thread.state = State::exited;
    if (!report_.fault.empty()) break;
    advanced = true;
    if (thread.state == State::exited && !thread.copies.empty()) {
      report_.fault = describe(thread) + " ended with asynchronous copies that it never waited for";
      break;
    }
  }
  current_ = nullptr;
  return advanced;
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
  const auto share = [&](KnownClocks Thread::* clocks) {
    joined_ = KnownClocks(threads_.size() + agents);
    for (const Thread* thread : threads) joined_.learn(thread->*clocks);
    for (Thread* thread : threads) thread->*clocks = joined_;
  };
  share(&Thread::known);
  if (fences_) share(&Thread::fenced);
  for (Thread* thread : threads) thread->known[static_cast<std::size_t>(thread->index)] = ++thread->clock;
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
  this->access(access, address, bytes, pc,
               {block_number_, static_cast<std::uint32_t>(current_->index), current_->clock, pc},
               {current_->known, current_->known});
}

void Launch::access(Access access, const void* address, std::size_t bytes, const void* pc, const Actor& actor,
                    const Known& known) {
  const auto* const byte = static_cast<const std::byte*>(address);
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
  found_.clear();
  region->history.record(access, offset, bytes, actor, known, found_);
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

bool Launch::gather(Collective kind, Site site, std::span<Thread> group) {
  Thread& self = *current_;
  self.state = State::at_collective;
  self.collective = kind;
  self.site = site;
  // Other warps of a warpgroup may be behind, in an operation of their own.
  const auto arrived = [&](const Thread& lane) {
    return lane.state == State::at_collective && lane.collective == kind && lane.site == site;
  };
  for (const Thread& lane : group)
    if (lane.state == State::at_collective && !arrived(lane) &&
        (lane.index / warp_lanes == self.index / warp_lanes || of_warpgroup(lane.collective)))
      stop((of_warpgroup(kind) ? "divergent warpgroup: " : "divergent warp: ") + describe(lane));
  if (std::all_of(group.begin(), group.end(), arrived)) return true;
  self.fiber->leave();
  return false;
}

void Launch::release(std::span<Thread> group) {
  for (Thread& lane : group) lane.state = State::ready;
  current_->state = State::running;
}

void Launch::collective(Collective kind, Site site, const LaneOperands& operands) {
  const std::span<Thread> warp(&threads_[static_cast<std::size_t>(current_->index / warp_lanes * warp_lanes)],
                               warp_lanes);
  current_->operands = operands;
  if (!gather(kind, site, warp)) return;
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
  release(warp);
}

void Launch::fence_async_proxy() {
  fences_ = true;
  current_->fenced = current_->known;
  current_->known[static_cast<std::size_t>(current_->index)] = ++current_->clock;
}

/// Acquires what the counter's earlier tickets released, and releases what this thread knows. A plain store to the
/// counter needs no thought: it is ordered behind those tickets and hands on what they told, or it is a race.
std::uint32_t Launch::take_ticket(std::uint32_t* counter, std::uint32_t last, const void* pc) {
  observe(Access::atomic, counter, sizeof *counter, pc);
  Thread& self = *current_;
  ClocksOfBlocks& told = tickets_[counter];
  self.known.learn(told, block_number_);
  learn(told, self.known.told(block_number_));
  self.known[static_cast<std::size_t>(self.index)] = ++self.clock;
  return std::exchange(*counter, *counter >= last ? 0 : *counter + 1);
}

KnownClocks Launch::fenced(const Thread& thread) const {
  KnownClocks clocks = thread.fenced;
  for (std::size_t agent = threads_.size(); agent < clocks.size(); ++agent) clocks[agent] = thread.known[agent];
  return clocks;
}

Actor Launch::agent(std::size_t number, std::uint32_t clock, const void* pc) const {
  return {block_number_, static_cast<std::uint32_t>(threads_.size() + number), clock, pc};
}

bool Launch::is_shared(const void* address, std::size_t bytes) const {
  const auto* const byte = static_cast<const std::byte*>(address);
  return byte >= shared_.begin && byte + bytes <= shared_.begin + shared_.bytes;
}

std::uint32_t Launch::shared_offset(const void* address) const {
  return static_cast<std::uint32_t>(static_cast<const std::byte*>(address) - shared_.begin);
}

bool Launch::reads_late() {
  return options_.schedule == Schedule::reverse || (options_.schedule == Schedule::random && (random_() & 1) != 0);
}

void Launch::set_in_flight(std::byte* to, std::size_t bytes, bool in_flight) {
  // Nobody may rely on these bytes before they have arrived: all ones is NaN in every floating type.
  if (in_flight) std::memset(to, 0xFF, bytes);
  shared_.history.set_in_flight(shared_offset(to), bytes, in_flight);
}

void Launch::copy_async(void* to, const void* from, int bytes, const void* pc) {
  Thread& self = *current_;
  if (region_of(static_cast<const std::byte*>(to)) != &shared_)
    stop("asynchronous copy to memory that is not shared at " + source_line(pc));
  CopyInFlight copy{
      static_cast<std::byte*>(to), bytes == 0 ? nullptr : static_cast<const std::byte*>(from), {}, false, self.group};
  if (copy.from != nullptr) {
    observe(Access::read, from, sizeof copy.bytes, pc);
    copy.late = reads_late();
    if (!copy.late) std::memcpy(&copy.bytes, from, sizeof copy.bytes);
  }
  observe(Access::write, to, sizeof copy.bytes, pc);
  set_in_flight(copy.to, sizeof copy.bytes, true);
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
    set_in_flight(copy.to, sizeof copy.bytes, false);
    observe(Access::write, copy.to, sizeof copy.bytes, pc);
    std::memcpy(copy.to, &copy.bytes, sizeof copy.bytes);
  }
  self.copies = std::move(rest);
}

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

}  // namespace simt
