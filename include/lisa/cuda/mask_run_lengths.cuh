#pragma once

#include <cstdint>

#include "lisa/cuda/device_function.hpp"
#include "lisa/cuda/element.hpp"
#include "lisa/cuda/launch_geometry.hpp"

namespace lisa::cuda {

/// COCO's run lengths of masks whose bits `mask_upsample` packed by columns: columns from the left, each from the top,
/// beginning with a run of background, which may be 0 long.
struct MaskRunLengthsArguments {
  const std::uint32_t* column_bits;  // [masks, ceil(height / 32), width]: bit y % 32 of word y / 32; 0 below the image
  std::uint32_t* counts;             // [masks, capacity]: the first `capacity` run lengths of each mask
  std::uint32_t* runs;               // [masks]: how many run lengths there are, which may be more than `capacity`
  int masks, height, width;
  int capacity;
};

/// Why the kernel can't do this, in words; nullptr where it can. `masks` may be 0.
[[nodiscard]] constexpr const char* mask_run_lengths_refusal(const MaskRunLengthsArguments& a) {
  if (a.masks < 0 || a.masks > 65535) return "mask_run_lengths: takes 0 to 65535 masks";
  if (a.height < 1 || a.height > 65535 || a.width < 1 || a.width > 65535)
    return "mask_run_lengths: the image must have 1 to 65535 pixels per side";
  if (a.capacity < 1) return "mask_run_lengths: there must be room for at least one run length";
  return nullptr;
}

/// Threads of the one block that each mask gets; each takes a column at a time.
inline constexpr int run_length_threads = 512;

/// Launch of `mask_run_lengths`.
[[nodiscard]] constexpr LaunchGeometry mask_run_lengths_geometry(const MaskRunLengthsArguments& a) {
  constexpr int warps = run_length_threads / 32;
  return {{a.masks, 1, 1}, run_length_threads, warps * 2 * static_cast<int>(sizeof(std::uint32_t))};
}

/// What is known of some columns: how many changes between background and foreground they have, and where the last one
/// is, as a pixel number in the order of the columns. Without a change it is 0, where the first run begins.
struct ColumnChanges {
  std::uint32_t count, last;
};

/// `left` columns and then `right` ones; positions grow to the right.
LISA_DEVICE ColumnChanges followed_by(const ColumnChanges& left, const ColumnChanges& right) {
  return {left.count + right.count, right.last > left.last ? right.last : left.last};
}

/// The words of a mask's columns.
template <class Dev>
class MaskColumnBits {
 public:
  LISA_DEVICE MaskColumnBits(const MaskRunLengthsArguments& a, int mask)
      : height_(a.height),
        width_(a.width),
        words_(ceil_div(a.height, 32)),
        bits_(a.column_bits + static_cast<std::int64_t>(mask) * words_ * a.width) {}

  /// Calls `change(position)` for every pixel of column x that differs from the pixel before it.
  template <class Change>
  LISA_DEVICE void for_each_change(int x, Change change) const {
    std::uint32_t before = x > 0 ? word(x - 1, words_ - 1) >> ((height_ - 1) % 32) & 1 : 0;
    for (int k = 0; k < words_; ++k) {
      const std::uint32_t bits = word(x, k);
      std::uint32_t changes = bits ^ (bits << 1 | before);
      const int left = height_ - 32 * k;
      if (left < 32) changes &= (1U << left) - 1;
      before = bits >> 31;
      const std::uint32_t position =
          static_cast<std::uint32_t>(x) * static_cast<std::uint32_t>(height_) + static_cast<std::uint32_t>(32 * k);
      for (; changes != 0; changes &= changes - 1)
        change(position + static_cast<std::uint32_t>(Dev::trailing_zeros(changes)));
    }
  }

 private:
  LISA_DEVICE std::uint32_t word(int x, int k) const { return bits_[static_cast<std::int64_t>(k) * width_ + x]; }

  int height_, width_, words_;
  const std::uint32_t* bits_;
};

/// The kernel: one block per mask, which goes over the columns in groups of as many as it has threads. Every thread
/// counts the changes in its column, a scan over the block tells it where its run lengths go and where the last change
/// before its column was, and in a second pass it writes them.
template <class Dev>
LISA_DEVICE void mask_run_lengths(const MaskRunLengthsArguments& a) {
  constexpr int warps = run_length_threads / 32;
  auto* const warp_changes = reinterpret_cast<ColumnChanges*>(Dev::shared_memory());  // [warps]
  const int mask = Dev::block_index().x, thread = Dev::thread_index(), lane = thread % 32, warp = thread / 32;
  const MaskColumnBits<Dev> bits(a, mask);
  std::uint32_t* const counts = a.counts + static_cast<std::int64_t>(mask) * a.capacity;
  const auto write = [&](std::uint32_t run, std::uint32_t length) {
    if (run < static_cast<std::uint32_t>(a.capacity)) counts[run] = length;
  };

  ColumnChanges before{0, 0};  // of all columns of earlier groups
  for (int first = 0; first < a.width; first += run_length_threads) {
    const int x = first + thread;
    ColumnChanges own{0, 0};
    if (x < a.width) bits.for_each_change(x, [&](std::uint32_t position) { own = followed_by(own, {1, position}); });

    ColumnChanges up_to_here = own;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
      const ColumnChanges left{Dev::shuffle_up(up_to_here.count, distance), Dev::shuffle_up(up_to_here.last, distance)};
      if (lane >= distance) up_to_here = followed_by(left, up_to_here);
    }
    if (lane == 31) warp_changes[warp] = up_to_here;
    Dev::barrier();
    ColumnChanges whole_group{0, 0}, left_warps = before;
    for (int w = 0; w < warps; ++w) {
      const ColumnChanges other = warp_changes[w];
      if (w < warp) left_warps = followed_by(left_warps, other);
      whole_group = followed_by(whole_group, other);
    }
    Dev::barrier();  // before the next group's changes take their place

    const ColumnChanges left_lane{Dev::shuffle_up(up_to_here.count, 1), Dev::shuffle_up(up_to_here.last, 1)};
    ColumnChanges at = lane > 0 ? followed_by(left_warps, left_lane) : left_warps;
    if (x < a.width)
      bits.for_each_change(x, [&](std::uint32_t position) {
        write(at.count, position - at.last);
        at = {at.count + 1, position};
      });
    before = followed_by(before, whole_group);
  }
  if (thread == 0) {
    write(before.count, static_cast<std::uint32_t>(a.height) * static_cast<std::uint32_t>(a.width) - before.last);
    a.runs[mask] = before.count + 1;
  }
}

}  // namespace lisa::cuda
