#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>
#include <vector>

#include "element_values.hpp"
#include "gemv_kernels.hpp"
#include "launch.hpp"
#include "lisa/quant/quantised_matrix.hpp"
#include "lisa/quant/weight_format.hpp"

//
#include <doctest/doctest.h>

namespace simt {

using lisa::cuda::GemvArguments;
using lisa::cuda::GemvResult;
using lisa::cuda::WeightStorage;

/// A matrix as the library stores it, and its weights as numbers.
struct StoredMatrix {
  int out;
  std::vector<std::byte> bytes;
  std::vector<double> weights;  // [out, in]

  [[nodiscard]] const double* row(int index, int in) const { return weights.data() + at(index * in); }
};

inline lisa::WeightFormat format_of(WeightStorage storage) {
  return storage == WeightStorage::int8_row       ? lisa::WeightFormat::int8_row
         : storage == WeightStorage::int4_group32 ? lisa::WeightFormat::int4_group32
                                                  : lisa::WeightFormat::int4_group128;
}

template <class Element>
StoredMatrix make_matrix(WeightStorage storage, int out, int in, unsigned seed) {
  const Values<Element> values(at(out * in), 0.5F, seed);
  StoredMatrix matrix{out, {}, {}};
  if (storage == WeightStorage::element) {
    matrix.bytes.resize(values.elements.size() * sizeof(Element));
    std::memcpy(matrix.bytes.data(), values.elements.data(), matrix.bytes.size());
    matrix.weights.assign(values.floats.begin(), values.floats.end());
    return matrix;
  }
  const lisa::WeightFormat format = format_of(storage);
  matrix.bytes.resize(at(out) * static_cast<std::size_t>(lisa::row_bytes(format, in)));
  lisa::quantise_rows(format, out, in, values.floats.data(), 0, out, matrix.bytes.data());
  const lisa::QuantisedMatrix view{format, out, in, matrix.bytes.data()};
  for (int row = 0; row < out; ++row)
    for (int input = 0; input < in; ++input)
      matrix.weights.push_back(static_cast<double>(view.integer(row, input)) * double{view.scale(row, input)});
  return matrix;
}

/// An exact number, and how far the kernel's fp32 result may be from it.
struct Bounded {
  double value, error;
};

/// Largest relative error of a float.
inline constexpr double u = 0x1p-24;

/// Where the result's element must be: rounding is monotonic. The ends are cast to float here, one rounding each.
template <class Element>
bool within(const Bounded& expected, Element found) {
  const double error = 1.01 * expected.error + u * std::fabs(expected.value);
  const auto end = [&](double value) { return as_float(to_element<Element>(static_cast<float>(value))); };
  return end(expected.value - error) <= as_float(found) && as_float(found) <= end(expected.value + error);
}

/// Sizes of one call.
struct GemvShape {
  int rows, in, out;
};

/// A call of `gemv` with random inputs and weights, and what its products must be.
template <class Element>
struct GemvProblem {
  static constexpr int x_gap = 8, out_gap = 3;  // elements between rows

  GemvShape shape;
  WeightStorage storage;
  GemvResult result;
  Values<Element> x;
  std::vector<StoredMatrix> matrices;
  Memory memory;
  GemvArguments<Element> arguments{};

  GemvProblem(const GemvShape& s, WeightStorage weight_storage, GemvResult wanted, const std::vector<int>& outputs)
      : shape(s), storage(weight_storage), result(wanted), x(at(s.rows * (s.in + x_gap)), 1.0F, 5) {
    arguments.x = memory.input(x.elements, "x");
    arguments.x_stride = s.in + x_gap;
    arguments.rows = s.rows;
    arguments.in = s.in;
    arguments.storage = storage;
    arguments.result = result;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      matrices.push_back(make_matrix<Element>(storage, outputs[i], s.in, 10 + static_cast<unsigned>(i)));
      arguments.weights[i] = {memory.input(matrices[i].bytes, "weights"), outputs[i]};
      if (i == 0 || result == GemvResult::rotated)
        arguments.out[i] = {memory.output<Element>(at(s.rows * (outputs[i] + out_gap)), "out"), outputs[i] + out_gap};
    }
  }

  [[nodiscard]] const float* input(int row) const { return x.floats.data() + at(row * (shape.in + x_gap)); }
  [[nodiscard]] Element found(int matrix, int row, int output) const {
    const auto& out = arguments.out[matrix];
    return out.begin[row * out.stride + output];
  }

  /// A product: `in` roundings of products, fewer than `in` of sums in any order, one of a scale; a row's scale of int8
  /// is one more.
  [[nodiscard]] Bounded product(int matrix, int row, int output) const {
    const double* const weights = matrices[at(matrix)].row(output, shape.in);
    Bounded sum{0, 0};
    for (int i = 0; i < shape.in; ++i) {
      sum.value += weights[i] * input(row)[i];
      sum.error += std::fabs(weights[i] * input(row)[i]);
    }
    sum.error *= (shape.in + 3) * u;
    return sum;
  }

  template <class Weights>
  [[nodiscard]] Report run_with(Schedule schedule) {
    const auto kernel = shape.rows == 1 ? gemv<Element, Weights, 1> : gemv<Element, Weights, 8>;
    return launch(memory, lisa::cuda::gemv_geometry(arguments), kernel, arguments, {schedule, 3, 4});
  }

  void run(Schedule schedule) {
    REQUIRE(lisa::cuda::gemv_refusal(arguments) == nullptr);
    const Report report = storage == WeightStorage::element    ? run_with<lisa::cuda::ElementWeights<Element>>(schedule)
                          : storage == WeightStorage::int8_row ? run_with<lisa::cuda::Int8Weights>(schedule)
                          : storage == WeightStorage::int4_group32 ? run_with<lisa::cuda::Int4Weights<32>>(schedule)
                                                                   : run_with<lisa::cuda::Int4Weights<128>>(schedule);
    REQUIRE_MESSAGE(report.clean(), report.text());
    for (int i = 0; i < (result == GemvResult::rotated ? 3 : 1); ++i)
      CHECK(memory.unwritten_bytes(arguments.out[i].begin) == at(shape.rows * out_gap) * sizeof(Element));
  }

  /// Of one matrix's outputs, how many are outside of their bounds.
  template <class Expected>
  [[nodiscard]] int wrong(int matrix, Expected expected) const {
    int count = 0;
    for (int row = 0; row < shape.rows; ++row)
      for (int output = 0; output < arguments.weights[matrix].out; ++output)
        count += !within(expected(row, output), found(matrix, row, output));
    return count;
  }
};

}  // namespace simt
