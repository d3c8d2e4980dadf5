#pragma once

#include <cstdint>

#include "lisa/cuda/device_function.hpp"
#include "lisa/cuda/mask_tiles.hpp"

// The end of `mask_upsample`: run lengths of the bits that its blocks have packed by columns. A run may cross every
// block, so that the blocks meet twice: the last one of a strip of columns finds where the strip's pixels change, and
// the last of those puts the strips behind each other.

namespace lisa::cuda {

/// What is known of some pixels in the order of the columns: how many changes between background and foreground they
/// have, and the number of the last pixel that differs from the one before it. Without a change it is 0, where the
/// first run begins.
struct ColumnChanges {
  std::uint32_t count, last;
};

/// COCO's run lengths of masks: columns from the left, each from the top, beginning with a run of background, which may
/// be 0 long; and the memory through which blocks meet.
struct MaskRunLengths {
  std::uint32_t* counts;   // [masks, capacity]: the first `capacity` run lengths of each mask; nullptr: not wanted
  std::uint32_t* runs;     // [masks]: how many run lengths there are, which may be more than `capacity`
  std::uint32_t* tickets;  // [masks, mask_strips + 1]: zeros before a launch, and after it
  ColumnChanges* strip_changes;  // [masks, mask_strips]
  std::uint32_t* positions;      // [masks, mask_strips, mask_strip_room]
  int capacity;
};

/// Changes of a strip that can matter for the first `capacity` run lengths.
[[nodiscard]] LISA_HOST_DEVICE constexpr int mask_strip_room(int height, int capacity) {
  return capacity / mask_tile_width < height ? capacity : mask_tile_width * height;
}

/// Shared memory of a block.
struct MaskRunLengthsShared {
  ColumnChanges warp_changes[mask_block_warps];
  std::uint32_t ticket;
};
/// None where no run lengths are wanted.
[[nodiscard]] constexpr int mask_run_lengths_shared_bytes(const MaskRunLengths& a) {
  return a.counts == nullptr ? 0 : static_cast<int>(sizeof(MaskRunLengthsShared));
}

/// `left` pixels and then `right` ones; positions grow to the right.
LISA_DEVICE ColumnChanges followed_by(const ColumnChanges& left, const ColumnChanges& right) {
  return {left.count + right.count, right.last > left.last ? right.last : left.last};
}

/// The changes of all lanes up to this one, its own included.
template <class Dev>
LISA_DEVICE ColumnChanges changes_up_to(const ColumnChanges& own, int lane) {
  ColumnChanges sum = own;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const ColumnChanges left{Dev::shuffle_up(sum.count, distance), Dev::shuffle_up(sum.last, distance)};
    if (lane >= distance) sum = followed_by(left, sum);
  }
  return sum;
}

/// The bits of a mask's columns.
class MaskColumnBits {
 public:
  /// @param column_bits of the mask: [words, width]
  LISA_DEVICE MaskColumnBits(const std::uint32_t* column_bits, int height, int width)
      : bits_(column_bits), height_(height), width_(width) {}

  [[nodiscard]] LISA_DEVICE int height() const { return height_; }
  [[nodiscard]] LISA_DEVICE int width() const { return width_; }
  /// Words of a column.
  [[nodiscard]] LISA_DEVICE int words() const { return ceil_div(height_, mask_tile_height); }
  /// A pixel's number.
  [[nodiscard]] LISA_DEVICE std::uint32_t position(int x, int y) const {
    return static_cast<std::uint32_t>(x) * static_cast<std::uint32_t>(height_) + static_cast<std::uint32_t>(y);
  }

  /// The first pixel of a column.
  [[nodiscard]] LISA_DEVICE std::uint32_t first(int x) const { return word(x, 0) & 1; }
  /// The pixel before the first one of word k of column x; before the picture there is background.
  [[nodiscard]] LISA_DEVICE std::uint32_t before(int x, int k) const {
    if (k > 0) return word(x, k - 1) >> 31;
    return x > 0 ? word(x - 1, words() - 1) >> ((height_ - 1) % 32) & 1 : 0;
  }

  /// Calls `change(position)` for every pixel that differs from the one before it, in words [begin, end) of column x.
  /// @param before the pixel before them
  template <class Dev, class Change>
  LISA_DEVICE void for_each_change(int x, int begin, int end, std::uint32_t before, const Change& change) const {
    for (int k = begin; k < end; ++k) {
      const std::uint32_t bits = word(x, k);
      std::uint32_t changes = bits ^ (bits << 1 | before);
      const int left = height_ - 32 * k;
      if (left < 32) changes &= (1U << left) - 1;
      before = bits >> 31;
      for (; changes != 0; changes &= changes - 1) change(position(x, 32 * k + Dev::trailing_zeros(changes)));
    }
  }

 private:
  [[nodiscard]] LISA_DEVICE std::uint32_t word(int x, int k) const {
    return bits_[static_cast<std::int64_t>(k) * width_ + x];
  }

  const std::uint32_t* bits_;
  int height_, width_;
};

/// Whether this block is the last of `blocks` to come here; then what the others have written before is there to be
/// read. For all threads of the block.
template <class Dev>
LISA_DEVICE bool is_last_block(std::uint32_t* counter, int blocks, std::uint32_t* ticket) {
  const std::uint32_t last = static_cast<std::uint32_t>(blocks) - 1;
  Dev::barrier();  // the ticket tells of what all threads have written
  if (Dev::thread_index() == 0) *ticket = Dev::take_ticket(counter, last);
  Dev::barrier();
  return *ticket == last;
}

/// Where the pixels of a strip change, in its list of positions. Two threads share a column. The strip's first pixel is
/// not compared with the one before it, which another block may have yet to compute.
template <class Dev>
LISA_DEVICE void find_strip_changes(const MaskRunLengths& a, const MaskColumnBits& bits, std::int64_t strip_of_all,
                                    int first_column, ColumnChanges* warp_changes) {
  static_assert(mask_block_threads == 2 * mask_tile_width, "find_strip_changes: two threads share a column");
  const int thread = Dev::thread_index(), lane = thread % 32, warp = thread / 32;
  const int x = first_column + thread / 2, half = ceil_div(bits.words(), 2);
  const int begin = thread % 2 * half, end = thread % 2 == 0 ? half : bits.words();
  const bool inside = x < bits.width();
  const std::uint32_t before = !inside ? 0 : thread == 0 ? bits.first(x) : bits.before(x, begin);
  const auto for_each_own_change = [&](const auto& change) {
    if (inside) bits.for_each_change<Dev>(x, begin, end, before, change);
  };

  ColumnChanges own{0, 0};
  for_each_own_change([&](std::uint32_t position) { own = followed_by(own, {1, position}); });
  const ColumnChanges up_to_here = changes_up_to<Dev>(own, lane);
  if (lane == 31) warp_changes[warp] = up_to_here;
  Dev::barrier();
  ColumnChanges left_warps{0, 0};
  for (int w = 0; w < warp; ++w) left_warps = followed_by(left_warps, warp_changes[w]);

  const int room = mask_strip_room(bits.height(), a.capacity);
  std::uint32_t* const positions = a.positions + strip_of_all * room;
  std::uint32_t at = left_warps.count + up_to_here.count - own.count;
  for_each_own_change([&](std::uint32_t position) {
    if (at < static_cast<std::uint32_t>(room)) positions[at] = position;
    ++at;
  });
  if (thread == mask_block_threads - 1) a.strip_changes[strip_of_all] = followed_by(left_warps, up_to_here);
}

/// Run lengths of a mask from its strips' changes, to which those between two strips are added. Every warp goes over
/// all strips, a lane for each, and writes those of its share.
template <class Dev>
LISA_DEVICE void join_strips(const MaskRunLengths& a, const MaskColumnBits& bits, int mask) {
  const int thread = Dev::thread_index(), lane = thread % 32, warp = thread / 32;
  const int strips = mask_strips(bits.width()), room = mask_strip_room(bits.height(), a.capacity);
  const std::int64_t first_of_mask = static_cast<std::int64_t>(mask) * strips;
  std::uint32_t* const counts = a.counts + static_cast<std::int64_t>(mask) * a.capacity;
  const auto write = [&](std::uint32_t run, std::uint32_t length) {
    if (run < static_cast<std::uint32_t>(a.capacity)) counts[run] = length;
  };

  ColumnChanges before{0, 0};  // of all strips of earlier groups
  for (int first = 0; first < strips; first += 32) {
    const int strip = first + lane, x = strip * mask_tile_width;
    ColumnChanges edge{0, 0}, inside{0, 0};
    if (strip < strips) {
      if (bits.first(x) != bits.before(x, 0)) edge = {1, bits.position(x, 0)};
      inside = a.strip_changes[first_of_mask + strip];
    }
    const ColumnChanges up_to_here = changes_up_to<Dev>(followed_by(edge, inside), lane);
    const ColumnChanges left_lane{Dev::shuffle_up(up_to_here.count, 1), Dev::shuffle_up(up_to_here.last, 1)};
    const ColumnChanges left = lane > 0 ? followed_by(before, left_lane) : before;
    if (warp == 0 && edge.count != 0) write(left.count, edge.last - left.last);

    const ColumnChanges begin = followed_by(left, edge);
    for (int k = warp; k < 32 && first + k < strips; k += mask_block_warps) {
      const std::uint32_t found = Dev::shuffle(inside.count, k), run = Dev::shuffle(begin.count, k);
      const std::uint32_t last = Dev::shuffle(begin.last, k);
      const int kept = found < static_cast<std::uint32_t>(room) ? static_cast<int>(found) : room;
      const std::uint32_t* const positions = a.positions + (first_of_mask + first + k) * room;
      for (int i = lane; i < kept; i += 32)
        write(run + static_cast<std::uint32_t>(i), positions[i] - (i > 0 ? positions[i - 1] : last));
    }
    before = followed_by(before, {Dev::shuffle(up_to_here.count, 31), Dev::shuffle(up_to_here.last, 31)});
  }
  if (thread == 0) {
    write(before.count, bits.position(bits.width(), 0) - before.last);
    a.runs[mask] = before.count + 1;
  }
}

/// For all threads of each block of a mask, once they have written their words of `column_bits`.
/// @param column_bits [masks, ceil(height / 32), width]
template <class Dev>
LISA_DEVICE void mask_run_lengths(const MaskRunLengths& a, const std::uint32_t* column_bits, int mask, int strip,
                                  int height, int width) {
  auto* const shared = reinterpret_cast<MaskRunLengthsShared*>(Dev::shared_memory());
  const int strips = mask_strips(width);
  std::uint32_t* const tickets = a.tickets + static_cast<std::int64_t>(mask) * (strips + 1);
  if (!is_last_block<Dev>(tickets + strip, mask_strip_blocks(height), &shared->ticket)) return;
  const std::int64_t words_of_mask = static_cast<std::int64_t>(ceil_div(height, mask_tile_height)) * width;
  const MaskColumnBits bits(column_bits + mask * words_of_mask, height, width);
  find_strip_changes<Dev>(a, bits, static_cast<std::int64_t>(mask) * strips + strip, strip * mask_tile_width,
                          shared->warp_changes);
  if (is_last_block<Dev>(tickets + strips, strips, &shared->ticket)) join_strips<Dev>(a, bits, mask);
}

}  // namespace lisa::cuda
