#include "lisa/model/prompt_rows.hpp"

#include <rapidcheck.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

using Ids = std::vector<std::int64_t>;
constexpr dim visual_tokens = 3;

/// The embedding of id i is the row [i, 0], so that a row tells what it is.
at::Tensor embed(std::span<const std::int64_t> ids) {
  const at::Tensor rows = at::zeros({static_cast<dim>(ids.size()), 2});
  for (std::size_t i = 0; i < ids.size(); ++i) rows[static_cast<dim>(i)][0].fill_(static_cast<double>(ids[i]));
  return rows;
}

/// Visual token i is the row [i, 1].
at::Tensor visual_rows() { return at::stack({at::arange(visual_tokens, at::kFloat), at::ones({visual_tokens})}, 1); }

PromptRows rows_of(const Ids& ids, std::int64_t serial = 0) { return PromptRows(ids, visual_tokens, serial); }

/// Row of every position, by the definition.
at::Tensor expected_rows(const Ids& ids) {
  std::vector<at::Tensor> parts;
  for (const std::int64_t id : ids) parts.push_back(id == image_token_id ? visual_rows() : embed(std::span(&id, 1)));
  return at::cat(parts, 0);
}

/// Text ids with images at any places.
rc::Gen<Ids> prompts() {
  return rc::gen::nonEmpty(rc::gen::container<Ids>(rc::gen::weightedOneOf<std::int64_t>(
      {{5, rc::gen::inRange<std::int64_t>(0, 4)}, {1, rc::gen::just(image_token_id)}})));
}

}  // namespace

TEST_CASE("an image takes as many positions as it has visual tokens, wherever it stands") {
  const PromptRows rows = rows_of({1, 7, image_token_id, 8, 9});
  CHECK(rows.size() == 7);
  CHECK(rows.position(0) == 0);
  CHECK(rows.position(2) == 2);
  CHECK(rows.position(3) == 5);
  CHECK(rows.position(4) == 6);
  CHECK(rows_of({image_token_id}).size() == 3);
  CHECK(rows_of({}).size() == 0);
  CHECK(rows_of({5, 6}).keys() == Ids{5, 6});
}

TEST_CASE("every position's row is its token's or its visual token's, from any position on") {
  CHECK(rc::check([] {
    const Ids ids = *prompts();
    const PromptRows rows = rows_of(ids, *rc::gen::inRange<std::int64_t>(0, 5));
    const at::Tensor expected = expected_rows(ids);
    RC_ASSERT(rows.size() == expected.size(0));
    const dim begin = *rc::gen::inRange<dim>(0, rows.size());
    RC_ASSERT(at::equal(rows.embeddings(begin, embed, visual_rows()), expected.narrow(0, begin, rows.size() - begin)));
    for (std::size_t i = 0; i < ids.size(); ++i)
      if (ids[i] != image_token_id)
        RC_ASSERT(expected[rows.position(i)][0].item<double>() == static_cast<double>(ids[i]));
  }));
}

TEST_CASE("a range behind the image needs no visual rows") {
  const PromptRows rows = rows_of({1, image_token_id, 8, 9});
  CHECK(at::equal(rows.embeddings(4, embed, at::Tensor()), embed(Ids{8, 9})));
}

TEST_CASE("the common beginning of two prompts ends where their positions differ") {
  CHECK(rc::check([] {
    const Ids first = *prompts(), second = *prompts();
    const PromptRows a = rows_of(first), b = rows_of(second);
    const dim common = a.common_prefix(b.keys());
    RC_ASSERT(common == b.common_prefix(a.keys()));
    RC_ASSERT(common <= std::min(a.size(), b.size()));
    const at::Tensor left = expected_rows(first), right = expected_rows(second);
    RC_ASSERT(at::equal(left.narrow(0, 0, common), right.narrow(0, 0, common)));
    if (common < std::min(a.size(), b.size())) RC_ASSERT(!at::equal(left[common], right[common]));
  }));
}

TEST_CASE("another image is another prompt from its first position on") {
  const Ids ids{1, 7, image_token_id, 8};
  const PromptRows first = rows_of(ids, 4), same = rows_of(ids, 4), other = rows_of(ids, 5);
  CHECK(first.common_prefix(same.keys()) == first.size());
  CHECK(first.common_prefix(other.keys()) == 2);
  CHECK(first.common_prefix(Ids{}) == 0);
}

TEST_CASE("the keys of different images never meet, nor those of text") {
  CHECK(rc::check([] {
    const auto a = *rc::gen::inRange<std::int64_t>(0, 1000), b = *rc::gen::inRange<std::int64_t>(0, 1000);
    RC_PRE(a != b);
    const PromptRows one = rows_of({image_token_id}, a), other = rows_of({image_token_id}, b);
    for (const std::int64_t key : one.keys()) {
      RC_ASSERT(key < 0);
      RC_ASSERT(std::ranges::count(other.keys(), key) == 0);
    }
  }));
}
