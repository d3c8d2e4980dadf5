#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "attention_reference.hpp"
#include "element_values.hpp"
#include "lisa/cuda/relative_attention.cuh"
#include "memory.hpp"

// Attention problems with random inputs, and how far a kernel's outputs are from the reference.

namespace simt {

struct Grid {
  int batch, heads, height, width;
};

/// Inputs as the encoder has them: q, k and v beside each other in one projection [batch, tokens, 3, heads, head_dim],
/// and the output [batch, tokens, heads, head_dim].
template <class Element, int head_dim>
struct Problem {
  Grid grid;
  int rows, columns;  // of the position tables: of the grid or of a window
  Values<Element> projection, rel_h, rel_w, padding;
  Memory memory;
  lisa::cuda::RelativeAttentionArguments<Element> arguments{};

  Problem(const Grid& g, int table_rows, int table_columns)
      : grid(g),
        rows(table_rows),
        columns(table_columns),
        projection(at(g.batch * g.height * g.width * 3 * g.heads * head_dim), 1.0F, 1),
        rel_h(at((2 * table_rows - 1) * head_dim), 0.3F, 2),
        rel_w(at((2 * table_columns - 1) * head_dim), 0.3F, 3),
        padding(at(2 * g.heads * head_dim), 1.0F, 4) {
    const int tokens = g.height * g.width, width = g.heads * head_dim;
    const Element* const qkv = memory.input(projection.elements, "qkv");
    arguments.q = qkv;
    arguments.k = qkv + width;
    arguments.v = qkv + 2 * width;
    arguments.rel_h = memory.input(rel_h.elements, "rel_h");
    arguments.rel_w = memory.input(rel_w.elements, "rel_w");
    arguments.out = memory.output<Element>(at(g.batch * tokens * width), "out");
    arguments.batch_stride = std::int64_t{tokens} * 3 * width;
    arguments.token_stride = 3 * width;
    arguments.head_stride = arguments.out_head_stride = head_dim;
    arguments.out_batch_stride = std::int64_t{tokens} * width;
    arguments.out_token_stride = width;
    arguments.scale = 1.0F / std::sqrt(static_cast<float>(head_dim));
    arguments.batch = g.batch;
    arguments.heads = g.heads;
    arguments.grid_height = g.height;
    arguments.grid_width = g.width;
    arguments.head_dim = head_dim;
  }

  /// part 0: q, 1: k, 2: v
  [[nodiscard]] const float* token(int part, int image, int y, int x, int head) const {
    return projection.floats.data() +
           at((((image * grid.height + y) * grid.width + x) * 3 + part) * grid.heads * head_dim + head * head_dim);
  }
  [[nodiscard]] ReferenceKey key(int image, int head, int y, int x, int row_distance, int column_distance) const {
    const bool inside = y < grid.height && x < grid.width;
    const float* const pad = padding.floats.data() + at(head * head_dim);
    return {inside ? token(1, image, y, x, head) : pad,
            inside ? token(2, image, y, x, head) : pad + at(grid.heads * head_dim),
            rel_h.floats.data() + at((row_distance + rows - 1) * head_dim),
            rel_w.floats.data() + at((column_distance + columns - 1) * head_dim)};
  }

  /// The largest error over its bound among one query's outputs.
  [[nodiscard]] double worst(int image, int head, int y, int x, const std::vector<ReferenceKey>& keys,
                             int rescalings) const {
    const ReferenceRow expected = attention_reference(token(0, image, y, x, head), keys, head_dim, arguments.scale,
                                                      rescalings, rounding_of<Element>);
    const Element* const found = arguments.out + image * arguments.out_batch_stride +
                                 (y * grid.width + x) * arguments.out_token_stride + head * arguments.out_head_stride;
    double worst = 0;
    for (std::size_t i = 0; i < head_dim; ++i)
      worst = worse(std::fabs(as_float(found[i]) - expected.out[i]) / expected.bound[i], worst);
    return worst;
  }
};

/// The largest error over its bound among the outputs of global attention in the first `query_rows` rows.
template <class Element, int head_dim>
double worst_of_global(const Problem<Element, head_dim>& problem, int query_rows) {
  const Grid& grid = problem.grid;
  double worst = 0;
  for (int image = 0; image < grid.batch; ++image)
    for (int head = 0; head < grid.heads; ++head)
      for (int y = 0; y < query_rows; ++y)
        for (int x = 0; x < grid.width; ++x) {
          std::vector<ReferenceKey> keys;
          for (int ky = 0; ky < grid.height; ++ky)
            for (int kx = 0; kx < grid.width; ++kx) keys.push_back(problem.key(image, head, ky, kx, y - ky, x - kx));
          worst = worse(problem.worst(image, head, y, x, keys, grid.height), worst);
        }
  return worst;
}

/// The largest error over its bound among all outputs of attention in windows.
template <class Element, int head_dim>
double worst_of_windows(const Problem<Element, head_dim>& problem, int side, int rescalings) {
  const Grid& grid = problem.grid;
  double worst = 0;
  for (int image = 0; image < grid.batch; ++image)
    for (int head = 0; head < grid.heads; ++head)
      for (int y = 0; y < grid.height; ++y)
        for (int x = 0; x < grid.width; ++x) {
          const int top = y / side * side, left = x / side * side;
          std::vector<ReferenceKey> keys;
          for (int ky = top; ky < top + side; ++ky)
            for (int kx = left; kx < left + side; ++kx)
              keys.push_back(problem.key(image, head, ky, kx, y - ky, x - kx));
          worst = worse(problem.worst(image, head, y, x, keys, rescalings), worst);
        }
  return worst;
}

}  // namespace simt
