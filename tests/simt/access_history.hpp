#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "known_clocks.hpp"

namespace simt {

enum class Access : std::uint8_t { read, write, atomic };

/// A thread at one moment: its clock counts the barriers it has passed.
struct Actor {
  std::uint32_t block = 0;
  std::uint32_t thread = 0;
  std::uint32_t clock = 0;
  const void* pc = nullptr;  ///< the instruction, for messages
};

/// What happened before an access. Writes by threads are known apart to the agents of the asynchronous proxy, for which
/// they must have been fenced.
struct Known {
  const KnownClocks& accesses;
  const KnownClocks& writes;
};

/// Two accesses without order of which one writes, or one access that must not be.
struct Finding {
  enum class Kind : std::uint8_t {
    write_write,
    write_read,
    read_write,
    uninitialised_read,
    copy_in_flight,
    unfenced_write
  };
  Kind kind;
  std::string memory;  ///< name of the shared arena or buffer
  std::size_t offset;  ///< bytes
  Actor earlier, later;
};

/// All accesses to one piece of memory that a later access could conflict with. Exact: two accesses conflict when one
/// of them writes, not both are atomic, and neither happened before the other through barriers of the block or of the
/// warp, or through tickets. Nothing else orders threads of different blocks within a launch.
///
/// Memory is divided into cells of `granularity` bytes, the smallest access that the kernels make to it. A cell keeps
/// its last plain write, and of reads and atomics those that no later one stands for.
class AccessHistory {
 public:
  AccessHistory(std::size_t bytes, unsigned granularity);

  /// Forgets accesses; contents stay initialised. Between launches, which are ordered.
  void begin_launch();
  /// Everything is uninitialised and unaccessed again.
  void clear();
  void mark_initialised();

  /// Records an access of `bytes` at `offset`; both must be multiples of the granularity. Conflicts are appended to
  /// `findings` without the memory's name.
  void record(Access access, std::size_t offset, std::size_t bytes, const Actor& actor, const Known& known,
              std::vector<Finding>& findings);

  /// An asynchronous copy into these bytes was issued, or has arrived.
  void set_in_flight(std::size_t offset, std::size_t bytes, bool in_flight);

  [[nodiscard]] unsigned granularity() const { return granularity_; }
  /// Bytes that nothing has ever written.
  [[nodiscard]] std::size_t uninitialised_bytes() const;

 private:
  static constexpr std::uint32_t none = ~std::uint32_t{0};

  struct Cell {
    Actor write;                   // write.block == none: no write in this launch
    std::uint32_t entries = none;  // list of reads and atomics
    bool initialised = false;
    bool in_flight = false;
    Cell() { write.block = none; }
  };
  /// Reads or atomics of some lanes of one warp at one clock.
  struct Entry {
    std::uint32_t block, warp, clock, lanes;
    std::uint32_t next;
    Access access;
    const void* pc;
  };

  static bool ordered(const Actor& before, const Actor& now, const KnownClocks& known) {
    return before.clock <=
           (before.block == now.block ? known[before.thread] : known.of_another(before.block, before.thread));
  }
  /// A lane of `entry` that did not happen before `now`, or none.
  static std::uint32_t unordered_lane(const Entry& entry, const Actor& now, const KnownClocks& known);
  static Actor actor_of(const Entry& entry, std::uint32_t lane);
  void insert(Cell& cell, Access access, const Actor& actor, const KnownClocks& known);
  void release(std::uint32_t& list);
  std::uint32_t new_entry();

  unsigned granularity_;
  std::vector<Cell> cells_;
  std::vector<Entry> entries_;
  std::uint32_t free_ = none;
};

}  // namespace simt
