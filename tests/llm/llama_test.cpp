#include "lisa/llm/llama.hpp"

#include <rapidcheck.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

constexpr LlamaConfig grouped{.vocab = 50,
                              .hidden = 60,
                              .mlp = 90,
                              .layers = 3,
                              .heads = 6,
                              .kv_heads = 2,
                              .context = 48,
                              .eps = 1e-5,
                              .rope_theta = 5e3};
constexpr LoraConfig everywhere{
    .rank = 2, .alpha = 6, .q = true, .k = true, .v = true, .o = true, .gate = true, .up = true, .down = true};

template <LoraConfig L = no_lora>
Llama<grouped, L> random_llama(at::ScalarType dtype = at::kFloat) {
  Llama<grouped, L> llm;
  test::fill_parameters(llm, 100, dtype);
  llm.prepare();
  return llm;
}

at::Tensor some_rows(dim rows, std::uint64_t seed, at::ScalarType dtype = at::kFloat) {
  return test::random_tensor({rows, grouped.hidden}, seed, dtype);
}

/// The definition of the model for one sequence, in double precision and without any block of the library.
template <class Backbone>
at::Tensor reference(const Backbone& llm, const at::Tensor& x) {
  std::map<std::string, at::Tensor> w;
  visit_parameters(llm, "", [&](const std::string& name, const at::Tensor& value, const Shape&) {
    w[name] = value.to(at::kDouble);
  });
  const dim rows = x.size(0), width = grouped.hidden / grouped.heads, group = grouped.heads / grouped.kv_heads;
  const auto norm = [&](const at::Tensor& t, const std::string& name) {
    return t.div(t.square().mean(-1, true).add(grouped.eps).sqrt()).mul(w.at(name));
  };
  const auto rotate = [&](const at::Tensor& t) {  // [rows, width]
    const at::Tensor out = t.clone();
    for (dim p = 0; p < rows; ++p)
      for (dim i = 0; i < width / 2; ++i) {
        const double angle = static_cast<double>(p) *
                             std::pow(grouped.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(width));
        const double low = t[p][i].item<double>(), high = t[p][i + width / 2].item<double>();
        out[p][i].fill_(low * std::cos(angle) - high * std::sin(angle));
        out[p][i + width / 2].fill_(high * std::cos(angle) + low * std::sin(angle));
      }
    return out;
  };
  const at::Tensor hidden_keys = at::ones({rows, rows}, at::kBool).triu(1);
  at::Tensor h = x.to(at::kDouble);
  for (dim layer = 0; layer < grouped.layers; ++layer) {
    const std::string at = "model.layers." + std::to_string(layer) + ".";
    const auto project = [&](const at::Tensor& t, const std::string& name) {
      return at::matmul(t, w.at(at + name + "_proj.weight").t());
    };
    const at::Tensor in = norm(h, at + "input_layernorm.weight");
    const at::Tensor q = project(in, "self_attn.q"), k = project(in, "self_attn.k"), v = project(in, "self_attn.v");
    std::vector<at::Tensor> mixed;
    for (dim head = 0; head < grouped.heads; ++head) {
      const at::Tensor query = rotate(q.narrow(1, head * width, width));
      const at::Tensor key = rotate(k.narrow(1, head / group * width, width));
      const at::Tensor scores = at::matmul(query, key.t()).div(std::sqrt(static_cast<double>(width)));
      const at::Tensor weights = at::softmax(scores.masked_fill(hidden_keys, -1e300), -1);
      mixed.push_back(at::matmul(weights, v.narrow(1, head / group * width, width)));
    }
    h = h.add(project(at::cat(mixed, 1), "self_attn.o"));
    const at::Tensor second = norm(h, at + "post_attention_layernorm.weight");
    const at::Tensor gate = project(second, "mlp.gate");
    h = h.add(project(gate.mul(gate.sigmoid()).mul(project(second, "mlp.up")), "mlp.down"));
  }
  return norm(h, "model.norm.weight");
}

template <class Backbone>
at::Tensor alone(const Backbone& llm, const at::Tensor& x) {
  return llm.forward(x, std::vector<Segment>{{x.size(0), nullptr}});
}

}  // namespace

TEST_CASE("Llama equals its definition with grouped heads") {
  const auto llm = random_llama();
  const at::Tensor x = some_rows(9, 1);
  CHECK(test::relative_l2(alone(llm, x), reference(llm, x)) < 3e-6);
  const at::Tensor hidden = alone(llm, x);
  CHECK(test::relative_l2(llm.logits(hidden), at::matmul(hidden, llm.lm_head.weight.t())) < 1e-6);
}

TEST_CASE("Llama in bf16 stays near its definition") {
  const auto llm = random_llama(at::kBFloat16);
  const at::Tensor x = some_rows(9, 1, at::kBFloat16);
  CHECK((alone(llm, x).scalar_type() == at::kBFloat16));
  CHECK(test::relative_l2(alone(llm, x), reference(llm, x)) < 2e-2);
}

TEST_CASE("embed picks rows by id") {
  const auto llm = random_llama();
  const std::vector<std::int64_t> ids{3, 49, 3};
  const at::Tensor rows = llm.embed(at::tensor(ids, at::kLong));
  for (dim i = 0; i < 3; ++i) CHECK(at::equal(rows[i], llm.embed_tokens[ids[static_cast<std::size_t>(i)]]));
}

TEST_CASE("running a sequence in pieces equals running it whole") {
  const auto llm = random_llama();
  CHECK(rc::check([&] {
    const dim rows = *rc::gen::inRange(2, 14);
    const at::Tensor x = some_rows(rows, 7);
    const at::Tensor whole = alone(llm, x);
    KvCache cache = llm.make_cache();
    for (dim begin = 0; begin < rows;) {
      const dim count = *rc::gen::inRange<dim>(1, rows - begin + 1);
      const at::Tensor piece = llm.forward(x.narrow(0, begin, count), std::vector<Segment>{{count, &cache}});
      RC_ASSERT(test::relative_l2(piece, whole.narrow(0, begin, count)) < 1e-5);
      begin += count;
      RC_ASSERT(cache.length() == begin);
    }
  }));
}

TEST_CASE("a packed batch of ragged sequences gives what each gives alone") {
  const auto llm = random_llama();
  CHECK(rc::check([&] {
    const auto sequences = *rc::gen::inRange<std::size_t>(1, 5);
    std::vector<KvCache> caches;
    for (std::size_t i = 0; i < sequences; ++i) caches.push_back(llm.make_cache());
    std::vector<at::Tensor> past, rows, expected;
    std::vector<Segment> segments;
    for (std::size_t i = 0; i < sequences; ++i) {
      const dim length = *rc::gen::inRange(0, 6), added = *rc::gen::inRange(1, 6);
      const bool cached = *rc::gen::arbitrary<bool>();
      const at::Tensor x = some_rows(length + added, 20 + i);
      if (cached && length > 0)
        static_cast<void>(llm.forward(x.narrow(0, 0, length), std::vector<Segment>{{length, &caches[i]}}));
      const at::Tensor run = cached ? x.narrow(0, length, added) : x;
      rows.push_back(run);
      expected.push_back(alone(llm, x).narrow(0, x.size(0) - run.size(0), run.size(0)));
      segments.push_back({run.size(0), cached ? &caches[i] : nullptr});
    }
    RC_ASSERT(test::relative_l2(llm.forward(at::cat(rows, 0), segments), at::cat(expected, 0)) < 1e-5);
  }));
}

TEST_CASE("a truncated cache continues with another ending") {
  const auto llm = random_llama();
  const at::Tensor prefix = some_rows(6, 1), first = some_rows(5, 2), second = some_rows(4, 3);
  KvCache cache = llm.make_cache();
  const at::Tensor both = at::cat({prefix, first}, 0);
  static_cast<void>(llm.forward(both, std::vector<Segment>{{11, &cache}}));
  cache.truncate(6);
  const at::Tensor continued = llm.forward(second, std::vector<Segment>{{4, &cache}});
  CHECK(test::relative_l2(continued, alone(llm, at::cat({prefix, second}, 0)).narrow(0, 6, 4)) < 1e-5);
}

TEST_CASE("a sequence beyond the context is refused and every cache stays as it was") {
  const auto llm = random_llama();
  const at::Tensor first = some_rows(5, 1), second = some_rows(47, 2), next = some_rows(1, 4);
  KvCache room = llm.make_cache(), full = llm.make_cache();
  static_cast<void>(llm.forward(first, std::vector<Segment>{{5, &room}}));
  static_cast<void>(llm.forward(second, std::vector<Segment>{{47, &full}}));
  const std::vector<Segment> too_long{{1, &room}, {2, &full}};
  CHECK_THROWS_AS(static_cast<void>(llm.forward(some_rows(3, 3), too_long)), InputError);
  CHECK(room.length() == 5);
  CHECK(full.length() == 47);
  const at::Tensor continued = llm.forward(at::cat({next, next}, 0), std::vector<Segment>{{1, &room}, {1, &full}});
  CHECK(test::relative_l2(continued[0], alone(llm, at::cat({first, next}, 0))[5]) < 1e-5);
  CHECK(test::relative_l2(continued[1], alone(llm, at::cat({second, next}, 0))[47]) < 1e-5);
  CHECK_THROWS_AS(static_cast<void>(alone(llm, some_rows(49, 5))), InputError);
}

TEST_CASE("adapters on every projection give the same merged and unmerged") {
  auto llm = random_llama<everywhere>();
  const at::Tensor x = some_rows(7, 1);
  const at::Tensor plain = alone(llm, x);
  dim tensors = 0, elements = 0;
  llm.for_each_adapter([&](const std::string&, at::Tensor& value, const Shape& shape) {
    value = test::random_tensor(shape, 300 + static_cast<std::uint64_t>(tensors++)).mul(0.1);
    elements += value.numel();
  });
  CHECK(tensors == 3 * 7 * 2);
  CHECK(elements == parameters(grouped, everywhere));
  const at::Tensor adapted = alone(llm, x);
  CHECK(test::relative_l2(adapted, plain) > 1e-2);
  llm.merge_adapters();
  CHECK(test::relative_l2(alone(llm, x), adapted) < 1e-5);
}

TEST_CASE("every single projection's adapter takes part") {
  auto llm = random_llama<everywhere>();
  const at::Tensor x = some_rows(5, 1);
  const at::Tensor plain = alone(llm, x);
  llm.for_each_projection([&](const std::string& name, auto& projection) {
    CAPTURE(name);
    std::uint64_t seed = 400;
    projection.for_each_adapter(name, [&](const std::string&, at::Tensor& value, const Shape& shape) {
      value = test::random_tensor(shape, seed++).mul(0.2);
    });
    const at::Tensor adapted = alone(llm, x), base = projection.base.weight;
    CHECK(test::relative_l2(adapted, plain) > 1e-4);
    projection.merge_adapter();
    CHECK(test::relative_l2(alone(llm, x), adapted) < 1e-5);
    projection.base.weight = base;
  });
}

TEST_CASE("the parameters are those of the published layout") {
  const auto llm = random_llama();
  dim elements = 0;
  std::map<std::string, Shape> names;
  visit_parameters(llm, "", [&](const std::string& name, const at::Tensor& value, const Shape& shape) {
    names[name] = shape;
    elements += value.numel();
  });
  CHECK(elements == parameters(grouped));
  CHECK(names.size() == 3 + 9 * 3);
  CHECK(names.at("model.embed_tokens.weight") == Shape{50, 60});
  CHECK(names.at("model.layers.2.self_attn.k_proj.weight") == Shape{20, 60});
  CHECK(names.at("model.layers.0.mlp.down_proj.weight") == Shape{60, 90});
  CHECK(names.at("model.layers.1.post_attention_layernorm.weight") == Shape{60});
  CHECK(names.at("lm_head.weight") == Shape{50, 60});
}
