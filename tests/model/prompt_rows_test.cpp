#include "lisa/model/prompt_rows.hpp"

#include <ATen/ops/arange.h>
#include <rapidcheck.h>

#include <cstdint>
#include <set>
#include <span>
#include <vector>

// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using Ids = std::vector<std::int64_t>;

/// Rows whose only value tells where they come from: ids as they are, visual rows from 1000 on.
at::Tensor embed(std::span<const std::int64_t> ids) {
  return at::tensor(at::IntArrayRef(ids.data(), ids.size()), at::kLong).unsqueeze(1);
}

/// The same by definition: every id a row, every image its visual rows.
Ids by_definition(const Ids& ids, dim visual_tokens) {
  Ids rows;
  for (const std::int64_t id : ids) {
    if (id != image_token_id) rows.push_back(id);
    for (dim i = 0; id == image_token_id && i < visual_tokens; ++i) rows.push_back(1000 + i);
  }
  return rows;
}

}  // namespace

TEST_CASE("an image takes one position for each visual token") {
  const PromptRows rows(Ids{1, 7, image_token_id, 9}, 4, 0);
  CHECK(rows.size() == 7);
  CHECK(rows.position(0) == 0);
  CHECK(rows.position(2) == 2);
  CHECK(rows.position(3) == 6);
  std::set<std::int64_t> keys(rows.keys().begin(), rows.keys().end());
  CHECK(keys.size() == 7);
}

TEST_CASE("a common prefix ends at the first other token or image") {
  const PromptRows rows(Ids{1, 7, image_token_id, 9, 8}, 4, 3);
  const auto common = [&](const Ids& ids, std::int64_t serial) {
    const PromptRows other(ids, 4, serial);
    return rows.common_prefix(other.keys());
  };
  CHECK(common({1, 7, image_token_id, 9, 8}, 3) == 8);
  CHECK(common({1, 7, image_token_id, 9}, 3) == 7);
  CHECK(common({1, 7, image_token_id, 8}, 3) == 6);
  CHECK(common({1, 7, image_token_id, 9, 8}, 4) == 2);
  CHECK(common({1, 7, 9}, 3) == 2);
  CHECK(common({}, 3) == 0);
}

TEST_CASE("embeddings from any position on are the tail of all of them") {
  CHECK(rc::check([] {
    const dim visual_tokens = *rc::gen::inRange<dim>(1, 6);
    const auto ids = *rc::gen::nonEmpty(rc::gen::container<Ids>(rc::gen::oneOf(
        rc::gen::inRange<std::int64_t>(0, 50), rc::gen::just(static_cast<std::int64_t>(image_token_id)))));
    const PromptRows rows(ids, visual_tokens, *rc::gen::inRange<std::int64_t>(0, 5));
    const Ids expected = by_definition(ids, visual_tokens);
    RC_ASSERT(rows.size() == static_cast<dim>(expected.size()));
    const dim begin = *rc::gen::inRange<dim>(0, rows.size());
    const at::Tensor visual = at::arange(1000, 1000 + visual_tokens, at::kLong).unsqueeze(1);
    const at::Tensor found = rows.embeddings(begin, embed, visual);
    const Ids tail(expected.begin() + begin, expected.end());
    RC_ASSERT(found.equal(embed(tail)));
  }));
}
