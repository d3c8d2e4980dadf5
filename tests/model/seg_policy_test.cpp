// Which hidden state becomes the vector of a [SEG]: the one that predicts it, or its own.
#include <string>
#include <vector>

#include "tests/model/golden_spec.hpp"
#include "tests/support/tensor_compare.hpp"
// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using namespace lisa::test;

struct OwnStateSpec : GoldenSpec {
  static constexpr std::string_view name = "golden with the [SEG] position's own state";
  template <class S>
  using SegPolicy = OwnHiddenState;
};

}  // namespace

TEST_CASE("a [SEG] can be read at its own position") {
  const auto model = load<OwnStateSpec>(golden_checkpoint, golden_options());
  for (const char* name : {"a1", "a2"}) {
    CAPTURE(name);
    const GoldenCase recorded(name);
    Predictor predictor(model);
    predictor.set_image(recorded.image);
    AnswerTrace trace;
    AskOptions options;
    options.trace = &trace;
    const Answer answer = predictor.ask(recorded.question, options);

    // The text does not depend on the policy; every state read is one position further.
    CHECK(traced(trace, "output_ids").equal(recorded.tensors.at("output_ids")));
    const at::Tensor indices = traced(trace, "seg_hidden_index");
    CHECK(indices.equal(recorded.tensors.at("seg_hidden_index").add(1)));
    const at::Tensor states = recorded.tensors.at("last_hidden_states")[0].index_select(0, indices);
    CHECK(relative_l2(traced(trace, "seg_hidden_rows"), states) < 1e-4);
    CHECK(relative_l2(traced(trace, "seg_hidden_rows"), recorded.tensors.at("seg_hidden_rows")) > 1e-2);
    CHECK(answer.masks.size() == static_cast<std::size_t>(indices.size(0)));
  }
}

TEST_CASE("a [SEG] that ends an answer is still run for its own state") {
  const auto model = load<OwnStateSpec>(golden_checkpoint, golden_options());
  const GoldenCase recorded("a1");
  Predictor predictor(model);
  predictor.set_image(recorded.image);
  AskOptions options;
  options.forced_answer = {300, model.tokenizer.seg()};
  const Answer answer = predictor.ask(recorded.question, options);
  REQUIRE(answer.masks.size() == 1);
  CHECK(answer.masks[0].token_index == static_cast<dim>(answer.prompt_ids.size()) + 1);

  options.max_new_tokens = 1;
  options.forced_answer.clear();
  options.segmentation = Segmentation::forced;
  predictor.reset();
  CHECK(predictor.ask(recorded.question, options).masks.size() == 1);
}
