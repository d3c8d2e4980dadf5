#include "lisa/llm/branched_rows.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <rapidcheck.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/llm/llama.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

constexpr LlamaConfig config{
    .vocab = 20, .hidden = 24, .mlp = 20, .layers = 2, .heads = 4, .kv_heads = 2, .context = 24};

const Llama<config>& model() {
  static const Llama<config> llm = [] {
    Llama<config> filled;
    test::fill_parameters(filled, 1);
    filled.prepare();
    return filled;
  }();
  return llm;
}

at::Tensor states(const at::Tensor& x, const std::vector<BranchedItem>& items) {
  const auto run = [](const auto& block, const at::Tensor& hidden) { return block(hidden); };
  return model().forward(x, branched_rows(items, at::kFloat), run);
}

}  // namespace

TEST_CASE("every sequence is computed as if it stood alone") {
  CHECK(rc::check([] {
    std::vector<BranchedItem> items(*rc::gen::inRange<std::size_t>(1, 4));
    for (BranchedItem& item : items) {
      item.trunk = *rc::gen::inRange<dim>(1, 8);
      item.branches.resize(*rc::gen::inRange<std::size_t>(0, 4));
      for (dim& branch : item.branches) branch = *rc::gen::inRange<dim>(0, 6);
    }
    const BranchedRows rows = branched_rows(items, at::kFloat);
    const at::Tensor x = test::random_tensor({rows.items * rows.length, config.hidden}, 7);
    const at::Tensor found = states(x, items).view({rows.items, rows.length, config.hidden});
    const at::Tensor of_items = x.view({rows.items, rows.length, config.hidden});
    for (std::size_t i = 0; i < items.size(); ++i) {
      const auto item = static_cast<std::int64_t>(i);
      dim begin = items[i].trunk;
      std::vector<dim> branches = items[i].branches;
      branches.push_back(0);  // what is shared, alone
      for (const dim branch : branches) {
        const auto sequence = [&](const at::Tensor& t) {
          return at::cat({t[item].narrow(0, 0, items[i].trunk), t[item].narrow(0, begin, branch)});
        };
        const std::vector<Segment> alone{{items[i].trunk + branch, nullptr}};
        RC_ASSERT(test::relative_l2(sequence(found), model().forward(sequence(of_items), alone)) < 1e-5);
        begin += branch;
      }
    }
  }));
}

TEST_CASE("what a row sees, and where it stands") {
  const BranchedRows rows = branched_rows({{.trunk = 2, .branches = {1, 2}}, {.trunk = 3, .branches = {}}}, at::kFloat);
  CHECK(rows.items == 2);
  CHECK(rows.length == 5);
  CHECK(rows.longest == 4);
  const std::vector<std::int64_t> positions{0, 1, 2, 2, 3, 0, 1, 2, 0, 0};
  CHECK(rows.positions.equal(at::tensor(positions, at::kLong)));
  const std::vector<std::string> seen{"x....", "xx...", "xxx..", "xx.x.", "xx.xx",
                                      "x....", "xx...", "xxx..", "x....", "x...."};
  for (std::size_t row = 0; row < seen.size(); ++row) {
    std::string found;
    const at::Tensor bias = rows.bias.view({10, 5})[static_cast<std::int64_t>(row)];
    for (std::int64_t column = 0; column < 5; ++column) {
      const double value = bias[column].item<double>();
      CHECK((value == 0 || value == -std::numeric_limits<double>::infinity()));
      found += value == 0 ? 'x' : '.';
    }
    CHECK(found == seen[row]);
  }
}

TEST_CASE("items with one branch at most are plain sequences, whose attention another may compute") {
  CHECK(branched_rows({{.trunk = 2, .branches = {1, 2}}, {.trunk = 3, .branches = {}}}, at::kFloat).plain_rows.empty());
  BranchedRows rows = branched_rows({{.trunk = 5, .branches = {2}}, {.trunk = 4, .branches = {}}}, at::kFloat);
  CHECK(rows.plain_rows == std::vector<dim>{7, 4});
  const auto run = [](const auto& block, const at::Tensor& hidden) { return block(hidden); };
  const at::Tensor x = test::random_tensor({14, config.hidden}, 7);
  const at::Tensor with_bias = model().forward(x, rows, run);
  int calls = 0;
  rows.attend = [&](const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
    ++calls;
    at::Tensor out = query.new_zeros(query.sizes());
    for (const dim first : {0, 7}) {
      const dim count = rows.plain_rows[first == 0 ? 0 : 1];
      const auto of_sequence = [&](const at::Tensor& t) { return t.narrow(0, first, count).transpose(0, 1); };
      const at::Tensor attended = causal_attention(of_sequence(query), of_sequence(key), of_sequence(value));
      out.narrow(0, first, count).copy_(attended.transpose(0, 1));
    }
    return out;
  };
  const at::Tensor found = model().forward(x, rows, run);
  CHECK(calls == config.layers);
  CHECK(test::relative_l2(found.narrow(0, 0, 11), with_bias.narrow(0, 0, 11)) < 1e-5);  // the rest is padding
}

TEST_CASE("a sequence longer than the context is refused") {
  const std::vector<BranchedItem> fits{{.trunk = 20, .branches = {4, 3}}}, too_long{{.trunk = 20, .branches = {1, 5}}};
  CHECK_NOTHROW((void)states(test::random_tensor({27, config.hidden}, 1), fits));
  CHECK_THROWS_AS((void)states(test::random_tensor({26, config.hidden}, 1), too_long), InputError);
}
