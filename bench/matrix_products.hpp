#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <benchmark/benchmark.h>

#include <vector>

#include "lisa/config/dim.hpp"

namespace lisa::bench {

/// Matrix products of one shape inside a model.
struct MatrixProduct {
  dim batch;  ///< independent products; 0: one product with a weight, as at::linear computes it
  dim rows, inner, columns;
  dim times = 1;  ///< how often the model computes it
};

inline double flops(const std::vector<MatrixProduct>& products) {
  double total = 0;
  for (const MatrixProduct& p : products) {
    total += 2.0 * static_cast<double>((p.batch == 0 ? 1 : p.batch) * p.times) * static_cast<double>(p.rows) *
             static_cast<double>(p.inner) * static_cast<double>(p.columns);
  }
  return total;
}

inline at::Tensor random(at::IntArrayRef shape, at::ScalarType dtype) {
  return at::empty(shape, at::TensorOptions().dtype(dtype)).normal_();
}

/// Reports the rate at which a benchmark's products were computed.
inline void count_flops(benchmark::State& state, const std::vector<MatrixProduct>& products) {
  state.counters["GFLOP/s"] = benchmark::Counter(flops(products) * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

/// Plain ATen computing the same products on dense operands and nothing else: what the library can give at most.
inline void run_products(benchmark::State& state, const std::vector<MatrixProduct>& products, at::ScalarType dtype) {
  struct Operands {
    at::Tensor left, right;
  };
  std::vector<Operands> operands;
  for (const MatrixProduct& p : products) {
    if (p.batch == 0) {
      operands.push_back({random({p.rows, p.inner}, dtype), random({p.columns, p.inner}, dtype)});
    } else {
      operands.push_back({random({p.batch, p.rows, p.inner}, dtype), random({p.batch, p.inner, p.columns}, dtype)});
    }
  }
  for (auto _ : state) {
    for (std::size_t i = 0; i < products.size(); ++i) {
      const auto& [left, right] = operands[i];
      for (dim n = 0; n < products[i].times; ++n) {
        benchmark::DoNotOptimize(products[i].batch == 0 ? at::linear(left, right) : at::bmm(left, right));
      }
    }
  }
  count_flops(state, products);
}

}  // namespace lisa::bench
