#include "transaction_barriers.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "launch_state.hpp"
#include "source_line.hpp"

namespace simt {

namespace {

constexpr std::size_t barrier_bytes = sizeof(lisa::cuda::TransactionBarrier);
constexpr std::size_t piece_bytes = sizeof(lisa::cuda::Vector16);

}  // namespace

TransactionBarriers::Barrier& TransactionBarriers::find(const void* barrier, const void* pc) {
  for (Barrier& candidate : barriers_)
    if (candidate.at == barrier) return candidate;
  launch_.stop("no transaction barrier was initialised where one is used at " + source_line(pc));
}

void TransactionBarriers::init(void* barrier, int arrivals, const void* pc) {
  if (!launch_.is_shared(barrier, barrier_bytes))
    launch_.stop("transaction barrier outside of shared memory at " + source_line(pc));
  launch_.observe(Access::write, barrier, barrier_bytes, pc);
  Barrier fresh{};
  fresh.at = barrier;
  fresh.arrivals = fresh.pending = arrivals;
  fresh.gathered = fresh.gathered_fenced = KnownClocks(launch_.current().known.size());
  fresh.released = fresh.released_fenced = fresh.gathered;
  const auto same = std::find_if(barriers_.begin(), barriers_.end(), [&](const Barrier& b) { return b.at == barrier; });
  if (same != barriers_.end()) launch_.stop("transaction barrier initialised twice at " + source_line(pc));
  if (barriers_.size() == most) launch_.stop("more than 32 transaction barriers");
  barriers_.push_back(std::move(fresh));
}

void TransactionBarriers::arrive(void* barrier, int announced_bytes, const void* pc) {
  launch_.observe(Access::atomic, barrier, barrier_bytes, pc);
  Barrier& b = find(barrier, pc);
  end_phase_if_complete(b);
  if (b.pending == 0) launch_.stop("more arrivals than a phase expects at " + source_line(pc));
  b.announced += announced_bytes;
  --b.pending;
  Thread& self = launch_.current();
  b.gathered.learn(self.known);
  b.gathered_fenced.learn(self.fenced);
  self.known[static_cast<std::size_t>(self.index)] = ++self.clock;
}

void TransactionBarriers::wait(void* barrier, int parity, Site site, const void* pc) {
  launch_.observe(Access::atomic, barrier, barrier_bytes, pc);
  find(barrier, pc);
  Thread& self = launch_.current();
  self.awaited = barrier;
  self.parity = parity;
  self.site = site;
  if (!passed(self)) {
    self.state = State::at_phase;
    self.fiber->leave();
  }
  const Barrier& b = find(barrier, pc);
  self.known.learn(b.released);
  self.fenced.learn(b.released_fenced);
}

bool TransactionBarriers::passed(const Thread& thread) {
  Barrier& b =
      *std::find_if(barriers_.begin(), barriers_.end(), [&](const Barrier& c) { return c.at == thread.awaited; });
  const auto running = [&] { return static_cast<int>(b.phase & 1); };
  if (running() == thread.parity) end_phase_if_complete(b);
  return running() != thread.parity;
}

void TransactionBarriers::end_phase_if_complete(Barrier& b) {
  if (b.pending != 0 || b.started != b.announced) return;
  land(b);
  const std::size_t number = static_cast<std::size_t>(&b - barriers_.data());
  b.gathered[launch_.agent(number, 0, nullptr).thread] = b.clock;
  const KnownClocks nothing(b.gathered.size());
  b.released = std::exchange(b.gathered, nothing);
  b.released_fenced = std::exchange(b.gathered_fenced, nothing);
  ++b.phase;
  b.pending = b.arrivals;
  b.announced = b.started = 0;
}

void TransactionBarriers::land(Barrier& b) {
  for (Copy& copy : b.copies) {
    if (copy.late && copy.from != nullptr) std::memcpy(copy.bytes.data(), copy.from, piece_bytes);
    launch_.set_in_flight(copy.to, piece_bytes, false);
    std::memcpy(copy.to, copy.bytes.data(), piece_bytes);
  }
  b.copies.clear();
}

void TransactionBarriers::load_tile(void* shared, const TensorMap& map, const lisa::cuda::TileCoordinates& tile,
                                    void* barrier, const void* pc) {
  constexpr std::uint32_t alignment = 128;
  const auto bytes = static_cast<std::size_t>(map.tiles.box_bytes());
  if (!launch_.is_shared(shared, bytes)) launch_.stop("tile that is not inside of shared memory at " + source_line(pc));
  const std::uint32_t start = launch_.shared_offset(shared);
  if (start % alignment != 0) launch_.stop("tile that does not start at a multiple of 128 bytes at " + source_line(pc));
  Barrier& b = find(barrier, pc);
  end_phase_if_complete(b);
  const Thread& self = launch_.current();
  const Actor actor = launch_.agent(static_cast<std::size_t>(&b - barriers_.data()), ++b.clock, pc);
  const KnownClocks writes = launch_.fenced(self);
  const Known known{self.known, writes};
  launch_.access(Access::atomic, barrier, barrier_bytes, pc, actor, known);
  const bool late = launch_.reads_late();
  std::byte* const arena = static_cast<std::byte*>(shared) - start;
  for_each_piece(map, tile, [&](std::uint32_t offset, const std::byte* source) {
    Copy copy{arena + swizzled(start + offset, map.tiles.swizzle), source, std::vector<std::byte>(piece_bytes), late};
    if (source != nullptr) {
      launch_.access(Access::read, source, piece_bytes, pc, actor, known);
      if (!late) std::memcpy(copy.bytes.data(), source, piece_bytes);
    }
    launch_.access(Access::write, copy.to, piece_bytes, pc, actor, known);
    launch_.set_in_flight(copy.to, piece_bytes, true);
    b.copies.push_back(std::move(copy));
  });
  b.started += static_cast<std::int64_t>(bytes);
}

std::string TransactionBarriers::missing(const Thread& thread) const {
  for (const Barrier& b : barriers_)
    if (b.at == thread.awaited)
      return std::to_string(b.pending) + " of " + std::to_string(b.arrivals) + " arrivals have not come, and " +
             std::to_string(b.announced) + " bytes were announced and " + std::to_string(b.started) + " copied";
  return "";
}

bool TransactionBarriers::copies_left() const {
  return std::any_of(barriers_.begin(), barriers_.end(), [](const Barrier& b) { return !b.copies.empty(); });
}

}  // namespace simt
