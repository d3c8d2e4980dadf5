#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace lisa::cpu {

/// Self-attention over a batch of token grids with decomposed relative positions, inside windows of side x side tokens
/// or, where `side` is at least the grid's, over the whole grid:
/// softmax(q k^T / sqrt(head_dim) + q . rel_h[row distance] + q . rel_w[column distance]) v.
/// Places of a window outside the grid are keys and values made of `padding`, as in the original, which pads tokens
/// with zeros before the projection; queries there do not exist.
/// Sums and probabilities are fp32; bf16 probabilities are rounded once, before their product with v.
template <class Element>
struct RelativeAttention {
  const Element* tokens;   ///< [batch, height, width, 3, heads, head_dim]: q, k and v as the projection writes them
  const Element* padding;  ///< [3, heads, head_dim]
  const Element* rel_h;    ///< [2 * side - 1, head_dim], indexed by query row - key row + side - 1
  const Element* rel_w;    ///< [2 * side - 1, head_dim], the same for columns
  Element* out;            ///< [batch, height, width, heads, head_dim]
  std::int64_t batch, height, width, heads, side;

  /// Queries of one piece of work are at most this many.
  static constexpr std::int64_t block_queries = 32;

  /// The part of a window inside the grid, and its pieces: `blocks` of queries for each head.
  struct Window {
    std::int64_t top, left, height, width, first_piece, blocks;
  };

  /// All windows of a grid, row by row.
  [[nodiscard]] std::vector<Window> windows() const {
    std::vector<Window> found;
    std::int64_t first = 0;
    for (std::int64_t top = 0; top < height; top += side)
      for (std::int64_t left = 0; left < width; left += side) {
        const std::int64_t h = std::min(side, height - top), w = std::min(side, width - left);
        const std::int64_t blocks = (h * w + block_queries - 1) / block_queries;
        found.push_back({top, left, h, w, first, blocks});
        first += heads * blocks;
      }
    return found;
  }

  /// Pieces of work, in order of picture, window, head and block of queries.
  [[nodiscard]] std::int64_t pieces() const {
    const std::vector<Window> all = windows();
    return all.empty() ? 0 : batch * (all.back().first_piece + heads * all.back().blocks);
  }

  /// Takes the pieces [begin, end) in order: `worker.enter(picture, head, window)` once for neighbours of one head and
  /// window, then `worker.attend(block)` for each.
  template <class Worker>
  void for_each_block(std::int64_t begin, std::int64_t end, Worker& worker) const {
    const std::vector<Window> all = windows();
    const std::int64_t per_picture = pieces() / batch;
    for (std::int64_t at = begin; at < end;) {
      const std::int64_t picture = at / per_picture, piece = at % per_picture;
      const auto window = std::upper_bound(all.begin(), all.end(), piece,
                                           [](std::int64_t p, const Window& w) { return p < w.first_piece; }) -
                          1;
      const std::int64_t head = (piece - window->first_piece) / window->blocks;
      const std::int64_t first = (piece - window->first_piece) % window->blocks;
      const std::int64_t last = std::min(window->blocks, first + end - at);
      worker.enter(picture, head, *window);
      for (std::int64_t block = first; block < last; ++block) worker.attend(block);
      at += last - first;
    }
  }
};

/// Computes the pieces [begin, end); neighbouring pieces share preparation.
template <class Element>
using RelativeAttentionKernel = void (*)(const RelativeAttention<Element>& attention, std::int64_t begin,
                                         std::int64_t end);

/// Widths of a head for which there is a kernel.
template <std::int64_t HeadDim>
concept AttentionHeadDim = HeadDim > 0 && HeadDim % 16 == 0 && HeadDim <= 96;

}  // namespace lisa::cpu
