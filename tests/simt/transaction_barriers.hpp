#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "access_history.hpp"
#include "tensor_map.hpp"

namespace simt {

class Launch;
struct Thread;

/// The transaction barriers of a block, and the tensor copies that they count. A phase ends as late as it can: when
/// someone waits for it, or when the next one begins. Until then the target of its copies is poison.
class TransactionBarriers {
 public:
  static constexpr std::size_t most = 32;  ///< of a block

  explicit TransactionBarriers(Launch& launch) : launch_(launch) {}

  void begin_block() { barriers_.clear(); }

  // Called by the running thread.
  void init(void* barrier, int arrivals, const void* pc);
  void arrive(void* barrier, int announced_bytes, const void* pc);
  void wait(void* barrier, int parity, Site site, const void* pc);
  void load_tile(void* shared, const TensorMap& map, const lisa::cuda::TileCoordinates& tile, void* barrier,
                 const void* pc);

  /// Whether the thread that waits may go on.
  bool passed(const Thread& thread);
  /// What keeps the waiting thread, in words.
  [[nodiscard]] std::string missing(const Thread& thread) const;
  /// Whether a copy was never waited for.
  [[nodiscard]] bool copies_left() const;

 private:
  struct Copy {
    std::byte* to;
    const std::byte* from;  // nullptr: outside of the tensor
    std::vector<std::byte> bytes;
    bool late;
  };
  struct Barrier {
    const void* at;
    int arrivals, pending;
    std::int64_t announced = 0, started = 0;  // bytes of the running phase
    std::uint32_t phase = 0;
    std::uint32_t clock = 0;  // of its agent
    KnownClocks gathered, gathered_fenced;
    KnownClocks released, released_fenced;  // by the phase before
    std::vector<Copy> copies;
  };

  Barrier& find(const void* barrier, const void* pc);
  void end_phase_if_complete(Barrier& barrier);
  void land(Barrier& barrier);

  Launch& launch_;
  std::vector<Barrier> barriers_;
};

}  // namespace simt
