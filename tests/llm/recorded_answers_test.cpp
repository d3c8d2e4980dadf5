#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "lisa/checkpoint/archive.hpp"
#include "lisa/llm/generate.hpp"
#include "lisa/text/image_placeholder.hpp"
#include "tests/support/tensor_compare.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

const std::string golden = LISA_TEST_DATA "/golden/";

constexpr LlamaConfig model_a{
    .vocab = 704, .hidden = 64, .mlp = 176, .layers = 3, .heads = 4, .kv_heads = 4, .context = 2048, .eps = 1e-6};
constexpr std::int64_t end_token = 2, seg_token = 703;

Llama<model_a> recorded_model() {
  const TensorArchive archive = read_archive(golden + "model_a");
  Llama<model_a> llm;
  llm.for_each_parameter("", [&](const std::string& name, at::Tensor& value, const Shape& shape) {
    value = archive.tensors.at(name).value;
    REQUIRE(shape_of(value) == shape);
  });
  llm.prepare();
  return llm;
}

/// The recorded prompt with the recorded visual features in the place of the image.
at::Tensor prompt_rows(const Llama<model_a>& llm, const at::Tensor& ids, const at::Tensor& features) {
  const at::Tensor image = ids.eq(image_token_id).nonzero();
  REQUIRE(image.numel() == 1);
  const dim at_ = image.item<std::int64_t>();
  return at::cat({llm.embed(ids.narrow(0, 0, at_)), features, llm.embed(ids.narrow(0, at_ + 1, ids.size(0) - at_ - 1))},
                 0);
}

}  // namespace

TEST_CASE("the original's tokens, hidden states and logits come out of the recorded visual features") {
  const Llama<model_a> llm = recorded_model();
  for (const std::string name : {"a1", "a2", "a3"}) {
    CAPTURE(name);
    const TensorArchive recorded = read_archive(golden + name + "/" + name + ".safetensors");
    const auto tensor = [&](const std::string& key) { return recorded.tensors.at(key).value.squeeze(0); };
    const at::Tensor steps = tensor("step_tokens").view({-1});
    const std::vector<std::int64_t> expected(steps.const_data_ptr<std::int64_t>(),
                                             steps.const_data_ptr<std::int64_t>() + steps.numel());

    KvCache cache = llm.make_cache();
    GenerationRequest request{.cache = &cache,
                              .prompt = prompt_rows(llm, tensor("input_ids"), tensor("projected_features"))};
    request.max_new_tokens = static_cast<dim>(expected.size());
    request.end_token = end_token;
    request.seg_token = seg_token;
    std::vector<at::Tensor> hidden, logits, segs;
    const GenerationObserver observer{
        .on_prompt = [&](std::size_t, const at::Tensor& states) { hidden.push_back(states); },
        .on_token =
            [&](std::size_t, const GeneratedToken& token) {
              if (token.index > 0) hidden.push_back(token.hidden.unsqueeze(0));
              logits.push_back(token.logits);
              return true;
            },
        .on_seg = [&](std::size_t, dim, const at::Tensor& state) { segs.push_back(state); }};
    const GeneratedAnswer answer = generate<PredictingHiddenState>(llm, {request}, observer).front();

    CHECK(answer.tokens == expected);
    const at::Tensor states = at::cat(hidden, 0), wanted = tensor("last_hidden_states");
    REQUIRE(shape_of(states) == shape_of(wanted));
    CHECK(test::relative_l2(states, wanted) < 1e-5);
    CHECK(test::largest_difference(states, wanted) < 1e-4);
    CHECK(test::relative_l2(logits.front(), tensor("first_step_logits")) < 1e-5);
    CHECK(test::relative_l2(logits.back(), tensor("last_step_logits")) < 1e-5);

    const auto seg_count = static_cast<std::size_t>(std::count(expected.begin(), expected.end(), seg_token));
    CHECK(segs.size() == seg_count);
    if (seg_count > 0) CHECK(test::largest_difference(at::stack(segs), tensor("seg_hidden_rows")) < 1e-4);
  }
}
