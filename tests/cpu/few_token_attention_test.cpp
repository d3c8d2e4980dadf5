// torch-free
#include "lisa/cpu/few_token_attention.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

//
#include <doctest/doctest.h>

using namespace lisa::cpu;

namespace {

/// Multiples of 1/8 up to 2: products of 16 of them are exact in fp32 in every order.
template <class Element>
std::vector<Element> exact_values(std::int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> steps(-16, 16);
  std::vector<Element> values;
  for (std::int64_t i = 0; i < n; ++i) values.push_back(rounded_to<Element>(static_cast<float>(steps(random)) / 8));
  return values;
}

struct Sizes {
  std::int64_t queries, keys, heads;
};

template <class Element>
struct Case {
  Case(Sizes of, unsigned seed)
      : sizes(of),
        queries(exact_values<Element>(of.queries * of.heads * 16, seed)),
        keys(exact_values<Element>(of.keys * of.heads * 16, seed + 1)),
        values(exact_values<Element>(of.keys * of.heads * 16, seed + 2)) {}

  [[nodiscard]] float at(const std::vector<Element>& rows, std::int64_t row, std::int64_t head, std::int64_t i) const {
    return to_float(rows[static_cast<std::size_t>((row * sizes.heads + head) * 16 + i)]);
  }

  Sizes sizes;
  std::vector<Element> queries, keys, values;
};

/// One element of the result in double precision, rounded after every step where `Element` is narrower than fp32.
template <class Element>
double expected_element(const Case<Element>& c, std::int64_t query, std::int64_t head, std::int64_t i) {
  const auto step = [](double value) { return double{to_float(rounded_to<Element>(static_cast<float>(value)))}; };
  std::vector<double> shares;
  for (std::int64_t key = 0; key < c.sizes.keys; ++key) {
    double score = 0;
    for (std::int64_t j = 0; j < 16; ++j)
      score += double{c.at(c.queries, query, head, j)} * double{c.at(c.keys, key, head, j)};
    shares.push_back(step(step(score) / 4));
  }
  const double highest = *std::max_element(shares.begin(), shares.end());
  double sum = 0, out = 0;
  for (double& share : shares) sum += share = std::exp(share - highest);
  for (std::int64_t key = 0; key < c.sizes.keys; ++key)
    out += step(shares[static_cast<std::size_t>(key)] / sum) * double{c.at(c.values, key, head, i)};
  return step(out);
}

/// The kernel's result, computed in parts of `part` groups or heads.
template <class Element>
std::vector<Element> attended(const Case<Element>& c, std::int64_t part = 1000) {
  const bool pixels_ask = c.sizes.queries > c.sizes.keys;
  std::vector<Element> out(c.queries.size());
  const FewTokenAttention<Element> attention{c.queries.data(),
                                             c.keys.data(),
                                             c.values.data(),
                                             out.data(),
                                             std::max(c.sizes.queries, c.sizes.keys),
                                             std::min(c.sizes.queries, c.sizes.keys),
                                             c.sizes.heads};
  const auto kernel = pixels_ask ? find_pixels_attend_to_tokens<Element>() : find_tokens_attend_to_pixels<Element>();
  const std::int64_t parts = pixels_ask ? (attention.pixels + 15) / 16 : c.sizes.heads;
  for (std::int64_t begin = 0; begin < parts; begin += part) kernel(attention, begin, std::min(begin + part, parts));
  return out;
}

template <class Element>
void check(Sizes sizes, unsigned seed) {
  CAPTURE(sizes.queries);
  CAPTURE(sizes.keys);
  CAPTURE(sizes.heads);
  const Case<Element> c(sizes, seed);
  const auto out = attended(c);
  CHECK(attended(c, 1) == out);
  // Where a share lies between two bf16 values the two may differ by one of its roundings: seldom, and by little.
  constexpr bool narrow = sizeof(Element) < sizeof(float);
  std::int64_t other = 0, far = 0;
  for (std::int64_t query = 0; query < sizes.queries; ++query)
    for (std::int64_t head = 0; head < sizes.heads; ++head)
      for (std::int64_t i = 0; i < 16; ++i) {
        const double found = double{c.at(out, query, head, i)}, expected = expected_element(c, query, head, i);
        other += found != expected ? 1 : 0;
        far += std::abs(found - expected) <= (narrow ? 2.0 / 128 : 4e-6) ? 0 : 1;
      }
  CHECK(far == 0);
  if (narrow) CHECK(other <= static_cast<std::int64_t>(out.size()) / 50);
}

bool runs_here() {
  const bool runs = find_pixels_attend_to_tokens<float>() != nullptr;
  if (!runs) MESSAGE("not run: no kernel for this processor, or LISA_KERNELS=reference");
  return runs;
}

}  // namespace

TEST_CASE("pixels attend to tokens, and tokens to pixels, as single operators do") {
  if (!runs_here()) return;
  unsigned seed = 1;
  for (const std::int64_t pixels : {17, 31, 64, 100, 257})
    for (const std::int64_t tokens : {1, 2, 3, 4, 5, 6, 7, 8, 15, 16})
      for (const std::int64_t heads : {1, 3}) {
        check<float>({pixels, tokens, heads}, ++seed);
        check<float>({tokens, pixels, heads}, ++seed);
        check<Bf16Bits>({pixels, tokens, heads}, ++seed);
        check<Bf16Bits>({tokens, pixels, heads}, ++seed);
      }
}

TEST_CASE("NaN stays with the queries that meet it, and infinite scores do what a softmax does") {
  if (!runs_here()) return;
  Case<float> c({40, 6, 2}, 5);
  c.queries[(3 * 2 + 1) * 16 + 4] = std::numeric_limits<float>::quiet_NaN();
  auto out = attended(c);
  for (std::int64_t query = 0; query < 40; ++query)
    for (std::int64_t head = 0; head < 2; ++head)
      CHECK(std::isnan(c.at(out, query, head, 0)) == (query == 3 && head == 1));
  Case<float> large({5, 60, 1}, 6);
  for (std::int64_t j = 0; j < 16; ++j) {
    large.queries[static_cast<std::size_t>(2 * 16 + j)] = 1e19F;
    large.keys[static_cast<std::size_t>(7 * 16 + j)] = 1e19F;  // only this score is infinite: infinity - infinity
  }
  out = attended(large);
  for (std::int64_t query = 0; query < 5; ++query) CHECK(std::isnan(large.at(out, query, 0, 3)) == (query == 2));
}
