#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "access_history.hpp"
#include "device.hpp"
#include "lisa/cuda/hopper_types.hpp"

namespace simt {

class Launch;
struct Thread;

/// Some of a thread's registers.
struct Registers {
  std::byte* begin;
  std::size_t bytes;
};

/// The operands of a product that a warpgroup starts, as each lane names them.
struct Product {
  float* sum;                 // [columns / 2], the lane's
  const std::uint32_t* left;  // [4], the lane's; nullptr where the left operand is in shared memory
  std::uint64_t left_matrix;
  std::uint64_t right_matrix;
  int columns;
  lisa::cuda::Major right_major;
  float (*to_float)(std::uint16_t);
};

/// The products of a block's warpgroups. Registers that a product uses must be covered by a fence and unchanged since;
/// those of its sums are poison from then on until a wait hands them back. Operands are read when the product is
/// started or when it is waited for, by schedule.
class WarpgroupProducts {
 public:
  static constexpr std::size_t most = 8;  ///< warpgroups of a block

  explicit WarpgroupProducts(Launch& launch) : launch_(launch) {}

  void begin_block() { groups_ = {}; }

  // Called by the running thread; all threads of its warpgroup must come.
  void fence(std::span<const Registers> registers, Site site);
  void start(const Product& product, Site site, const void* pc);
  void commit(Site site);
  void wait(int pending, std::span<const Registers> registers, Site site);

  /// Whether registers were never handed back.
  [[nodiscard]] bool products_left() const;

 private:
  /// Registers of a lane and what they must contain.
  struct Kept {
    std::byte* begin;
    std::vector<std::byte> contents;
  };
  /// Sums of a warpgroup that a product on its way adds to, as all its lanes hold them.
  struct Sums {
    std::vector<float*> lanes;
    std::vector<float> values;  // [64, columns]
    int columns;
    int group;  // of the last product
    bool complete;
  };
  struct Started {
    std::vector<Product> lanes;
    std::vector<float> left;  // [64, 16], where it is in registers
    std::size_t sums;
    int group;
    std::uint32_t clock;
    bool computed;
    bool over;  // its group was waited for
  };
  struct Warpgroup {
    std::array<std::vector<Kept>, 128> fenced;
    std::array<std::vector<Kept>, 128> left;  // operands on their way
    std::vector<Sums> sums;
    std::vector<Started> products;
    int group = 0;
    std::uint32_t clock = 0;
    std::vector<Product> arriving = std::vector<Product>(128);
  };

  Warpgroup& own_group();
  std::span<Thread> own_threads();
  bool in_flight(const Warpgroup& group, std::size_t lane, const std::byte* begin, std::size_t bytes) const;
  void require_fence(const Warpgroup& group, std::size_t lane, const void* begin, std::size_t bytes);
  std::vector<float> take_left(Warpgroup& group);
  std::size_t take_sums(Warpgroup& group);
  void begin_product(Warpgroup& group, std::span<Thread> threads, const void* pc);
  void record_reads(const Product& product, std::span<Thread> threads, std::uint32_t clock, const void* pc);
  void compute(Warpgroup& group, Started& product);
  void check_untouched(const Warpgroup& group);
  void give_up_left(Warpgroup& group);
  void hand_back(Warpgroup& group, std::size_t lane, const Registers& r, std::vector<bool>& named);
  void forget(Warpgroup& group, const std::vector<bool>& named);
  std::vector<float> matrix(std::uint64_t descriptor, lisa::cuda::Major major, int own, const Product& product);

  Launch& launch_;
  std::array<Warpgroup, most> groups_;
};

}  // namespace simt
