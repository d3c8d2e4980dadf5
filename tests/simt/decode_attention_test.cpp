// torch-free
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "attention_reference.hpp"
#include "causal_problem.hpp"
#include "decode_attention_kernels.hpp"
#include "launch.hpp"

//
#include <doctest/doctest.h>

using namespace simt;
using lisa::cuda::Bf16;
using lisa::cuda::DecodeAttentionArguments;
using lisa::cuda::Fp16;
using lisa::cuda::SequenceRows;

namespace {

/// x rotated by the angles of one position in half-split layout; products and sums are rounded to Element.
template <class Element>
std::vector<float> rotated(const float* x, const float* cosine, const float* sine, std::size_t head_dim) {
  const auto round = [](float value) { return as_float(to_element<Element>(value)); };
  const std::size_t half = head_dim / 2;
  std::vector<float> result(head_dim);
  for (std::size_t i = 0; i < half; ++i) {
    result[i] = round(round(x[i] * cosine[i]) + round(-x[i + half] * sine[i]));
    result[i + half] = round(round(x[i + half] * cosine[i]) + round(x[i] * sine[i]));
  }
  return result;
}

/// One step of decoding. `batch.lengths` holds how many keys each sequence has in the cache, and 1 query, or 0 for a
/// free place. q, k and v are parts of one projection [rows, heads + 2 kv_heads, head_dim]; the cache's rows behind the
/// held ones are NaN.
template <class Element, int head_dim>
struct DecodeProblem {
  Batch batch;
  int splits;
  CausalProblem<Element, head_dim> cache;  // its k and v are the cache after the step, but for the new rows
  RowLayout input_rows;
  Values<Element> projection;
  std::vector<float> cosine, sine;  // [positions, head_dim], as Element holds them
  Memory memory;
  DecodeAttentionArguments<Element> arguments{};

  DecodeProblem(const Batch& b, int split_count, float deviation = 1.0F)
      : batch(b),
        splits(split_count),
        cache(b, deviation),
        input_rows(cache.query_rows.rows, b.heads + 2 * b.kv_heads, head_dim, Outer::rows),
        projection(at(input_rows.rows * input_rows.row_stride), deviation, 5) {
    make_tables();
    forget_new_rows();
    const Element* const inputs = memory.input(projection.elements, "projection");
    arguments.q = inputs;
    arguments.k = inputs + b.heads * head_dim;
    arguments.v = arguments.k + b.kv_heads * head_dim;
    arguments.cosine = memory.input(as_elements(cosine), "cosine");
    arguments.sine = memory.input(as_elements(sine), "sine");
    arguments.key_cache = memory.in_out(cache.k.elements, "key cache");
    arguments.value_cache = memory.in_out(cache.v.elements, "value cache");
    arguments.out = memory.output<Element>(cache.q.elements.size(), "out");
    arguments.sequences = memory.input(cache.sequences, "sequences");
    arguments.input_stride = input_rows.row_stride;
    arguments.input_head_stride = input_rows.head_stride;
    arguments.cache_stride = cache.key_rows.row_stride;
    arguments.cache_head_stride = cache.key_rows.head_stride;
    arguments.out_stride = cache.query_rows.row_stride;
    arguments.out_head_stride = cache.query_rows.head_stride;
    arguments.scale = cache.arguments.scale;
    arguments.batch = cache.arguments.batch;
    arguments.heads = b.heads;
    arguments.kv_heads = b.kv_heads;
    arguments.splits = splits;
    arguments.head_dim = head_dim;
    arguments.workspace = memory.output<float>(at(lisa::cuda::decode_workspace_size(arguments)), "workspace");
  }

  [[nodiscard]] std::vector<float> rotated_head(const SequenceRows& rows, int head) const {
    const std::size_t angles = at(rows.keys - 1) * head_dim;
    return rotated<Element>(projection.floats.data() + input_rows.index(rows.first_query, head), &cosine[angles],
                            &sine[angles], head_dim);
  }

  /// What the caches must hold after the step.
  void append() {
    for (const SequenceRows& rows : cache.sequences)
      for (int head = 0; head < batch.kv_heads && rows.queries == 1; ++head) {
        const std::size_t row = cache.key_rows.index(rows.first_key + rows.keys - 1, head);
        const std::vector<float> key = rotated_head(rows, batch.heads + head);
        const std::size_t value = input_rows.index(rows.first_query, batch.heads + batch.kv_heads + head);
        for (std::size_t i = 0; i < head_dim; ++i) {
          cache.k.floats[row + i] = key[i];
          cache.k.elements[row + i] = to_element<Element>(key[i]);
          cache.v.floats[row + i] = projection.floats[value + i];
          cache.v.elements[row + i] = projection.elements[value + i];
        }
      }
  }

  /// The largest error over its bound. Each weight is rescaled for every tile of its warp and in both merges, by
  /// exponentials that are 2^-22 = 4 u away.
  [[nodiscard]] double worst_error() const {
    const std::vector<float> nothing(head_dim);
    double worst = 0;
    for (const SequenceRows& rows : cache.sequences)
      for (int head = 0; head < batch.heads && rows.queries == 1; ++head) {
        std::vector<ReferenceKey> keys;
        for (int key = 0; key < rows.keys; ++key)
          keys.push_back({cache.key(rows, head, key), cache.value(rows, head, key), nothing.data(), nothing.data()});
        const int rescalings =
            4 * (lisa::cuda::ceil_div(rows.keys, lisa::cuda::decode_tile_keys<Element>(head_dim)) + 2);
        const ReferenceRow expected = attention_reference(rotated_head(rows, head).data(), keys, head_dim,
                                                          arguments.scale, rescalings, rounding_of<Element>);
        const Element* const found = arguments.out + cache.query_rows.index(rows.first_query, head);
        for (std::size_t i = 0; i < head_dim; ++i)
          worst = worse(std::fabs(as_float(found[i]) - expected.out[i]) / expected.bound[i], worst);
      }
    return worst;
  }

 private:
  static std::vector<Element> as_elements(const std::vector<float>& floats) {
    std::vector<Element> elements;
    for (const float value : floats) elements.push_back(to_element<Element>(value));
    return elements;
  }

  void make_tables() {
    int positions = 0;
    for (const SequenceRows& rows : cache.sequences) positions = std::max(positions, rows.keys);
    const auto round = [](double value) { return as_float(to_element<Element>(static_cast<float>(value))); };
    for (int position = 0; position < positions; ++position)
      for (int i = 0; i < head_dim; ++i) {
        const double angle = position * std::pow(10000.0, -2.0 * (i % (head_dim / 2)) / head_dim);
        cosine.push_back(round(std::cos(angle)));
        sine.push_back(round(std::sin(angle)));
      }
  }

  void forget_new_rows() {
    for (const SequenceRows& rows : cache.sequences)
      for (int head = 0; head < batch.kv_heads && rows.queries == 1; ++head)
        for (int i = 0; i < head_dim; ++i) {
          const std::size_t place = cache.key_rows.index(rows.first_key + rows.keys - 1, head) + at(i);
          cache.k.elements[place] = cache.v.elements[place] = to_element<Element>(NAN);
        }
  }
};

template <class Element>
bool same_bits(const Element* found, const std::vector<Element>& expected) {
  return expected.empty() || std::memcmp(found, expected.data(), expected.size() * sizeof(Element)) == 0;
}

template <class Element, int head_dim>
void check(const Batch& batch, int splits, Schedule schedule, float deviation = 1.0F) {
  CAPTURE(head_dim);
  CAPTURE(splits);
  CAPTURE(batch.lengths.empty() ? 0 : batch.lengths[0].held);
  DecodeProblem<Element, head_dim> problem(batch, splits, deviation);
  REQUIRE(lisa::cuda::decode_attention_refusal(problem.arguments) == nullptr);
  const Report first = launch(problem.memory, lisa::cuda::decode_attention_geometry(problem.arguments),
                              decode_attention<Element, head_dim>, problem.arguments, {schedule, 4, 2});
  REQUIRE_MESSAGE(first.clean(), first.text());
  const Report second = launch(problem.memory, lisa::cuda::combine_splits_geometry(problem.arguments),
                               combine_splits<Element, head_dim>, problem.arguments, {schedule, 4, 2});
  REQUIRE_MESSAGE(second.clean(), second.text());
  CHECK(problem.memory.unwritten_bytes(problem.arguments.out) == 0);
  problem.append();
  CHECK(same_bits(problem.arguments.key_cache, problem.cache.k.elements));
  CHECK(same_bits(problem.arguments.value_cache, problem.cache.v.elements));
  const double worst = problem.worst_error();
  CHECK(worst <= 1.0);
}

}  // namespace

TEST_CASE("decode_attention: within the bound of its roundings, and what it appends is exact, under every schedule") {
  for (const Schedule schedule : schedules) {
    check<Bf16, 128>({{{0, 1}}}, 1, schedule);
    check<Bf16, 128>({{{100, 1}}, 2, 1}, 2, schedule);
    check<Fp16, 64>({{{63, 1}, {64, 1}}, 2, 2}, 3, schedule);
    check<Fp16, 128>({{{200, 1}}, 3, 1}, 2, schedule);
    check<Bf16, 64>({{{15, 1}, {5, 0}, {130, 1}}, 4, 2}, 2, schedule);
  }
}

TEST_CASE("decode_attention: lengths around every edge of a warp's keys and of a split") {
  for (const Schedule schedule : schedules)
    for (const int held : {1, 14, 15, 16, 17, 47, 48, 49, 62, 63, 64, 65, 126, 127, 128, 191, 192, 255, 256, 257})
      for (const int splits : {1, 2, 5}) check<Bf16, 64>({{{held, 1}}}, splits, schedule);
}

TEST_CASE("decode_attention: up to 16 heads that share keys, in both layouts of a cache") {
  for (const Schedule schedule : schedules)
    for (const Outer outer : {Outer::rows, Outer::heads}) {
      check<Bf16, 64>({{{20, 1}, {70, 1}}, 16, 1, outer}, 2, schedule);
      check<Fp16, 128>({{{20, 1}, {0, 1}}, 15, 3, outer}, 1, schedule);
      check<Bf16, 128>({{{66, 1}, {9, 1}}, 8, 8, outer}, 3, schedule);
    }
}

TEST_CASE("decode_attention: scores far from zero do not overflow, whichever warp or split has the largest") {
  for (const Schedule schedule : schedules)
    for (const int held : {40, 63, 100, 140, 190}) check<Bf16, 64>({{{held, 1}}, 4, 2}, 3, schedule, 24.0F);
}

TEST_CASE("decode_attention: no sequences are no launch, a free place of the batch is not touched") {
  for (const Schedule schedule : schedules) {
    check<Bf16, 64>({{}}, 2, schedule);
    check<Bf16, 64>({{{9, 0}}}, 2, schedule);
  }
}

TEST_CASE("decode_attention: the splits that fill a GPU") {
  CHECK(lisa::cuda::decode_splits(316, 1, 32, 132) == 5);  // there are no more tiles of keys
  CHECK(lisa::cuda::decode_splits(2048, 1, 32, 132) == 9);
  CHECK(lisa::cuda::decode_splits(2048, 16, 32, 132) == 1);
  CHECK(lisa::cuda::decode_splits(0, 1, 32, 132) == 1);
  CHECK(lisa::cuda::decode_splits(316, 0, 32, 132) == 1);
  CHECK(lisa::cuda::decode_splits(1 << 20, 1, 1, 1000) == 256);
}

TEST_CASE("decode_attention: what it can't do is refused in words") {
  DecodeProblem<Bf16, 64> problem({{{2, 1}}, 4, 2}, 2);
  REQUIRE(lisa::cuda::decode_attention_refusal(problem.arguments) == nullptr);
  const auto refused = [&](auto change, const char* words) {
    auto a = problem.arguments;
    change(a);
    const char* const refusal = lisa::cuda::decode_attention_refusal(a);
    REQUIRE(refusal != nullptr);
    CHECK(std::string(refusal).find(words) != std::string::npos);
  };
  refused([](auto& a) { a.head_dim = 80; }, "64 or 128");
  refused([](auto& a) { a.kv_heads = 3; }, "multiple of the key heads");
  refused([](auto& a) { a.heads = 34; }, "16 query heads");
  refused([](auto& a) { a.splits = 0; }, "256 splits");
  refused([](auto& a) { a.splits = 257; }, "256 splits");
  refused([](auto& a) { a.scale = NAN; }, "positive");
  refused([](auto& a) { ++a.q; }, "q, k and v");
  refused([](auto& a) { ++a.k; }, "q, k and v");
  refused([](auto& a) { ++a.v; }, "q, k and v");
  refused([](auto& a) { a.input_stride += 4; }, "q, k and v");
  refused([](auto& a) { a.input_head_stride += 4; }, "q, k and v");
  refused([](auto& a) { ++a.key_cache; }, "caches");
  refused([](auto& a) { ++a.value_cache; }, "caches");
  refused([](auto& a) { a.cache_stride += 4; }, "caches");
  refused([](auto& a) { a.cache_head_stride += 4; }, "caches");
  refused([](auto& a) { ++a.cosine; }, "rotary");
  refused([](auto& a) { ++a.sine; }, "rotary");
  refused([](auto& a) { ++a.out; }, "out must");
  refused([](auto& a) { a.out_stride += 4; }, "out must");
  refused([](auto& a) { a.out_head_stride += 4; }, "out must");
}
