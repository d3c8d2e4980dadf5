// torch-free
#include "lisa/cpu/single_row_attention.hpp"

#include <cmath>
#include <cstdint>
#include <vector>

//
#include <doctest/doctest.h>

#include "lisa/cpu/causal_attention.hpp"
#include "tests/cpu/random_product.hpp"

using namespace lisa::cpu;

TEST_CASE_TEMPLATE("attention of a single row reads and writes nothing behind its operands", Element, Bf16Bits, float) {
  // Allocations of exactly their size: the sanitized build of this test reports an element too many.
  const auto kernel = find_causal_attention<Element>();
  if (kernel == nullptr) {
    MESSAGE("not run: no kernel for this processor");
    return;
  }
  for (const std::int64_t keys : {1, 2, 3, 4, 5, 15, 16, 17, 33})
    for (const std::int64_t head_dim : {16, 32, 48, 80, 128, 144, 256}) {
      CAPTURE(keys);
      CAPTURE(head_dim);
      const auto query = random_values<Element>(head_dim, 1), key = random_values<Element>(keys * head_dim, 2);
      const auto value = random_values<Element>(keys * head_dim, 3);
      std::vector<Element> out(static_cast<std::size_t>(head_dim), untouched<Element>);
      const CausalAttentionHead<Element> head{.queries = query.data(),
                                              .query_stride = head_dim,
                                              .keys = key.data(),
                                              .values = value.data(),
                                              .out = out.data(),
                                              .out_stride = head_dim,
                                              .rows = 1,
                                              .key_count = keys,
                                              .head_dim = head_dim,
                                              .scale = std::sqrt(static_cast<float>(head_dim))};
      kernel(head, 0, 0);
      CHECK(out.front() == untouched<Element>);
      kernel(head, 0, 1);
      // Shares sum to 1: no result lies outside of the values.
      for (const Element element : out) CHECK(std::abs(to_float(element)) < 6);
    }
}
