#include "access_history.hpp"

#include <algorithm>
#include <bit>

namespace simt {

namespace {
constexpr std::uint32_t warp_threads = 32;
}

AccessHistory::AccessHistory(std::size_t bytes, unsigned granularity)
    : granularity_(granularity), cells_((bytes + granularity - 1) / granularity) {}

void AccessHistory::begin_launch() {
  for (Cell& cell : cells_) {
    cell.write.block = none;
    cell.entries = none;
  }
  entries_.clear();
  free_ = none;
}

void AccessHistory::clear() {
  std::fill(cells_.begin(), cells_.end(), Cell{});
  entries_.clear();
  free_ = none;
}

void AccessHistory::mark_initialised() {
  for (Cell& cell : cells_) cell.initialised = true;
}

std::size_t AccessHistory::uninitialised_bytes() const {
  return granularity_ * static_cast<std::size_t>(std::count_if(cells_.begin(), cells_.end(),
                                                               [](const Cell& cell) { return !cell.initialised; }));
}

void AccessHistory::set_in_flight(std::size_t offset, std::size_t bytes, bool in_flight) {
  for (std::size_t i = offset / granularity_; i < (offset + bytes) / granularity_; ++i) cells_[i].in_flight = in_flight;
}

std::uint32_t AccessHistory::unordered_lane(const Entry& entry, const Actor& now, const KnownClocks& known) {
  for (std::uint32_t lanes = entry.lanes; lanes != 0; lanes &= lanes - 1) {
    const auto lane = static_cast<std::uint32_t>(std::countr_zero(lanes));
    if (!ordered(actor_of(entry, lane), now, known)) return lane;
  }
  return none;
}

Actor AccessHistory::actor_of(const Entry& entry, std::uint32_t lane) {
  return {entry.block, entry.warp * warp_threads + lane, entry.clock, entry.pc};
}

std::uint32_t AccessHistory::new_entry() {
  if (free_ == none) {
    entries_.emplace_back();
    return static_cast<std::uint32_t>(entries_.size() - 1);
  }
  const std::uint32_t index = free_;
  free_ = entries_[index].next;
  return index;
}

void AccessHistory::release(std::uint32_t& list) {
  while (list != none) {
    const std::uint32_t next = entries_[list].next;
    entries_[list].next = free_;
    free_ = list;
    list = next;
  }
}

void AccessHistory::insert(Cell& cell, Access access, const Actor& actor, const KnownClocks& known) {
  const std::uint32_t warp = actor.thread / warp_threads, lane_bit = 1U << (actor.thread % warp_threads);
  for (std::uint32_t i = cell.entries; i != none; i = entries_[i].next) {
    Entry& entry = entries_[i];
    if (entry.access == access && entry.block == actor.block && entry.warp == warp && entry.clock == actor.clock) {
      entry.lanes |= lane_bit;
      return;
    }
  }
  // An entry that happened before the new one, and conflicts with no more than it, is no longer needed: what is ordered
  // after the new one is ordered after both.
  for (std::uint32_t* link = &cell.entries; *link != none;) {
    Entry& entry = entries_[*link];
    const bool stands_for = access == Access::atomic || entry.access == Access::read;
    if (stands_for && unordered_lane(entry, actor, known) == none) {
      const std::uint32_t dropped = *link;
      *link = entry.next;
      entries_[dropped].next = free_;
      free_ = dropped;
    } else {
      link = &entry.next;
    }
  }
  const std::uint32_t index = new_entry();
  entries_[index] = {actor.block, warp, actor.clock, lane_bit, cell.entries, access, actor.pc};
  cell.entries = index;
}

void AccessHistory::record(Access access, std::size_t offset, std::size_t bytes, const Actor& actor, const Known& known,
                           std::vector<Finding>& findings) {
  const auto find = [&](Finding::Kind kind, std::size_t cell, const Actor& earlier) {
    findings.push_back({kind, {}, cell * granularity_, earlier, actor});
  };
  for (std::size_t i = offset / granularity_; i < (offset + bytes) / granularity_; ++i) {
    Cell& cell = cells_[i];
    if (cell.in_flight) find(Finding::Kind::copy_in_flight, i, cell.write);
    if (access != Access::write && !cell.initialised) find(Finding::Kind::uninitialised_read, i, actor);
    if (cell.write.block != none && !ordered(cell.write, actor, known.accesses))
      find(access == Access::read ? Finding::Kind::write_read : Finding::Kind::write_write, i, cell.write);
    else if (cell.write.block != none && !ordered(cell.write, actor, known.writes))
      find(Finding::Kind::unfenced_write, i, cell.write);
    for (std::uint32_t k = cell.entries; k != none; k = entries_[k].next) {
      const Entry& entry = entries_[k];
      if (access == entry.access) continue;  // two reads or two atomics
      if (const std::uint32_t lane = unordered_lane(entry, actor, known.accesses); lane != none)
        find(entry.access == Access::read ? Finding::Kind::read_write
             : access == Access::read     ? Finding::Kind::write_read
                                          : Finding::Kind::write_write,
             i, actor_of(entry, lane));
    }
    if (access == Access::write) {
      cell.write = actor;
      release(cell.entries);
    } else {
      insert(cell, access, actor, known.accesses);
    }
    if (access != Access::read) cell.initialised = true;
  }
}

}  // namespace simt
