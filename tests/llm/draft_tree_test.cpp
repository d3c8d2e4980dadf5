#include "lisa/llm/draft_tree.hpp"

#include <ATen/ops/eq.h>

#include <cstdint>
#include <vector>

#include "lisa/llm/llama.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

using Tokens = std::vector<std::int64_t>;

constexpr std::int64_t end = 1;

/// 5 -> 6 -> 7, 5 -> 8 and 9, in the order of their drafts.
const std::vector<Tokens> drafts{{5, 6, 7, end, 4}, {5, 8, end}, {9}, {}, {5, 6}};

}  // namespace

TEST_CASE("drafts that begin alike share nodes, and an end is no node") {
  const DraftTree tree(drafts, end, 100, 100);
  CHECK(tree.tokens() == Tokens{5, 6, 7, 8, 9});
  CHECK(tree.depths() == std::vector<dim>{1, 2, 3, 2, 1});
  CHECK(tree.child(DraftTree::root, 5) == 0);
  CHECK(tree.child(DraftTree::root, 9) == 4);
  CHECK(tree.child(0, 8) == 3);
  CHECK(tree.child(1, 7) == 2);
  CHECK_FALSE(tree.child(DraftTree::root, 6).has_value());
  CHECK_FALSE(tree.child(3, 7).has_value());
  CHECK_FALSE(tree.child(2, end).has_value());
  CHECK(DraftTree().size() == 0);
  CHECK_FALSE(DraftTree().child(DraftTree::root, 5).has_value());
}

TEST_CASE("a tree keeps to its depth and its number of nodes, the first drafts first") {
  CHECK(DraftTree(drafts, end, 2, 100).tokens() == Tokens{5, 6, 8, 9});
  CHECK(DraftTree(drafts, end, 0, 100).size() == 0);
  for (dim most = 0; most <= 5; ++most) {
    const Tokens all{5, 6, 7, 8, 9};
    CHECK(DraftTree(drafts, end, 100, most).tokens() == Tokens(all.begin(), all.begin() + most));
  }
}

TEST_CASE("a row of a tree sees itself and what leads to it") {
  const DraftRows rows = draft_rows(DraftTree(drafts, end, 100, 100), at::kFloat);
  const at::Tensor seen = at::tensor({1, 0, 0, 0, 0,  //
                                      1, 1, 0, 0, 0,  //
                                      1, 1, 1, 0, 0,  //
                                      1, 0, 0, 1, 0,  //
                                      0, 0, 0, 0, 1},
                                     at::kLong)
                              .view({1, 1, 5, 5});
  CHECK(rows.count == 5);
  CHECK(at::equal(rows.bias.eq(0).to(at::kLong), seen));
  CHECK(at::equal(rows.bias.isinf().to(at::kLong), seen.eq(0).to(at::kLong)));
}

TEST_CASE("every branch behind a sequence gets the states that it gets alone, and an adopted branch its keys") {
  constexpr LlamaConfig tiny{
      .vocab = 40, .hidden = 48, .mlp = 64, .layers = 2, .heads = 4, .kv_heads = 2, .context = 64};
  Llama<tiny> llm;
  test::fill_parameters(llm, 31);
  llm.prepare();
  const DraftTree tree(drafts, end, 100, 100);
  const DraftRows rows = draft_rows(tree, at::kFloat);
  const auto embed = [&](const Tokens& ids) { return llm.embed(at::tensor(ids, at::kLong)); };
  const at::Tensor system = test::random_tensor({3, tiny.hidden}, 1), prompt = test::random_tensor({5, tiny.hidden}, 2);

  KvCache cache = llm.make_cache();
  static_cast<void>(llm.forward(system, std::vector<Segment>{{3, &cache}}));
  const at::Tensor hidden =
      llm.forward(at::cat({prompt, embed(tree.tokens())}, 0), std::vector<Segment>{{10, &cache, &rows}});
  CHECK(cache.length() == 8);

  const std::vector<std::vector<dim>> branches{{0, 1, 2}, {0, 3}, {4}};
  for (const std::vector<dim>& branch : branches) {
    Tokens ids;
    for (const dim node : branch) ids.push_back(tree.tokens()[static_cast<std::size_t>(node)]);
    KvCache alone = llm.make_cache();
    const at::Tensor whole = at::cat({system, prompt, embed(ids)}, 0);
    const at::Tensor expected = llm.forward(whole, std::vector<Segment>{{whole.size(0), &alone}});
    CHECK(test::relative_l2(hidden.narrow(0, 0, 5), expected.narrow(0, 3, 5)) < 1e-5);
    for (std::size_t i = 0; i < branch.size(); ++i)
      CHECK(test::relative_l2(hidden[5 + branch[i]], expected[8 + static_cast<dim>(i)]) < 1e-5);
  }

  // 5 and 8, whose rows are not neighbours; what is run next sees them as if they had been run one by one.
  for (const dim node : {0, 3}) cache.adopt(8 + node);
  CHECK(cache.length() == 10);
  KvCache alone = llm.make_cache();
  const at::Tensor whole = at::cat({system, prompt, embed({5, 8, 20})}, 0);
  const at::Tensor expected = llm.forward(whole, std::vector<Segment>{{whole.size(0), &alone}});
  const at::Tensor next = llm.forward(embed({20}), std::vector<Segment>{{1, &cache}});
  CHECK(test::relative_l2(next[0], expected[10]) < 1e-5);
}
